"""An API server in memory, over real HTTP: for tests of what speaks to a cluster. It can hang, be away, refuse, lie.

    with ApiServer() as server:
        api = Api(server.access(), "models")

Nobody acts on what is applied, unless a test plays the controllers: `tests.doubles.controllers`.
"""

from __future__ import annotations

import json
import re
import socket
import ssl
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import parse_qs, urlsplit

from sluicegate.services.cluster.access import Access, TextOrFile
from sluicegate.services.cluster.kinds import Kind
from sluicegate.services.cluster.rights import RIGHTS, Role, Verb
from tests.doubles.api_objects import Change, Failure, Object, Objects, Place, matches

ADMIN = "admin-token"
_PATH = re.compile(
    r"/(?:api|apis/(?P<group>[^/]+))/(?P<version>v[^/]+)/namespaces/(?P<namespace>[^/]+)/(?P<plural>[^/]+)"
    r"(?:/(?P<name>[^/]+))?(?:/(?P<part>[^/]+))?\Z"
)
_VERBS = {"POST": Verb.CREATE, "PUT": Verb.UPDATE, "PATCH": Verb.PATCH, "DELETE": Verb.DELETE}


@dataclass
class Trouble:
    """An answer that is given instead of the right one, so many times."""

    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes | None = None
    """None: a Status of this code."""
    cut: int | None = None
    """Of the right answer, so many bytes."""
    drops: bool = False
    """No answer: the connection is closed."""
    times: int = 1


class ApiServer:
    """One server at one port, which stays its own while it is away."""

    def __init__(self, certificate: tuple[Path, Path] | None = None) -> None:
        """`certificate`: TLS, by files that may be replaced."""
        self.objects = Objects()
        self.certificate = certificate
        self.tokens: dict[str, Role | None] = {ADMIN: None}
        """By token: what it may do; None: everything."""
        self.used: set[tuple[Role, str, Verb]] = set()
        """What was asked for as a role: by kind, the verb."""
        self.asked: list[str] = []
        """Every request, as method and path with query."""
        self.troubles: list[Trouble] = []
        self.version = "v1.36.0"
        self.watch_second = 0.1
        """How long a second of a watch lasts."""
        self.watches_are_silent = False
        self.is_hanging = False
        self._is_over = False
        self._server: ThreadingHTTPServer | None = None
        self._connections: set[socket.socket] = set()
        self.port = 0
        self.back()

    @property
    def url(self) -> str:
        return f"http{'s' if self.certificate else ''}://127.0.0.1:{self.port}"

    def access(self, token: str | Path = ADMIN, authority: Path | None = None) -> Access:
        """How a caller asks it: by a token, or a file that holds one."""
        said = TextOrFile(path=token) if isinstance(token, Path) else TextOrFile(text=token)
        return Access(url=self.url, token=said, authority=TextOrFile(path=authority) if authority else None)

    def place(self, kind: Kind, namespace: str) -> Place:
        return Place(kind.group, kind.version, kind.plural, namespace)

    def trouble(self, **said: Any) -> None:
        """Answer the next request so instead."""
        self.troubles.append(Trouble(**said))

    def away(self) -> None:
        """Nobody listens, and every connection is closed."""
        server, self._server = self._server, None
        if server is not None:
            server.shutdown()
            server.server_close()
        self.end_connections()

    def end_connections(self) -> None:
        """Close whatever is open, such as watches."""
        for connection in list(self._connections):
            with_suppressed(connection.shutdown, socket.SHUT_RDWR)

    def back(self) -> None:
        """Listen again, where it did before."""
        owner = self

        class Bound(_Handler):
            api = owner

        class Server(ThreadingHTTPServer):
            daemon_threads = True
            allow_reuse_address = True

        self._server = Server(("127.0.0.1", self.port), Bound)
        self.port = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._is_over = True
        self.away()

    def wait_while_hanging(self) -> None:
        while self.is_hanging and not self._is_over:
            time.sleep(0.01)

    @property
    def is_up(self) -> bool:
        return self._server is not None and not self._is_over


def with_suppressed(act: Any, *said: Any) -> None:
    with suppress(OSError):
        act(*said)


