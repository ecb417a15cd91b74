"""Pinned addresses: a name that is pointed elsewhere after it was checked leads nowhere else."""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from sluicegate.services.outbox.address import Address
from sluicegate.services.outbox.pinned import Pinned, public_addresses
from sluicegate.services.outbox.signed import post, signing_key

HOST, PUBLIC = "ci.example", "93.184.215.14"


@dataclass
class Server:
    """An https server that is called ci.example."""

    port: int = 0
    hosts: list[str] = field(default_factory=list)
    names: list[str | None] = field(default_factory=list)


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    found, certificate = Server(), certified(tmp_path)

    class Door(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["content-length"]))
            found.hosts.append(self.headers["host"])
            self.send_response(200)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Says nothing."""

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    context.sni_callback = lambda _, name, __: found.names.append(name)
    http = ThreadingHTTPServer(("127.0.0.1", 0), Door)
    http.socket = context.wrap_socket(http.socket, server_side=True)
    found.port = http.server_port
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    thread = threading.Thread(target=http.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    yield found
    http.shutdown()
    http.server_close()
    thread.join(timeout=10)


def certified(folder: Path) -> Path:
    """A key and a certificate of ci.example, which vouches for itself."""
    key, name = ec.generate_private_key(ec.SECP256R1()), x509.Name.from_rfc4514_string(f"CN={HOST}")
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(HOST)]), critical=False)
        .sign(key, hashes.SHA256())
    )
    plain = serialization.NoEncryption()
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, plain)
    path = folder / "ci.pem"
    path.write_bytes(pem + made.public_bytes(serialization.Encoding.PEM))
    return path


class Names:
    """DNS that says one address first and another from then on; every connection is noted, and led to a server."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, port: int) -> None:
        self.said: list[str] = []
        self.called: list[str] = []
        connect = socket.create_connection

        def look_up(host: str, port: int, *_: object, **__: object) -> list[tuple[object, ...]]:
            if host == HOST:
                self.said.append(PUBLIC if not self.said else "127.0.0.1")
            address = self.said[-1] if host == HOST else host
            return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port))]

        def call(address: tuple[str, int], *more: object, **settings: object) -> socket.socket:
            self.called.append(address[0])
            return connect(("127.0.0.1", port), *more, **settings)  # type: ignore[arg-type]

        monkeypatch.setattr(socket, "getaddrinfo", look_up)
        monkeypatch.setattr(socket, "create_connection", call)


def test_a_name_that_changes_its_address_is_called_where_it_was_checked(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    url, names = f"https://{HOST}:{server.port}/ask", Names(monkeypatch, server.port)
    only = public_addresses(url, ())
    assert only == (PUBLIC,)
    address = Address(url=url, key=signing_key("s"))
    answer = post(address, name="n", body="{}", now=datetime.now(UTC), seconds=10, only=only)
    assert answer.status_code == 200
    assert names.called == [PUBLIC]
    assert names.said == [PUBLIC], "the name was looked up once"
    assert server.hosts == [f"{HOST}:{server.port}"]
    assert server.names == [HOST]


def test_the_certificate_must_be_that_of_the_name(server: Server) -> None:
    with httpx.Client(transport=Pinned(["127.0.0.1"])) as http, pytest.raises(httpx.ConnectError, match="certificate"):
        http.post(f"https://other.example:{server.port}/", content=b"{}")
    assert server.hosts == []


def test_the_next_address_is_called_where_one_does_not_answer(server: Server) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.2", server.port))  # bound, not listening: refused at once
        with httpx.Client(transport=Pinned(["127.0.0.2", "127.0.0.1"])) as http:
            assert http.post(f"https://{HOST}:{server.port}/", content=b"{}").status_code == 200


def test_a_host_that_is_allowed_is_called_by_its_name() -> None:
    assert public_addresses("http://build.internal/ask", {"build.internal"}) == ()
