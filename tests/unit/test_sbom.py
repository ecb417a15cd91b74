"""The bill of materials names everything that the lock installs, with every hash, and is the same for the same lock."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def write_bill(target: Path) -> dict:
    """By the command of `make sbom`, without the check against CycloneDX's schema, which takes seconds."""
    line = re.search(r"cyclonedx-py (.*)", (ROOT / "Makefile").read_text(encoding="utf-8"))
    assert line is not None
    words = [str(target) if word.startswith("build/") else word for word in shlex.split(line.group(1))]
    command = [sys.executable, "-m", "cyclonedx_py", *(word for word in words if word != "--validate"), "--no-validate"]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    return json.loads(target.read_bytes())


@pytest.fixture(scope="module")
def bill(tmp_path_factory: pytest.TempPathFactory) -> dict:
    return write_bill(tmp_path_factory.mktemp("bill") / "sbom.cdx.json")


def locked() -> dict[tuple[str, str], set[str]]:
    """Name and version of each package in the lock, with its hashes."""
    packages: dict[tuple[str, str], set[str]] = {}
    for block in re.split(r"\n(?=\S)", (ROOT / "requirements.lock").read_text(encoding="utf-8")):
        name, version = re.match(r"([\w.-]+)(?:\[.*?\])?==(\S+)", block).groups()  # type: ignore[union-attr]
        packages.setdefault((name, version), set()).update(re.findall(r"--hash=sha256:(\w+)", block))
    return packages


def listed(bill: dict) -> dict[tuple[str, str], set[str]]:
    packages: dict[tuple[str, str], set[str]] = {}
    for component in bill["components"]:
        hashes = {it["content"] for reference in component["externalReferences"] for it in reference["hashes"]}
        packages.setdefault((component["name"], component["version"]), set()).update(hashes)
    return packages


def test_everything_that_the_lock_installs_is_listed_with_every_hash(bill: dict) -> None:
    assert len(locked()) > 200
    assert all(locked().values())
    assert listed(bill) == locked()


def test_it_is_about_this_package_in_cyclonedx(bill: dict) -> None:
    assert bill["bomFormat"] == "CycloneDX"
    about = bill["metadata"]["component"]
    assert (about["name"], about["licenses"][0]["license"]["id"]) == ("sluicegate", "Apache-2.0")


def test_it_holds_no_time_and_no_chance(bill: dict) -> None:
    assert "serialNumber" not in bill
    assert "timestamp" not in bill["metadata"]
