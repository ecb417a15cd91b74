"""The whole product from a wheel, told once: for the test of the lock, and for both ends of the ranges.

python -m tests.integration.whole_wheel 3.12 lowest-direct     # or: highest
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
from ruamel.yaml import YAML

from tests import plain_http
from tests.integration.stack_rig import MODEL, Stack
from tests.integration.wheel_rig import ROOT, Venv, build, foreign_folder, foreign_imports, own_environment, uv

NAMES = {each["name"] for each in YAML(typ="safe").load((ROOT / "prefect.yaml").read_text())["deployments"]}


_RELEASES = """
import importlib.metadata as m, platform
named = "prefect mlflow bentoml fastapi starlette sqlalchemy pandas numpy scipy scikit-learn pydantic cyclopts".split()
print("Python", platform.python_version(), *(f"{name} {m.version(name)}" for name in named), sep=", ")
"""


class Installed(Stack):
    """A stack whose programs come from a virtual environment, used in a foreign folder."""

    def __init__(self, venv: Venv, state: Path, foreign: Path) -> None:
        super().__init__(state, python=venv.python, cwd=foreign)
        self.env = own_environment(venv) | {"SLUICE_STATE": str(state)}
        self.foreign = foreign

    def deployments(self) -> set[str]:
        """What the Prefect server knows."""
        return {each["name"] for each in self.prefect("POST", "/deployments/filter", {"limit": 200})}

    def watch_among_foreign(self) -> None:
        """Let a worker run one of our flows with the foreign folder as its working directory."""
        deployment = self.prefect("GET", "/deployments/name/watch/watch")["id"]
        body = {"state": {"type": "SCHEDULED"}, "job_variables": {"working_dir": str(self.foreign)}}
        run = self.prefect("POST", f"/deployments/{deployment}/create_flow_run", body)["id"]
        self.until_run(str(run), "COMPLETED")

    def predict(self) -> httpx.Response:
        """Ask the gateway as any caller does."""
        body = {"inputs": [{"a": 1.2, "b": 0.5}]}
        return plain_http.post(f"{self.urls()['gateway']}/{MODEL}/predict", json=body, timeout=20)


@contextmanager
def installed_stack(venv: Venv) -> Iterator[Installed]:
    """Up in a folder with foreign names; taken down whatever happens."""
    with tempfile.TemporaryDirectory(prefix="sluice-", dir="/tmp") as folder:
        stack = Installed(venv, Path(folder) / "state", foreign_folder(Path(folder) / "theirs"))
        try:
            stack.up()
            yield stack
        finally:
            stack.run("down", code=None)
            for process in stack.processes():
                process.kill()


def tell(stack: Installed) -> None:
    """Everything registered, a first build deployed, an answer through the gateway, a flow run, nothing foreign."""
    assert stack.ask("status")["up"]
    assert [each for each in stack.ask("doctor", code=None) if each["status"] == "fail"] == []
    assert stack.deployments() == NAMES
    stack.register()
    stack.run("deploy", MODEL, "--build", "1")
    answer = stack.predict()
    assert answer.status_code == 200, answer.text
    assert answer.headers["x-sluice-build"] == "1"
    stack.watch_among_foreign()
    assert foreign_imports(stack.foreign) == []


def main(python: str, resolution: str) -> None:
    """Install with one end of the ranges, tell the story, and print which releases told it."""
    with tempfile.TemporaryDirectory(prefix="sluice-ends-", dir="/tmp") as folder:
        venv = Venv.create(Path(folder) / "venv", python)
        wheel = build(Path(folder)).wheel
        pins = Path(folder) / "pins.txt"  # resolved from the project: beside a wheel its packages are not direct ones
        project = (str(ROOT / "pyproject.toml"), "--extra", "server", "--output-file", str(pins))
        uv("pip", "compile", "--quiet", "--python", str(venv.python), "--resolution", resolution, *project)
        venv.install("-r", str(pins), f"sluicegate[server] @ {wheel.as_uri()}")
        with installed_stack(venv) as stack:
            tell(stack)
        releases = venv.run(venv.python, "-c", _RELEASES, cwd=Path(folder)).stdout
    print(f"{resolution}: {releases}")


if __name__ == "__main__":
    main(*sys.argv[1:])
