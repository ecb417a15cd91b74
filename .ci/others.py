"""Run the quick tests on every other Python that Sluicegate is for and that this machine has; name those it has not.

python .ci/others.py [--workers 2]
"""

# ruff: noqa: INP001

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
from pathlib import Path

OTHERS = ("3.12", "3.13")
TESTS = ("tests/unit", "tests/contract", "tests/acceptance")
"""Statistics are numbers that no interpreter changes; they run on 3.11."""
HOME = Path(".others")
LOCK = Path("requirements.lock")


def interpreter(version: str) -> str | None:
    """Where a Python of this version is: on PATH, or below pyenv. A shim of pyenv without one behind it is none."""
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    on_path = shutil.which(f"python{version}")
    below = [str(path) for path in sorted(pyenv.glob(f"{version}.*/bin/python{version}"), reverse=True)]
    return next((each for each in (*([on_path] if on_path else []), *below) if _runs(each)), None)


def _runs(python: str) -> bool:
    return subprocess.run((python, "-c", "import venv"), capture_output=True, check=False).returncode == 0


def environment(version: str, python: str) -> Path:
    """The interpreter of a virtual environment with what the lock names, and the project."""
    folder = HOME / version
    own = folder / "bin" / "python"
    done = folder / ".installed"
    if not done.exists() or done.stat().st_mtime < LOCK.stat().st_mtime:
        shutil.rmtree(folder, ignore_errors=True)
        _uv("venv", "--quiet", "--python", python, str(folder))
        _uv("pip", "install", "--quiet", "--python", str(own), "--no-deps", "--require-hashes", "-r", str(LOCK))
        _uv("pip", "install", "--quiet", "--python", str(own), "--no-deps", "-e", ".")
        done.touch()
    return own


def _uv(*words: str) -> None:
    subprocess.run((sys.executable, "-m", "uv", *words), check=True)


def main() -> int:
    """Zero when the tests pass on every interpreter that is there."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--workers", default="2")
    parser.add_argument("--where", help="print where this version is, and do nothing else")
    words = parser.parse_args()
    if words.where:
        print(interpreter(words.where))
        return 0
    return _quick(words.workers)


def _quick(workers: str) -> int:
    failed = []
    for version in OTHERS:
        python = interpreter(version)
        if python is None:
            print(f"Python {version} is not on this machine: its quick tests are not run", flush=True)
            continue
        print(f"Python {version} ({python}): the quick tests", flush=True)
        pytest = (str(environment(version, python)), "-m", "pytest", "-q", "-n", workers, "-p", "no:cacheprovider")
        if subprocess.run((*pytest, "-m", "not slow", *TESTS), check=False).returncode:
            failed.append(version)
    print(f"failed on Python {', '.join(failed)}" if failed else "no other Python failed", flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    raise SystemExit(main())
