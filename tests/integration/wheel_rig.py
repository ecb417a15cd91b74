"""A wheel of this checkout, installed in virtual environments of its own, used in a folder that has foreign names."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from tests.clean_environment import clean_environment

ROOT = Path(__file__).parents[2]
ROOMS = ("flows", "services", "registry", "examples")
_PARTS = (*ROOMS, "sluicegate", "pyproject.toml", "prefect.yaml", "README.md", "LICENSE")
_FOREIGN = """\
import pathlib
pathlib.Path(__file__).with_suffix(".imported").touch()
raise RuntimeError("this module is somebody else's")
"""


@dataclass(frozen=True)
class Built:
    """What a build made of the checkout."""

    wheel: Path
    sdist: Path


@dataclass(frozen=True)
class Venv:
    """A virtual environment."""

    folder: Path

    @property
    def python(self) -> Path:
        return self.folder / "bin" / "python"

    @property
    def sluice(self) -> Path:
        return self.folder / "bin" / "sluice"

    @classmethod
    def create(cls, folder: Path, python: str = sys.executable) -> Venv:
        uv("venv", "--quiet", "--python", python, str(folder))
        return cls(folder)

    def install(self, *words: str) -> None:
        uv("pip", "install", "--quiet", "--python", str(self.python), *words)

    def run(
        self, program: Path, *words: str, cwd: Path, seconds: float = 400, **environment: str
    ) -> subprocess.CompletedProcess[str]:
        """Run one of its programs as a user does who has nothing else of ours."""
        return subprocess.run(
            [str(program), *words], cwd=cwd, env=own_environment(self) | environment,
            capture_output=True, text=True, timeout=seconds, check=False,
        )  # fmt: skip


def own_environment(venv: Venv) -> dict[str, str]:
    """The shell's environment with this virtual environment active, and nothing that names servers or modules."""
    leaks = ("PYTHON", "VIRTUAL_ENV")
    clean = {name: value for name, value in clean_environment().items() if not name.startswith(leaks)}
    return clean | {"PATH": f"{venv.folder / 'bin'}:{os.environ['PATH']}", "DO_NOT_TRACK": "true"}


def build(into: Path) -> Built:
    """Build wheel and sdist from a copy: setuptools leaves a `build` folder, which a second build would take over."""
    copy = into / "checkout"
    copy.mkdir()
    for name in _PARTS:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, copy / name, symlinks=True, ignore=shutil.ignore_patterns("__pycache__"))
        elif source.exists():
            shutil.copy(source, copy / name)
    uv("build", "--quiet", "--wheel", "--out-dir", str(into / "wheel"), str(copy))
    shutil.rmtree(copy / "build", ignore_errors=True)
    uv("build", "--quiet", "--sdist", "--out-dir", str(into / "sdist"), str(copy))
    return Built(wheel=next((into / "wheel").glob("*.whl")), sdist=next((into / "sdist").glob("*.tar.gz")))


def wheel_of_sdist(sdist: Path, into: Path) -> Path:
    """The wheel that an installer makes of the sdist."""
    uv("build", "--quiet", "--wheel", "--out-dir", str(into), str(sdist))
    return next(into.glob("*.whl"))


def foreign_folder(folder: Path) -> Path:
    """A project of somebody else, with packages of the names that our rooms have; to import one leaves a mark."""
    for room in ROOMS:
        package = folder / room
        package.mkdir(parents=True)
        for name in ("__init__.py", "driver.py", "words.py"):
            (package / name).write_text(_FOREIGN)
    (folder / "prefect.yaml").write_text("this: is somebody else's\ndeployments: [{name: theirs}]\n")
    return folder


def foreign_imports(folder: Path) -> list[str]:
    """Which foreign modules were imported."""
    return sorted(str(mark.relative_to(folder)) for mark in folder.rglob("*.imported"))


def uv(*words: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "uv", *words], capture_output=True, text=True, timeout=900, check=False,
        env={name: value for name, value in os.environ.items() if name != "VIRTUAL_ENV"},
    )  # fmt: skip
    assert done.returncode == 0, f"uv {' '.join(words)}\n{done.stderr}"
