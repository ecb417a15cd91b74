"""What a model requires, and whether an environment provides it. Reads nothing but the model's files.

The rules, chosen so that only real conflicts are refused:

- A package that is missing conflicts.
- A range such as `>=1.2,<2` must hold.
- An exact pin, which MLflow writes for every version that happened to be installed, conflicts if the major version
  differs (or the minor one if the major is 0). For the package that saved the model, such as scikit-learn or xgboost,
  the minor version must agree too, because the files contain the package's internal state.
- The Python version conflicts if its minor version differs and the model contains pickled code.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name
from packaging.version import InvalidVersion, Version
from ruamel.yaml import YAML

_FLAVOR_PACKAGES = {
    "sklearn": "scikit-learn", "xgboost": "xgboost", "lightgbm": "lightgbm", "catboost": "catboost",
    "pytorch": "torch", "tensorflow": "tensorflow", "keras": "keras", "statsmodels": "statsmodels", "spacy": "spacy",
}  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Conflict:
    """A requirement that the environment does not meet."""

    package: str
    wanted: str
    found: str

    def __str__(self) -> str:
        return f"{self.package}: the model needs {self.wanted}, installed is {self.found}"


@dataclass(frozen=True, kw_only=True)
class Requirements:
    """A model's environment, according to its files."""

    lines: tuple[str, ...]
    python: str | None
    saved_with: frozenset[str]
    """Packages whose internal state is in the model's files."""
    has_pickles: bool

    @classmethod
    def read(cls, model: Path) -> Requirements:
        """Read the requirements of the MLflow model in this folder."""
        described = YAML(typ="safe").load(model / "MLmodel")
        flavors = described.get("flavors", {})
        saved_with = {_FLAVOR_PACKAGES[flavor] for flavor in flavors if flavor in _FLAVOR_PACKAGES}
        python = flavors.get("python_function", {}).get("python_version")
        pickles = any(model.rglob("*.pkl")) or any(model.rglob("*.pickle"))
        return cls(
            lines=tuple(_lines(model)),
            python=str(python) if python else None,
            saved_with=frozenset(saved_with),
            has_pickles=pickles,
        )


def conflicts(requirements: Requirements, installed: Callable[[str], str | None], python: str) -> tuple[Conflict, ...]:
    """Every requirement that really conflicts with the installed versions and this Python."""
    conflicting = [_conflict(line, installed, requirements.saved_with) for line in requirements.lines]
    wanted = requirements.python
    if wanted and requirements.has_pickles and wanted.split(".")[:2] != python.split(".")[:2]:
        conflicting.append(Conflict(package="python", wanted=wanted, found=python))
    return tuple(conflict for conflict in conflicting if conflict is not None)


def _lines(model: Path) -> list[str]:
    requirements = model / "requirements.txt"
    lines = (
        requirements.read_text(encoding="utf-8").splitlines()
        if requirements.exists()
        else _conda_lines(model / "conda.yaml")
    )
    return [line.strip() for line in lines if line.strip() and not line.lstrip().startswith(("#", "-"))]


def _conda_lines(conda: Path) -> list[str]:
    if not conda.exists():
        return []
    dependencies: list[Any] = YAML(typ="safe").load(conda).get("dependencies", [])
    return [line for entry in dependencies if isinstance(entry, dict) for line in entry.get("pip", [])]


def _conflict(line: str, installed: Callable[[str], str | None], saved_with: frozenset[str]) -> Conflict | None:
    try:
        requirement = Requirement(line.partition(" #")[0])
    except InvalidRequirement:
        return None
    if requirement.marker is not None and not requirement.marker.evaluate():
        return None
    name = canonicalize_name(requirement.name)
    version = installed(name)
    wanted = str(requirement.specifier) or "any version"
    if version is None:
        return Conflict(package=name, wanted=wanted, found="none")
    if requirement.specifier.contains(version, prereleases=True) or _is_near(requirement, version, name in saved_with):
        return None
    return Conflict(package=name, wanted=wanted, found=version)


def _is_near(requirement: Requirement, version: str, is_saved_with: bool) -> bool:
    """Whether an exact pin differs only in a part of the version that counts as compatible."""
    pins = [specifier.version for specifier in requirement.specifier if specifier.operator in ("==", "===")]
    if len(pins) != 1 or len(requirement.specifier) != 1 or pins[0].endswith("*"):
        return False
    try:
        pinned, have = Version(pins[0]), Version(version)
    except InvalidVersion:
        return False
    depth = 2 if is_saved_with or pinned.major == 0 else 1
    return (*pinned.release, 0, 0)[:depth] == (*have.release, 0, 0)[:depth]
