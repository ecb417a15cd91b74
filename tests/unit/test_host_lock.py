"""requirements.lock holds what pyproject.toml asks for, with hashes and without naming any place."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[2]
LOCK = (ROOT / "requirements.lock").read_text()


def blocks() -> list[str]:
    return re.split(r"\n(?=[a-z0-9])", LOCK.strip())


def pinned() -> dict[str, str]:
    found = (Requirement(block.split("\\")[0]) for block in blocks())
    return {canonicalize_name(each.name): next(iter(each.specifier)).version for each in found}


def test_no_place_and_no_option_is_named() -> None:
    assert re.findall(r"^.*(?:://|file:|/root|/work).*$|^\s*(?:-i|-f|--(?!hash=)|#).*$", LOCK, re.MULTILINE) == []


def test_every_pin_is_exact_and_has_a_hash() -> None:
    assert len(blocks()) > 150
    for block in blocks():
        assert re.match(r"[a-z0-9._-]+(\[[a-z0-9, _-]+\])?==[^\s]+", block), block
        assert "--hash=sha256:" in block, block


def test_what_the_project_asks_for_is_pinned_within_its_range() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    asked = [*project["dependencies"], *(each for extra in project["optional-dependencies"].values() for each in extra)]
    pins = pinned()
    wrong = [
        each
        for each in map(Requirement, asked)
        if each.name != project["name"] and pins.get(canonicalize_name(each.name), "") not in each.specifier
    ]
    assert wrong == []


def test_what_is_pinned_with_extras_is_pinned_without_them_too() -> None:
    names = [block.split("==")[0] for block in blocks()]
    assert [name for name in names if "[" in name and name.split("[")[0] not in names] == []
