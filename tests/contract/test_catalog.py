"""The Catalog's promises, on the one in memory and on a real MLflow server with models registered by MLflow itself."""

from __future__ import annotations

import json
import math
import os
import re
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from sluicegate.registry.catalog.mlflow_http import MlflowCatalog, read_signature
from sluicegate.registry.catalog.port import Catalog
from sluicegate.registry.words.build import BuildRef
from sluicegate.registry.words.errors import CatalogUnavailable, NotFound, UsageError
from sluicegate.registry.words.settings import MlflowServer
from tests.contract.mlflow_server import QUIET
from tests.doubles.catalog import MemoryCatalog

SIGNATURE = {
    "inputs": [{"type": "double", "name": "x", "required": True}],
    "outputs": [{"type": "double", "name": "probability", "required": True}],
}
REGISTER = """
import json, sys, mlflow, pandas as pd
from mlflow.models import infer_signature
class Model(mlflow.pyfunc.PythonModel):
    def predict(self, context, model_input, params=None): return model_input
rows = pd.DataFrame({"x": [1.0]})
signature = infer_signature(rows, pd.DataFrame({"probability": [0.5]}))
logged = {}
for line in sys.stdin:
    name, signed, fresh = json.loads(line)
    if fresh or signed not in logged:
        with mlflow.start_run():
            for key, value in (("val_auc", 0.5), ("val_auc", 0.9), ("loss", float("nan")), ("top", float("inf"))):
                mlflow.log_metric(key, value)
            logged[signed] = mlflow.pyfunc.log_model(
                name="m", python_model=Model(), signature=signature if signed else None, pip_requirements=["mlflow"]
            )
    mlflow.register_model(logged[signed].model_uri, name)
    print("registered", flush=True)
"""


Register = Callable[[str, bool, bool], None]


@dataclass(frozen=True)
class Shelf:
    """A catalog and a way to put builds into it that is not the catalog's own."""

    catalog: Catalog
    register: Register
    prefix: str

    def model(self, name: str, versions: int, *, signed: bool = True) -> str:
        """A model of a name of its own with this many versions."""
        full = f"{self.prefix}{name}"
        for _ in range(versions):
            self.register(full, signed, False)
        return full


