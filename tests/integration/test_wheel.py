"""A wheel, as anybody installs it: what is in it, both sizes of it, and the product run from it far from a checkout."""

from __future__ import annotations

import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.stack_rig import MODEL
from tests.integration.wheel_rig import ROOMS, ROOT, Built, Venv, build, foreign_folder, foreign_imports, wheel_of_sdist
from tests.integration.whole_wheel import Installed, installed_stack, tell

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]
ONLY_IN_A_CHECKOUT = {".md", ".sh", ".pyc"}
SERVER = 'sluice: this command needs the server part: pip install "sluicegate[server]"\n'


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Built:
    return build(tmp_path_factory.mktemp("built"))


@pytest.fixture(scope="module")
def light(built: Built, tmp_path_factory: pytest.TempPathFactory) -> Venv:
    """`pip install sluicegate`."""
    venv = Venv.create(tmp_path_factory.mktemp("light") / "venv")
    venv.install(str(built.wheel))
    return venv


@pytest.fixture(scope="module")
def whole(built: Built, tmp_path_factory: pytest.TempPathFactory) -> Venv:
    """`pip install "sluicegate[demo]"`, in the releases of the lock."""
    venv = Venv.create(tmp_path_factory.mktemp("server") / "venv")
    venv.install("--no-deps", "--require-hashes", "-r", str(ROOT / "requirements.lock"))
    venv.install("--no-deps", str(built.wheel))
    return venv


@pytest.fixture(scope="module")
def stack(whole: Venv) -> Iterator[Installed]:
    """The same after `sluice up`."""
    with installed_stack(whole) as running:
        yield running


def contents(wheel: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(wheel) as archive:
        return {name: archive.read(name) for name in archive.namelist() if not name.endswith("/RECORD")}


def test_the_wheel_has_one_name_at_the_top(built: Built) -> None:
    tops = {name.partition("/")[0] for name in contents(built.wheel)}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"sluicegate"}


def test_the_wheel_has_every_file_of_the_rooms(built: Built) -> None:
    files = [path for room in ROOMS for path in (ROOT / room).rglob("*") if path.is_file()]
    wanted = {str(path.relative_to(ROOT)) for path in files if path.suffix not in ONLY_IN_A_CHECKOUT}
    wanted = {name for name in wanted if "__pycache__" not in name and not name.startswith("examples/notebook")}
    wanted |= {"__init__.py", "prefect.yaml", "py.typed"}
    assert {f"sluicegate/{name}" for name in wanted} - set(contents(built.wheel)) == set()


def test_an_sdist_makes_the_same_wheel(built: Built, tmp_path: Path) -> None:
    assert contents(wheel_of_sdist(built.sdist, tmp_path)) == contents(built.wheel)


def test_the_client_needs_httpx_alone(built: Built, tmp_path: Path) -> None:
    venv = Venv.create(tmp_path / "venv")
    venv.install("--no-deps", str(built.wheel))
    venv.install("httpx")
    code = "from sluicegate import *; from sluicegate import AsyncClient, Client; Client('http://127.0.0.1:9').close()"
    done = venv.run(venv.python, "-c", code, cwd=foreign_folder(tmp_path / "theirs"))
    assert done.returncode == 0, done.stderr


def test_a_light_installation_names_the_extra(light: Venv, tmp_path: Path) -> None:
    theirs = foreign_folder(tmp_path / "theirs")
    assert light.run(light.sluice, "--version", cwd=theirs).stdout == "0.2.0\n"
    for command in ("up", "status", "down", "doctor", "env"):
        done = light.run(light.sluice, command, cwd=theirs, HOME=str(tmp_path))
        assert (done.returncode, done.stderr) == (1, SERVER), command
    done = light.run(light.sluice, "demo", cwd=theirs, HOME=str(tmp_path))
    assert (done.returncode, done.stderr) == (1, SERVER.replace("server part", "demo").replace("server", "demo"))
    assert foreign_imports(theirs) == []


@pytest.mark.timeout(1200)
def test_from_a_wheel_the_demo_promotes_one_model_and_takes_a_worse_one_back(whole: Venv, tmp_path: Path) -> None:
    with tempfile.TemporaryDirectory(prefix="sluice-", dir="/tmp") as folder:
        theirs = foreign_folder(tmp_path / "theirs")
        try:
            done = whole.run(whole.sluice, "demo", "--folder", folder, cwd=theirs, seconds=900, HOME=str(tmp_path))
        finally:
            whole.run(whole.sluice, "down", cwd=theirs, SLUICE_STATE=f"{folder}/sluice")
        assert done.returncode == 0, f"{done.stdout}{done.stderr}"
        for ending in ("v2 trees: promoted", ": aborted", "The demo ended as it should"):
            assert ending in done.stdout
        assert foreign_imports(theirs) == []


def test_from_a_wheel_the_whole_product_works(stack: Installed) -> None:
    assert "Progressive delivery" in stack.run("--help").stdout
    tell(stack)


def test_a_light_installation_asks_the_console(stack: Installed, light: Venv, tmp_path: Path) -> None:
    """After the whole product was tried: there is a model to ask for."""
    clients = stack.clients()
    here = {name: clients[name] for name in ("SLUICE_API", "SLUICE_TOKEN")} | {"HOME": str(tmp_path)}
    here["SLUICE_GATEWAY"] = stack.urls()["gateway"]
    theirs = tmp_path / "theirs"
    theirs.mkdir()
    plan = theirs / "plan.yaml"
    plan.write_text(f"kind: plan\nmodel: {MODEL}\nsteps:\n  - {{weight: 10, min_requests: 10}}\n")
    audience = theirs / "audience.yaml"
    audience.write_text("kind: audience\nname: ny\nwhen: {state: {matches: 'New.*'}}\n")
    for words in (
        ("rollout", "list"), ("overview",), ("builds", MODEL), ("variation", "list", MODEL), ("audience", "list"),
        ("validate", "-f", str(plan)), ("diff", "-f", str(plan)), ("apply", "-f", str(plan)),
        ("predict", MODEL, "--data", '{"a": 1.2, "b": 0.5}'), ("token", "list"), ("notify", "list"),
    ):  # fmt: skip
        done = light.run(light.sluice, *words, cwd=theirs, **here)
        assert done.returncode == 0, f"{words}\n{done.stdout}{done.stderr}"
