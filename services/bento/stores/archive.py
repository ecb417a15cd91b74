"""Writes a bento with its model as one archive, and reads it back."""

from __future__ import annotations

import tarfile
from collections.abc import Iterator
from pathlib import Path

from sluicegate.registry.words.errors import PackFailed
from sluicegate.services.bento.store import BentoStore
from sluicegate.services.bento.stores.objects import PIECE, Reading


def write_archive(store: BentoStore, tag: str, into: Path) -> None:
    """Write a file with everything that a bento's digests cover, without compiled Python."""
    with tarfile.open(into, "w") as archive:
        for root in (store.bento(tag), store.model(tag).parent):
            archive.add(root, arcname=root.relative_to(store.home).as_posix(), filter=_without_compiled)


def read_archive(pieces: Iterator[bytes], into: Path, tag: str) -> None:
    """Unpack an archive into a folder as it arrives. Raises PackFailed if it is incomplete or leaves the folder."""
    try:
        with tarfile.open(fileobj=Reading(pieces), mode="r|", bufsize=PIECE) as archive:  # type: ignore[call-overload]
            archive.extractall(into, filter="data")
    except (tarfile.TarError, EOFError) as error:
        raise PackFailed(f"the archive of {tag} is incomplete or damaged: {error}.") from error


def _without_compiled(info: tarfile.TarInfo) -> tarfile.TarInfo | None:
    if "__pycache__" in Path(info.name).parts:
        return None
    info.uid = info.gid = 0
    info.uname = info.gname = ""
    return info