@pytest.fixture(scope="session")
def registrar(server: MlflowServer) -> Iterator[Register]:
    """Registers models with MLflow's own client, in a process of its own."""
    environment = (
        os.environ
        | QUIET
        | {
            "MLFLOW_TRACKING_URI": server.url,
            "MLFLOW_TRACKING_USERNAME": server.username,
            "MLFLOW_TRACKING_PASSWORD": server.password,
            "NO_PROXY": "127.0.0.1",
        }
    )
    process = subprocess.Popen(
        [sys.executable, "-c", REGISTER],
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert process.stdin is not None
    assert process.stdout is not None

    def register(model: str, signed: bool, fresh: bool) -> None:
        process.stdin.write(json.dumps([model, signed, fresh]) + "\n")
        process.stdin.flush()
        while (line := process.stdout.readline()) != "registered\n":
            assert line, "the registering process ended"

    try:
        yield register
    finally:
        process.kill()
        process.wait(timeout=20)
        process.stdin.close()
        process.stdout.close()


@pytest.fixture(params=["memory", pytest.param("mlflow", marks=pytest.mark.slow)])
def shelf(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Shelf]:
    if request.param == "memory":
        memory = MemoryCatalog()
        files = tmp_path / "files"
        (files / "data").mkdir(parents=True)
        (files / "MLmodel").write_text("flavors: {}\n")
        yield Shelf(memory, lambda model, signed, _: _register(memory, model, files, signed=signed), "")
        return
    catalog = MlflowCatalog(request.getfixturevalue("server"))
    yield Shelf(catalog, request.getfixturevalue("registrar"), f"{request.node.originalname[5:30]} ")
    catalog.close()


def _register(memory: MemoryCatalog, model: str, files: Path, *, signed: bool) -> None:
    memory.runs["run"] = {"val_auc": 0.9, "loss": math.nan, "top": math.inf}
    memory.register(model, files=files, signature=SIGNATURE if signed else None, run="run")


def ref(model: str, version: int) -> BuildRef:
    return BuildRef(model=model, version=str(version))


# --- reading ---------------------------------------------------------------------------------------------------------


def test_builds_come_oldest_first_and_without_signature(shelf: Shelf) -> None:
    model = shelf.model("delays", 11)
    builds = shelf.catalog.builds(model)
    assert [build.ref for build in builds] == [ref(model, version) for version in range(1, 12)]
    assert {build.stage for build in builds} == {"None"}
    assert all(build.signature is None and not build.aliases and not build.tags for build in builds)


def test_a_build_has_its_signature(shelf: Shelf) -> None:
    model = shelf.model("delays", 1)
    build = shelf.catalog.build(ref(model, 1))
    assert build.signature is not None
    assert {part: build.signature[part] for part in SIGNATURE} == SIGNATURE


def test_a_build_names_its_run_and_the_last_value_of_each_metric_is_read(shelf: Shelf) -> None:
    model = shelf.model("measured", 1)
    run = shelf.catalog.build(ref(model, 1)).run
    assert run is not None
    values = shelf.catalog.run_metrics(run)
    assert values["val_auc"] == 0.9
    assert math.isnan(values["loss"])
    assert values["top"] > 1e300
    with pytest.raises(NotFound):
        shelf.catalog.run_metrics("0" * 32)


def test_a_build_without_signature_says_so(shelf: Shelf) -> None:
    model = shelf.model("bare", 1, signed=False)
    assert shelf.catalog.build(ref(model, 1)).signature is None


@pytest.mark.parametrize(
    "name",
    [
        "it's",
        "a b",
        "ünï-模型",
        "100%",
        r"a\b",
        'say "hi"',
        "a+b&c=d#e?f",
        'it\'s "quoted"',
        "'\"",
        r"'_\ \"%",
        "'; DROP TABLE x; --\"",
    ],
)
def test_any_name_that_mlflow_allows_can_be_read(shelf: Shelf, name: str) -> None:
    model = shelf.model(name, 1)
    for near in {re.sub(r"['\\\\_]", "x", name), re.sub("[%]", "yy", name)} - {name}:
        shelf.model(near, 1)
    assert [build.ref for build in shelf.catalog.builds(model)] == [ref(model, 1)]
    assert shelf.catalog.build(ref(model, 1)).ref == ref(model, 1)


def test_an_unregistered_model_has_no_builds(shelf: Shelf) -> None:
    assert shelf.catalog.builds("nobody") == ()
    assert shelf.catalog.snapshot(["nobody"]) == {"nobody": ()}


def test_what_is_not_there_is_not_found(shelf: Shelf) -> None:
    model = shelf.model("delays", 1)
    for wrong in ("9", "x", "", "1.0", "-1"):
        with pytest.raises(NotFound):
            shelf.catalog.build(BuildRef(model=model, version=wrong))
        with pytest.raises(NotFound):
            shelf.catalog.resolve(model, wrong)
    with pytest.raises(NotFound, match=r"MLflow has no model 'nobody'\. Fix: register a build"):
        shelf.catalog.resolve("nobody", "latest")
    with pytest.raises(NotFound, match=f"did you mean {model}\\?"):
        shelf.catalog.resolve(model.replace("delays", "Delyas"), "1")
    assert model in shelf.catalog.models()
    with pytest.raises(NotFound, match=r"no build '@candidate'\. Fix: name one of v1, latest"):
        shelf.catalog.resolve(model, "@candidate")


def test_names_of_builds_resolve(shelf: Shelf) -> None:
    model = shelf.model("delays", 2)
    shelf.catalog.set_alias(ref(model, 1), "candidate")
    assert shelf.catalog.resolve(model, "@candidate") == ref(model, 1)
    assert shelf.catalog.resolve(model, "candidate") == ref(model, 1)
    assert shelf.catalog.resolve(model, "1") == ref(model, 1)
    assert shelf.catalog.resolve(model, "latest") == ref(model, 2)


def test_a_snapshot_holds_every_model(shelf: Shelf) -> None:
    one, two = shelf.model("one", 1), shelf.model("two", 2)
    found = shelf.catalog.snapshot([one, two])
    assert {model: len(builds) for model, builds in found.items()} == {one: 1, two: 2}


# --- writing back ----------------------------------------------------------------------------------------------------


def test_an_alias_names_one_build(shelf: Shelf) -> None:
    model = shelf.model("delays", 2)
    for version in (1, 2, 2):
        shelf.catalog.set_alias(ref(model, version), "champion")
        shelf.catalog.set_alias(ref(model, version), f"v-{version}")
    first, second = shelf.catalog.builds(model)
    assert (first.aliases, second.aliases) == ({"v-1"}, {"champion", "v-2"})
    assert shelf.catalog.build(ref(model, 2)).aliases == {"champion", "v-2"}
    shelf.catalog.delete_alias(model, "champion")
    shelf.catalog.delete_alias(model, "champion")
    assert [build.aliases for build in shelf.catalog.builds(model)] == [{"v-1"}, {"v-2"}]


def test_tags_are_written_and_overwritten(shelf: Shelf) -> None:
    model = shelf.model("delays", 2)
    for value in ("pass", "fail ✗ 100 %\nline", "fail ✗ 100 %\nline", ""):
        shelf.catalog.set_tag(ref(model, 1), "sluice.verdict", value)
        assert shelf.catalog.build(ref(model, 1)).tags == {"sluice.verdict": value}
    assert shelf.catalog.builds(model)[1].tags == {}


def test_a_stage_archives_those_before_when_asked(shelf: Shelf) -> None:
    model = shelf.model("delays", 3)
    stages = lambda: [build.stage for build in shelf.catalog.builds(model)]  # noqa: E731
    shelf.catalog.transition_stage(ref(model, 1), "Production", archive_existing=True)
    shelf.catalog.transition_stage(ref(model, 2), "Production", archive_existing=False)
    assert stages() == ["Production", "Production", "None"]
    shelf.catalog.transition_stage(ref(model, 3), "Production", archive_existing=True)
    shelf.catalog.transition_stage(ref(model, 3), "Production", archive_existing=True)
    assert stages() == ["Archived", "Archived", "Production"]


def test_nothing_is_written_on_a_build_that_is_not_there(shelf: Shelf) -> None:
    model = shelf.model("delays", 1)
    gone = ref(model, 7)
    with pytest.raises(NotFound):
        shelf.catalog.set_alias(gone, "champion")
    with pytest.raises(NotFound):
        shelf.catalog.set_tag(gone, "a", "b")
    with pytest.raises(NotFound):
        shelf.catalog.transition_stage(gone, "Production", archive_existing=True)
    [build] = shelf.catalog.builds(model)
    assert (build.aliases, build.tags, build.stage) == (frozenset(), {}, "None")


# --- files -----------------------------------------------------------------------------------------------------------


def test_files_come_whole_and_once(shelf: Shelf, tmp_path: Path) -> None:
    model = shelf.model("delays", 1)
    into = tmp_path / "builds" / "delays.v1"
    assert shelf.catalog.fetch(ref(model, 1), into) == into
    assert (into / "MLmodel").read_text()
    (into / "mark").write_text("kept")
    shelf.catalog.fetch(ref(model, 1), into)
    assert (into / "mark").read_text() == "kept"
    assert [path.name for path in into.parent.iterdir() if path.name.startswith(".")] == []


def test_files_of_no_build_leave_nothing(shelf: Shelf, tmp_path: Path) -> None:
    with pytest.raises(NotFound):
        shelf.catalog.fetch(ref("nobody", 1), tmp_path / "builds" / "x")
    assert not (tmp_path / "builds" / "x").exists()


# --- MLflow's own -----------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_another_build_of_the_same_name_replaces_the_files(
    server: MlflowServer, registrar: Register, tmp_path: Path
) -> None:
    catalog, into = MlflowCatalog(server), tmp_path / "delays.v1"
    registrar("again", True, True)
    catalog.fetch(ref("again", 1), into)
    (into / "mark").write_text("of the former")
    catalog._rest.post("/registered-models/delete", {"name": "again"}, method="DELETE")
    registrar("again", True, True)
    catalog.fetch(ref("again", 1), into)
    assert not (into / "mark").exists()
    catalog.close()