class _Handler(BaseHTTPRequestHandler):
    api: ApiServer
    protocol_version = "HTTP/1.1"

    def setup(self) -> None:
        if self.api.certificate is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(*self.api.certificate)
            self.request = context.wrap_socket(self.request, server_side=True)
        super().setup()
        self.api._connections.add(self.request)

    def finish(self) -> None:
        self.api._connections.discard(self.request)
        with_suppressed(super().finish)

    def handle(self) -> None:
        try:
            super().handle()
        except (OSError, ValueError):
            self.close_connection = True

    def log_message(self, *said: Any) -> None:
        """Nothing is printed."""

    def do_GET(self) -> None:
        self._serve()

    do_POST = do_PUT = do_PATCH = do_DELETE = do_GET

    def _serve(self) -> None:
        length = int(self.headers.get("content-length") or 0)
        content = self.rfile.read(length) if length else b""
        self.api.asked.append(f"{self.command} {self.path}")
        self.api.wait_while_hanging()
        trouble = self._trouble()
        if trouble is not None and trouble.drops:
            self.close_connection = True
            return
        if trouble is not None and trouble.cut is None:
            body = Failure(trouble.status, "Trouble", "the test wants it so").status
            self._say(trouble.status, trouble.body or json.dumps(body).encode(), trouble.headers)
            return
        try:
            status, thing = self._answer(json.loads(content) if content else {})
        except Failure as failure:
            status, thing = failure.code, failure.status
        if thing is not None:
            whole = json.dumps(thing).encode()
            self._say(status, whole if trouble is None else whole[: trouble.cut], {})

    def _trouble(self) -> Trouble | None:
        if not self.api.troubles:
            return None
        trouble = self.api.troubles[0]
        trouble.times -= 1
        if trouble.times <= 0:
            self.api.troubles.pop(0)
        return trouble

    def _say(self, status: int, body: bytes, headers: Mapping[str, str]) -> None:
        self.send_response(status)
        for name, value in {"content-type": "application/json", "content-length": str(len(body)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def _answer(self, body: Object) -> tuple[int, Object | None]:
        parts = urlsplit(self.path)
        query = {name: values[-1] for name, values in parse_qs(parts.query).items()}
        role = self._role()
        found = _PATH.match(parts.path)
        if found is None:
            if parts.path == "/version":
                return 200, {"major": "1", "minor": "36", "gitVersion": self.api.version}
            if parts.path.endswith("/selfsubjectaccessreviews"):
                return 201, body | {"status": {"allowed": self._is_allowed(role, body["spec"]["resourceAttributes"])}}
            raise Failure(404, "NotFound", "the server could not find the requested resource")
        place = Place(found["group"] or "", found["version"], found["plural"], found["namespace"])
        name = found["name"] or ""
        self._may(role, place, self._verb(name, query))
        if self.command == "GET":
            return 200, self._read(place, name, query)
        if (
            self.command == "PATCH"
            and "apply-patch" in self.headers["content-type"]
            and not self._is_there(place, name)
        ):
            self._may(role, place, Verb.CREATE)
        return self._write(place, name, query, body)

    def _read(self, place: Place, name: str, query: Mapping[str, str]) -> Object | None:
        if name:
            return self.api.objects.get(place, name)
        if query.get("watch") in ("1", "true"):
            self._watch(place, query)
            return None
        return self._page(place, query)

    def _write(self, place: Place, name: str, query: Mapping[str, str], body: Object) -> tuple[int, Object]:
        objects, manager = self.api.objects, query.get("fieldManager", "test")
        match self.command:
            case "POST":
                return 201, objects.create(place, body, manager)
            case "PUT":
                return 200, objects.replace(place, name, body, manager)
            case "PATCH" if "apply-patch" in self.headers["content-type"]:
                thing, is_new = objects.apply(place, name, body, manager, force=query.get("force") == "true")
                return 201 if is_new else 200, thing
            case "PATCH":
                return 200, objects.merge(place, name, body, manager)
            case _:
                gone = objects.delete(place, name, body.get("preconditions"))
                status = {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success"}
                details = {"name": name, "kind": place.plural, "uid": gone["metadata"]["uid"]}
                return 200, gone if place.plural == "pods" else status | {"details": details}

    def _is_there(self, place: Place, name: str) -> bool:
        try:
            self.api.objects.get(place, name)
        except Failure:
            return False
        return True

    def _verb(self, name: str, query: Mapping[str, str]) -> Verb:
        if self.command != "GET":
            return _VERBS[self.command]
        return Verb.GET if name else Verb.WATCH if "watch" in query else Verb.LIST

    def _role(self) -> Role | None:
        token = (self.headers.get("authorization") or "").removeprefix("Bearer ")
        if token not in self.api.tokens:
            raise Failure(401, "Unauthorized", "Unauthorized")
        return self.api.tokens[token]

    def _is_allowed(self, role: Role | None, wanted: Mapping[str, str]) -> bool:
        place = Place(wanted["group"], "v1", wanted["resource"], wanted["namespace"])
        used = set(self.api.used)
        try:
            self._may(role, place, Verb(wanted["verb"]))
        except Failure:
            return False
        finally:
            self.api.used = used
        return True

    def _may(self, role: Role | None, place: Place, verb: Verb) -> None:
        if role is None:
            return
        here = (place.group, place.plural)
        if not any(verb in verbs for kind, verbs in RIGHTS[role].items() if (kind.group, kind.plural) == here):
            raise Failure(
                403, "Forbidden",
                f'{place} is forbidden: User "system:serviceaccount:{place.namespace}:{role}" cannot {verb} resource '
                f'"{place.plural}" in API group "{place.group}" in the namespace "{place.namespace}"',
            )  # fmt: skip
        self.api.used.add((role, str(place), verb))

    def _page(self, place: Place, query: Mapping[str, str]) -> Object:
        with self.api.objects.changed:
            items = self.api.objects.select(place, query.get("labelSelector", ""), query.get("fieldSelector", ""))
            version = self.api.objects.version
            begins = 0
            if "continue" in query:
                asked, _, at = query["continue"].partition(":")
                if int(asked) < self.api.objects.horizon:
                    raise Failure(410, "Expired", "The provided continue parameter is too old")
                begins, version = int(at), int(asked)
        ends = begins + int(query.get("limit") or len(items) or 1)
        more = {"continue": f"{version}:{ends}"} if ends < len(items) else {}
        metadata = {"resourceVersion": str(version)} | more
        return {"kind": "List", "apiVersion": "v1", "metadata": metadata, "items": items[begins:ends]}

    def _watch(self, place: Place, query: Mapping[str, str]) -> None:
        objects, selector = self.api.objects, query.get("labelSelector", "")
        since = int(query.get("resourceVersion") or 0)
        until = time.monotonic() + int(query.get("timeoutSeconds") or 60) * self.api.watch_second
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("transfer-encoding", "chunked")
        self.end_headers()
        while self.api.is_up and (self.api.watches_are_silent or time.monotonic() < until):
            if self.api.watches_are_silent or self.api.is_hanging:
                time.sleep(0.01)
                continue
            with objects.changed:
                try:
                    changes = objects.since(since)
                except Failure as failure:
                    self._tell({"type": "ERROR", "object": failure.status})
                    break
                if not changes:
                    since = objects.version
                    objects.changed.wait(0.05)
                    continue
            for change in changes:
                since = change.version
                if change.place == place and (said := _said(change, selector)) is not None:
                    self._tell(said)
        else:
            mark = {"kind": "Object", "metadata": {"resourceVersion": str(since)}}
            self._tell({"type": "BOOKMARK", "object": mark})
        self.wfile.write(b"0\r\n\r\n")

    def _tell(self, event: Object) -> None:
        line = json.dumps(event).encode() + b"\n"
        self.wfile.write(b"%x\r\n%s\r\n" % (len(line), line))


def _said(change: Change, selector: str) -> Object | None:
    """What a watch with this selector is told of a change."""
    was = change.before is not None and matches(selector, change.before)
    now = change.after is not None and matches(selector, change.after)
    match was, now:
        case False, True:
            return {"type": "ADDED", "object": change.after}
        case True, True:
            return {"type": "MODIFIED", "object": change.after}
        case True, False:
            return {"type": "DELETED", "object": change.after or change.before}
        case _:
            return None
