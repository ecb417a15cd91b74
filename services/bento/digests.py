"""Digests of folders: show that what is served is what was packed.

The same model packed again has the same digests, because BentoML's creation time in two files is ignored. So packing
again repairs a damaged or lost bento, and what the ledger says about it stays true.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

_CHUNK = 1 << 20
_DATED = ("bento.yaml", "model.yaml")


def tree_digest(*roots: Path) -> str:
    """SHA-256 over the names and contents of all files under the roots, in order. Ignores compiled Python."""
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