@pytest.mark.slow
def test_stores_without_a_proxy_are_read_by_mlflow_itself(
    server: MlflowServer, registrar: Register, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from sluicegate.registry.catalog.artifacts import download

    store = tmp_path / "store" / "model"
    (store / "deep").mkdir(parents=True)
    (store / "MLmodel").write_text("flavors: {}\n")
    (store / "deep" / "weights").write_bytes(bytes(range(256)))
    catalog, into = MlflowCatalog(server), tmp_path / "into"
    download(catalog._rest, store.as_uri(), into)
    assert sorted(path.relative_to(into).as_posix() for path in into.rglob("*")) == ["MLmodel", "deep", "deep/weights"]
    with pytest.raises(CatalogUnavailable, match="could not be downloaded"):
        download(catalog._rest, (tmp_path / "nothing").as_uri(), tmp_path / "other")
    assert not (tmp_path / "other").exists()
    catalog.close()


@pytest.mark.slow
def test_times_and_versions_are_mlflows(server: MlflowServer, registrar: Register) -> None:
    registrar("timed", True, False)
    catalog = MlflowCatalog(server)
    created = catalog.build(ref("timed", 1)).created_at
    assert created is not None
    assert abs(datetime.now(UTC) - created) < timedelta(minutes=10)
    catalog.close()


@pytest.mark.slow
def test_wrong_credentials_are_no_empty_catalog(server: MlflowServer) -> None:
    for stranger in (replace(server, password="wrong"), replace(server, username="", password="")):
        catalog = MlflowCatalog(stranger)
        with pytest.raises(CatalogUnavailable, match=r"refuses the credentials.*MLFLOW_TRACKING_USERNAME") as raised:
            catalog.builds("delays")
        assert "wrong" not in str(raised.value)
        catalog.close()


@pytest.mark.slow
def test_a_stage_that_is_none_is_refused(server: MlflowServer, registrar: Register) -> None:
    registrar("staged", True, False)
    catalog = MlflowCatalog(server)
    with pytest.raises(UsageError, match="Staging, Production, Archived"):
        catalog.transition_stage(ref("staged", 1), "Live", archive_existing=True)
    catalog.close()


@pytest.mark.slow
def test_reading_mlflow_imports_no_mlflow(server: MlflowServer) -> None:
    script = (
        "import sys; from sluicegate.registry.catalog.mlflow_http import MlflowCatalog;"
        "from sluicegate.registry.words.settings import Settings;"
        "MlflowCatalog(Settings.read().mlflow_server).builds('delays');"
        "assert not {'mlflow', 'pandas', 'numpy', 'sqlalchemy'} & set(sys.modules)"
    )
    environment = os.environ | {
        "MLFLOW_TRACKING_URI": server.url,
        "MLFLOW_TRACKING_USERNAME": server.username,
        "MLFLOW_TRACKING_PASSWORD": server.password,
        "PYTHONPATH": str(Path(__file__).parents[2]),
    }
    subprocess.run([sys.executable, "-c", script], env=environment, check=True, timeout=60)


# --- what is not MLflow, or answers badly ----------------------------------------------------------------------------


def test_a_catalog_made_unreachable_changes_nothing() -> None:
    catalog = MemoryCatalog()
    first = catalog.register("delays")
    catalog.reachable = False
    for call in (lambda: catalog.builds("delays"), lambda: catalog.build(first), lambda: catalog.set_alias(first, "a")):
        with pytest.raises(CatalogUnavailable):
            call()
    catalog.reachable = True
    assert [build.aliases for build in catalog.builds("delays")] == [frozenset()]


@pytest.fixture
def odd() -> Iterator[Callable[[int, bytes], MlflowCatalog]]:
    """Catalogs of servers that always answer the same."""
    servers: list[ThreadingHTTPServer] = []

    def answering(status: int, body: bytes) -> MlflowCatalog:
        class Odd(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.send_response(status)
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: Any) -> None:
                return

        server = ThreadingHTTPServer(("127.0.0.1", 0), Odd)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        servers.append(server)
        return MlflowCatalog(MlflowServer(url=f"http://127.0.0.1:{server.server_address[1]}"))

    yield answering
    for server in servers:
        server.shutdown()
        server.server_close()


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (500, b"oops"),
        (502, b"<html>bad gateway</html>"),
        (429, b'{"error_code": "REQUEST_LIMIT_EXCEEDED", "message": "slow down"}'),
        (404, b"<html>nothing here</html>"),
        (200, b"<html>a login page</html>"),
        (200, b""),
        (200, b"[]"),
        (200, b"{}"),
        (200, b'{"registered_model": 7}'),
        (403, b'{"error_code": "PERMISSION_DENIED"}'),
        (302, b""),
    ],
)
def test_an_odd_answer_is_never_an_empty_catalog(
    odd: Callable[[int, bytes], MlflowCatalog], status: int, body: bytes
) -> None:
    with pytest.raises(CatalogUnavailable):
        odd(status, body).builds("delays")


