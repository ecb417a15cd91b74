"""The API of a cluster for one namespace: objects are read, applied, removed and watched, each within a time limit."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from http import HTTPStatus
from types import MappingProxyType
from typing import Any

import httpx

from sluicegate.registry.deadline import SECONDS, bounded
from sluicegate.registry.words.errors import NotFound, Unreachable
from sluicegate.services.cluster.access import Access, Papers
from sluicegate.services.cluster.answers import Expired, Question, meaning, parsed, pause, read_object
from sluicegate.services.cluster.kinds import Kind, Object
from sluicegate.services.cluster.names import MANAGER, selector

_ANYWHERE: Mapping[str, str] = MappingProxyType({})
_APPLY, _MERGE = "application/apply-patch+yaml", "application/merge-patch+json"


@dataclass(frozen=True, kw_only=True)
class Limits:
    """How long the API may take, in seconds."""

    connect: float = 2.0
    whole: float = 5.0
    """For one request, including pauses that the server asks for."""
    watch: float = 10.0
    """Time after which the server ends a watch, which is then started again."""
    grace: float = 3.0
    """How much longer than that a watch may be silent."""
    page: int = 500
    """The most objects in one answer to a list."""


@dataclass(frozen=True, kw_only=True)
class Listing:
    """The objects of a kind, as of one version."""

    items: tuple[Object, ...]
    version: str


@dataclass(frozen=True, kw_only=True)
class Event:
    """One event of a watch: ADDED, MODIFIED, DELETED, or BOOKMARK, which only tells a newer version."""

    what: str
    object: Object

    @property
    def version(self) -> str:
        return str(self.object["metadata"]["resourceVersion"])


class Api:
    """One namespace of a cluster.

    Every request may raise Unreachable, Forbidden, NotFound, Refused or ObjectConflict.
    """

    def __init__(
        self,
        access: Access,
        namespace: str,
        *,
        limits: Limits = Limits(),
        sleep: Callable[[float], None] = time.sleep,
        elapsed: Callable[[], float] = time.monotonic,
    ) -> None:
        self.namespace = namespace
        self._access, self._limits, self._sleep, self._elapsed = access, limits, sleep, elapsed
        self._lock = threading.Lock()
        self._clients: tuple[Papers, httpx.Client, httpx.Client] | None = None

    @property
    def where(self) -> str:
        """The namespace in words, for messages."""
        return f"namespace {self.namespace} of {self._access.url}"

    def get(self, kind: Kind, name: str) -> Object:
        """The object of this name. Raises NotFound."""
        return self._ask("GET", kind.path(self.namespace, name))

    def select(self, kind: Kind, wanted: Mapping[str, str], where: Mapping[str, str] = _ANYWHERE) -> Listing:
        """Every object with these labels, and with these values of fields that the API selects by."""
        params = {"labelSelector": selector(wanted), "limit": str(self._limits.page)}
        params |= {"fieldSelector": selector(where)} if where else {}
        items: list[Object] = []
        while True:
            try:
                page = self._ask("GET", kind.path(self.namespace), params)
            except Expired:
                if "continue" not in params:
                    raise
                items, params = [], {name: value for name, value in params.items() if name != "continue"}
                continue
            items.extend(page.get("items") or ())
            if not (more := page["metadata"].get("continue")):
                return Listing(items=tuple(items), version=page["metadata"]["resourceVersion"])
            params = {**params, "continue": more}

    def apply(self, kind: Kind, manifest: Mapping[str, Any], *, manager: str = MANAGER) -> Object:
        """Set these fields, and remove others that this manager applied before. The same again changes nothing."""
        content = {"apiVersion": kind.api_version, "kind": kind.name, **manifest}
        params = {"fieldManager": manager, "force": "true", "fieldValidation": "Strict"}
        return self._ask("PATCH", self._path(kind, manifest), params, content, _APPLY)

    def create(self, kind: Kind, manifest: Mapping[str, Any]) -> Object:
        """Create an object. Raises ObjectConflict if there is one."""
        content = {"apiVersion": kind.api_version, "kind": kind.name, **manifest}
        params = {"fieldManager": MANAGER, "fieldValidation": "Strict"}
        return self._ask("POST", kind.path(self.namespace), params, content, is_harmless_again=False)

    def replace(self, kind: Kind, changed: Mapping[str, Any]) -> Object:
        """Replace the object that was read. Raises ObjectConflict if it has changed since."""
        content = {"apiVersion": kind.api_version, "kind": kind.name, **changed}
        params = {"fieldManager": MANAGER, "fieldValidation": "Strict"}
        return self._ask("PUT", self._path(kind, changed), params, content, is_harmless_again=False)

    def merge(self, kind: Kind, name: str, change: Mapping[str, Any], *, manager: str = MANAGER) -> Object:
        """Set single fields; None removes one. Raises NotFound, and ObjectConflict if an older version is named."""
        params = {"fieldManager": manager, "fieldValidation": "Strict"}
        return self._ask("PATCH", kind.path(self.namespace, name), params, change, _MERGE)

    def delete(self, kind: Kind, name: str, *, grace: int | None = None) -> bool:
        """Delete the object of this name and what it owns; returns whether there was one. It may take a while to
        disappear.

        `grace`: the seconds that a pod gets to end, instead of its own grace period.
        """
        options = {"propagationPolicy": "Background"} | ({} if grace is None else {"gracePeriodSeconds": grace})
        try:
            self._ask("DELETE", kind.path(self.namespace, name), None, options)
        except NotFound:
            return False
        return True

    def watch(self, kind: Kind, wanted: Mapping[str, str], since: str) -> Iterator[Event]:
        """The changes after a version, until the time limit of a watch. Raises Expired if the API no longer has that
        version.

        Call it again from the last event's version. A watch that is silent for too long raises Unreachable.
        """
        question = Question(method="GET", url=self._access.url, path=f"{kind.path(self.namespace)}?watch")
        params = {
            "labelSelector": selector(wanted),
            "watch": "1",
            "allowWatchBookmarks": "true",
            "resourceVersion": since,
            "timeoutSeconds": f"{max(1, round(self._limits.watch))}",
        }
        with self._sending(question):
            papers = self._access.papers()
            request = self._watching(papers).build_request(
                "GET", kind.path(self.namespace), params=params, headers=_headers(papers), extensions=self._named()
            )
            answer = self._watching(papers).send(request, stream=True)
            try:
                if not answer.is_success:
                    answer.read()
                    read_object(question, answer)
                for line in answer.iter_lines():
                    yield _event(question, line)
            finally:
                answer.close()

    def version(self) -> str:
        """The server's version, such as v1.36.2."""
        return str(self._ask("GET", "/version")["gitVersion"])

    def may(self, verb: str, kind: Kind) -> bool:
        """Whether our identity may do this in the namespace. Every identity may ask that."""
        wanted = {"namespace": self.namespace, "verb": verb, "group": kind.group, "resource": kind.plural}
        review = {
            "apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectAccessReview",
            "spec": {"resourceAttributes": wanted},
        }  # fmt: skip
        answer = self._ask("POST", "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", None, review)
        return bool(answer["status"]["allowed"])

    def _path(self, kind: Kind, manifest: Mapping[str, Any]) -> str:
        return kind.path(self.namespace, manifest["metadata"]["name"])

    def _ask(
        self,
        method: str,
        path: str,
        params: Mapping[str, str] | None = None,
        content: Mapping[str, Any] | None = None,
        content_type: str = "application/json",
        *,
        is_harmless_again: bool = True,
    ) -> Object:
        question = Question(method=method, url=self._access.url, path=path, is_harmless_again=is_harmless_again)
        body = None if content is None else json.dumps(content).encode()
        until = self._elapsed() + self._limits.whole
        papers = self._access.papers()
        while True:
            answer = self._answer(question, papers, params, body, content_type, until)
            if answer.status_code == HTTPStatus.UNAUTHORIZED and papers != (papers := self._access.papers()):
                continue  # the token was replaced meanwhile
            wait = pause(answer)
            if wait is None or self._elapsed() + wait >= until:
                return read_object(question, answer)
            self._sleep(wait)

    def _answer(
        self,
        question: Question,
        papers: Papers,
        params: Mapping[str, str] | None,
        body: bytes | None,
        content_type: str,
        until: float,
    ) -> httpx.Response:
        headers = _headers(papers) | ({} if body is None else {"content-type": content_type})
        with self._sending(question):
            for attempt in (1, 2):
                seconds = max(0.01, until - self._elapsed())
                client = self._asking(papers)
                request = client.build_request(
                    question.method, question.path, params=params, content=body, headers=headers,
                    extensions=self._named() | {SECONDS: seconds},
                )  # fmt: skip
                try:
                    return client.send(request)
                except (httpx.RemoteProtocolError, httpx.ReadError, httpx.WriteError):
                    if attempt == 2 or not question.is_harmless_again:
                        raise  # the first may have met a connection that the server had closed long ago
        raise AssertionError("unreachable")

    @contextmanager
    def _sending(self, question: Question) -> Iterator[None]:
        try:
            yield
        except (httpx.HTTPError, httpx.StreamError) as error:
            raise Unreachable(
                f"{question} got no answer: {str(error) or type(error).__name__}.",
                fix="check that the cluster's API is up and can be reached from here: kubectl get --raw /readyz",
            ) from error

    def _named(self) -> dict[str, Any]:
        name = self._access.server_name
        return {} if name is None else {"sni_hostname": name}

    def _asking(self, papers: Papers) -> httpx.Client:
        return self._both(papers)[0]

    def _watching(self, papers: Papers) -> httpx.Client:
        """A client for watches alone: a thread has one deadline at a time, and sends other requests between two
        events."""
        return self._both(papers)[1]

    def _both(self, papers: Papers) -> tuple[httpx.Client, httpx.Client]:
        """Both clients with these credentials: a replaced authority or client certificate takes new connections."""
        tls = Papers(authority=papers.authority, token=None, certificate=papers.certificate)
        with self._lock:
            if self._clients is None or self._clients[0] != tls:
                silence = self._limits.watch + self._limits.grace
                self._clients = (
                    tls,
                    bounded(self._client(tls, self._limits.whole), self._limits.whole),
                    bounded(self._client(tls, silence), silence),
                )
            return self._clients[1:]

    def _client(self, tls: Papers, silence: float) -> httpx.Client:
        verify: Any = self._access.tls(tls) if self._access.url.startswith("https") else False
        timeout = httpx.Timeout(silence, connect=self._limits.connect)
        return httpx.Client(base_url=self._access.url, verify=verify, timeout=timeout, trust_env=False)


def _headers(papers: Papers) -> dict[str, str]:
    return {"authorization": f"Bearer {papers.token}"} if papers.token else {}


def _event(question: Question, line: str) -> Event:
    fields = parsed(question, line.encode())
    thing = fields.get("object")
    if fields.get("type") == "ERROR":
        raise meaning(question, int(thing.get("code", 500)), thing) if isinstance(thing, dict) else Unreachable(line)
    if not isinstance(thing, dict):
        raise Unreachable(
            f"the cluster answered {question} with a line that cannot be read: {line[:200]}",
            fix="wait: Sluicegate tries again by itself.",
        )
    return Event(what=str(fields.get("type")), object=thing)
