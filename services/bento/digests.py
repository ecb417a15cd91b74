"""Digests of folders: what was packed is what is served.

The same model packed again has the same digests: BentoML's note of the hour, in two files, does not count. So a bento
that was damaged or lost is mended by packing it again, and what the ledger says about it stays true.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

_CHUNK = 1 << 20
_DATED = ("bento.yaml", "model.yaml")


def tree_digest(*roots: Path) -> str:
    """SHA-256 over the names and contents of all files under the roots, in order; compiled Python is left out."""
    total = hashlib.sha256()
    for root in roots:
        for path in _files(root):
            name = path.relative_to(root).as_posix() if path != root else path.name
            total.update(f"{len(name)}:{name}{_file_digest(path)}".encode())
    return total.hexdigest()


def _files(root: Path) -> Iterator[Path]:
    if root.is_file():
        yield root
        return
    yield from sorted(path for path in root.rglob("*") if path.is_file() and "__pycache__" not in path.parts)


def _file_digest(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        if path.name in _DATED:
            digest.update(b"".join(line for line in file if b"creation_time:" not in line))
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()
