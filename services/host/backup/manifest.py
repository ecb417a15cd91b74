"""The manifest of a backup: a digest of each file, by which an incomplete backup is recognised."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import stat
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from sluicegate.registry.words.errors import Refused

NAME = "manifest.json"
_FORM = 1
_CHUNK = 1 << 20


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """The contents of a backup."""

    form: int = _FORM
    version: str
    """The version of sluicegate that took it."""
    taken_at: str
    head: str
    """The head of the ledger's chain."""
    files: Mapping[str, str]
    """The digest of each file by its path; `-> TARGET` for a link."""

    def write(self, folder: Path) -> None:
        (folder / NAME).write_text(json.dumps(asdict(self), indent=1) + "\n")


def read_manifest(folder: Path) -> Manifest:
    """The manifest of a backup, after checking that all its files exist unchanged. Raises Refused."""
    try:
        manifest = Manifest(**json.loads((folder / NAME).read_text()))
    except (OSError, ValueError, TypeError) as error:
        raise Refused(
            f"{folder} is not a complete backup: {NAME} cannot be read: {error}.",
            fix="name the folder that sluice backup wrote; one that was interrupted has no manifest.",
        ) from error
    if manifest.form != _FORM:
        raise Refused(
            f"the backup {folder} has format {manifest.form}; this sluice reads format {_FORM}.",
            fix="upgrade sluice to read it.",
        )
    wrong = _differences(manifest.files, digests(folder))
    if wrong:
        shown = "; ".join(wrong[:5]) + (f"; and {len(wrong) - 5} more" if len(wrong) > 5 else "")
        raise Refused(f"{folder} is not a complete backup: {shown}.", fix="copy it again from the original.")
    return manifest


def digests(folder: Path) -> dict[str, str]:
    """The digest of each file below a folder, except the manifest."""
    return {
        str(path.relative_to(folder)): f"-> {path.readlink()}" if path.is_symlink() else file_digest(path)
        for path in files(folder)
        if path != folder / NAME
    }


def files(folder: Path) -> Iterator[Path]:
    """Every file and link below a folder, in alphabetical order, without sockets and the like."""
    for root, folders, names in os.walk(folder):
        folders.sort()
        links = [name for name in folders if (Path(root) / name).is_symlink()]
        for name in sorted((*names, *links)):
            path = Path(root) / name
            if path.is_symlink() or path.is_file():
                yield path


def copy_file(source: Path, target: Path) -> None:
    """Copy a file or a link, readable by its owner only; an executable stays one."""
    target.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    if source.is_symlink():
        target.symlink_to(source.readlink())
        return
    shutil.copyfile(source, target)
    runs = source.stat().st_mode & stat.S_IXUSR
    target.chmod(0o700 if runs else 0o600)


def file_digest(path: Path) -> str:
    """The SHA-256 of a file's content."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def _differences(listed: Mapping[str, str], present: Mapping[str, str]) -> list[str]:
    missing = [f"{name} is missing" for name in listed if name not in present]
    changed = [f"{name} was changed" for name, digest in listed.items() if present.get(name, digest) != digest]
    return [*missing, *changed, *(f"{name} is not part of it" for name in present if name not in listed)]
