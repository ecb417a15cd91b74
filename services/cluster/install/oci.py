"""OCI layout: an image as a folder, written without a builder. The same files give the same digest."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import os
import platform
import shutil
import stat
import tarfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, TypeVar

from sluicegate.registry.words.errors import Refused
from sluicegate.services.cluster.kinds import Object

T = TypeVar("T")
_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}
_LAYER = "application/vnd.oci.image.layer.v1.tar+gzip"
_CONFIG = "application/vnd.oci.image.config.v1+json"
_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
_NEVER = "1970-01-01T00:00:00Z"
"""The times in an image: real ones would give it another digest each time."""
_PIECE = 1 << 20


@dataclass(frozen=True, kw_only=True)
class File:
    """One entry of a layer: a file of this machine, a text, a link, or, with neither, a folder."""

    path: str
    """In the image, without a leading /."""
    source: Path | None = None
    text: bytes | None = None
    link: str | None = None
    mode: int | None = None
    """None: 0755 for folders and what is executable, else 0644."""


@dataclass(frozen=True, kw_only=True)
class Blob:
    """A blob by its digest."""

    digest: str
    size: int
    diff: str = ""
    """For a layer: the digest of its tar before it was compressed."""

    def described(self, kind: str) -> Object:
        """Its entry in a manifest."""
        return {"mediaType": kind, "digest": self.digest, "size": self.size}


class Layout:
    """A folder that becomes an image. Raises Refused if it holds something else."""

    def __init__(self, folder: Path) -> None:
        if folder.exists() and any(folder.iterdir()) and not (folder / "oci-layout").exists():
            raise Refused(f"{folder} is not empty, and no image.", fix="name a new folder: --output.")
        self._folder, self._layers = folder, list[Blob]()
        self._blobs = folder / "blobs" / "sha256"
        shutil.rmtree(self._blobs, ignore_errors=True)
        self._blobs.mkdir(parents=True)

    def add_files(self, files: Sequence[File], progress: Callable[[float], None] = lambda _: None) -> None:
        """Add a layer of these files and their folders, in the order of their paths. `progress` gets the share that is
        done."""
        with self._new_layer() as layer:
            _write_tar(layer, files, progress)
        self._layers.append(layer.blob(self._blobs))

    def add_tar(self, path: Path) -> None:
        """Add this root file system as a layer. Raises Refused if it is not a tar."""
        if not tarfile.is_tarfile(path):
            raise Refused(f"{path} is no tar archive.", fix="name a root file system's tar, compressed or not: --base.")
        with self._new_layer() as layer, _plain(path) as plain:
            shutil.copyfileobj(plain, layer, _PIECE)
        self._layers.append(layer.blob(self._blobs))

    def close(self, config: Mapping[str, Any], *, name: str) -> str:
        """Write the image's config, manifest and index, and return its digest."""
        image_config = {
            "architecture": _ARCHITECTURES.get(platform.machine(), platform.machine()),
            "os": "linux",
            "created": _NEVER,
            "config": config,
            "rootfs": {"type": "layers", "diff_ids": [each.diff for each in self._layers]},
            "history": [{"created": _NEVER, "created_by": "sluice cluster image"} for _ in self._layers],
        }
        manifest = {
            "schemaVersion": 2,
            "mediaType": _MANIFEST,
            "config": self._json(image_config).described(_CONFIG),
            "layers": [each.described(_LAYER) for each in self._layers],
        }
        image = self._json(manifest)
        tag = name.rpartition(":")[2] if ":" in name.rpartition("/")[2] else "latest"
        annotations = {"org.opencontainers.image.ref.name": tag, "io.containerd.image.name": name}
        index = {"schemaVersion": 2, "manifests": [{**image.described(_MANIFEST), "annotations": annotations}]}
        (self._folder / "index.json").write_bytes(_bytes(index))
        (self._folder / "oci-layout").write_bytes(_bytes({"imageLayoutVersion": "1.0.0"}))
        return image.digest

    def _json(self, value: Object) -> Blob:
        content = _bytes(value)
        digest = hashlib.sha256(content).hexdigest()
        (self._blobs / digest).write_bytes(content)
        return Blob(digest=f"sha256:{digest}", size=len(content))

    def _new_layer(self) -> _Layer:
        return _Layer(self._blobs / "draft")


class _Layer(io.RawIOBase):
    """Compresses what is written, and hashes it before and after."""

    def __init__(self, draft: Path) -> None:
        self._draft, self._file = draft, draft.open("wb")
        self._packed = gzip.GzipFile(filename="", mode="wb", compresslevel=6, fileobj=self._file, mtime=0)
        self._plain = hashlib.sha256()

    def writable(self) -> bool:
        return True

    def write(self, piece: Any) -> int:
        self._plain.update(piece)
        return self._packed.write(piece)

    def close(self) -> None:
        if not self.closed:
            self._packed.close()
            self._file.close()
        super().close()

    def blob(self, folder: Path) -> Blob:
        """Move the closed layer among the blobs."""
        with self._draft.open("rb") as draft:
            digest = hashlib.file_digest(draft, "sha256").hexdigest()
        size = self._draft.stat().st_size
        self._draft.replace(folder / digest)
        return Blob(digest=f"sha256:{digest}", size=size, diff=f"sha256:{self._plain.hexdigest()}")


def watched(items: Sequence[T], progress: Callable[[float], None]) -> Iterator[T]:
    """The items, one after the other; `progress` gets the share that was taken."""
    for number, each in enumerate(items):
        progress(number / len(items))
        yield each


def _write_tar(into: IO[bytes] | io.RawIOBase, files: Sequence[File], progress: Callable[[float], None]) -> None:
    there = {each.path: each for each in files}
    for path in list(there):
        for parent in Path(path).parents:
            if str(parent) != ".":
                there.setdefault(str(parent), File(path=str(parent)))
    with tarfile.open(fileobj=into, mode="w|", format=tarfile.PAX_FORMAT) as tar:
        for path in watched(sorted(there), progress):
            _add(tar, there[path])


def _add(tar: tarfile.TarFile, file: File) -> None:
    entry = tarfile.TarInfo(file.path)
    entry.mode = file.mode if file.mode is not None else 0o644
    if file.link is not None:
        entry.type, entry.linkname, entry.mode = tarfile.SYMTYPE, file.link, 0o777
        tar.addfile(entry)
    elif file.text is not None:
        entry.size = len(file.text)
        tar.addfile(entry, io.BytesIO(file.text))
    elif file.source is not None:
        with file.source.open("rb") as source:
            state = os.fstat(source.fileno())
            entry.size = state.st_size
            if file.mode is None and state.st_mode & stat.S_IXUSR:
                entry.mode = 0o755
            tar.addfile(entry, source)
    else:
        entry.type, entry.mode = tarfile.DIRTYPE, file.mode if file.mode is not None else 0o755
        tar.addfile(entry)


def _plain(path: Path) -> IO[bytes]:
    """A tar without its compression."""
    import bz2
    import lzma

    for opening in (gzip.open, bz2.open, lzma.open):
        packed = opening(path, "rb")
        try:
            packed.read(1)
        except (OSError, lzma.LZMAError, EOFError):
            packed.close()
        else:
            packed.seek(0)
            return packed  # type: ignore[return-value]
    return path.open("rb")


def _bytes(value: Object) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()