def test_a_server_that_is_away_is_unavailable() -> None:
    with pytest.raises(CatalogUnavailable, match="does not answer") as raised:
        MlflowCatalog(MlflowServer(url="http://127.0.0.1:1", username="ada", password="secret")).builds("delays")
    assert raised.value.exit_code == 6
    assert "secret" not in str(raised.value)


@pytest.mark.parametrize("name", ["../outside", "/etc/passwd", "a/../../b", "a\x00b"])
def test_files_cannot_lead_out_of_the_folder(
    odd: Callable[[int, bytes], MlflowCatalog], tmp_path: Path, name: str
) -> None:
    from sluicegate.registry.catalog.artifacts import download

    listing = json.dumps({"files": [{"path": name, "is_dir": False, "file_size": 1}]}).encode()
    with pytest.raises(CatalogUnavailable, match="outside"):
        download(odd(200, listing)._rest, "mlflow-artifacts:/0/m", tmp_path / "into")
    assert list(tmp_path.rglob("*")) == []


def test_files_that_come_short_are_not_taken(odd: Callable[[int, bytes], MlflowCatalog], tmp_path: Path) -> None:
    from sluicegate.registry.catalog.artifacts import download

    listing = json.dumps({"files": [{"path": "MLmodel", "is_dir": False, "file_size": 10_000}]}).encode()
    with pytest.raises(CatalogUnavailable, match="instead of 10,000"):
        download(odd(200, listing)._rest, "mlflow-artifacts:/0/m", tmp_path / "into")
    assert list(tmp_path.rglob("*")) == []


def test_signatures_are_read_from_the_mlmodel_file() -> None:
    text = "signature:\n  inputs: '[]'\n  outputs: '[{\"type\": \"long\"}]'\n  params: null\n"
    assert read_signature(text) == {"inputs": [], "outputs": [{"type": "long"}]}
    assert read_signature("flavors: {}") is None
