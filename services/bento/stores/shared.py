"""The shared store: keeps bentos by digest, so that other machines than the one that packed them can serve them."""

from __future__ import annotations

import errno
import hashlib
import json
import secrets
import shutil
import tempfile
from collections.abc import Callable, Collection
from datetime import datetime, timedelta
from functools import cached_property
from pathlib import Path

from sluicegate.registry.rollout.facts import Packed
from sluicegate.registry.words.errors import NotFound, PackFailed, ServiceFailed, StoreUnavailable
from sluicegate.services.bento.readiness import example_in
from sluicegate.services.bento.store import BentoStore
from sluicegate.services.bento.stores.archive import read_archive, write_archive
from sluicegate.services.bento.stores.objects import Objects
from sluicegate.services.locking import locked

_BENTOS, _EXAMPLES, _KEPT = "bentos", "examples", "kept"
_FULL = (errno.ENOSPC, errno.EDQUOT)
_ABANDONED = timedelta(days=1)
"""Age from which an unfinished upload counts as killed."""


class SharedStore:
    """Bentos as archives, `bentos/NAME/VERSION.DIGEST.tar`, with notes by owner, `kept/OWNER/NAME/VERSION.DIGEST.json`.

    Also the input examples of models, `examples/NAME/VERSION.DIGEST.json`, with which other machines probe services.

    An archive is written before its note, so a note shows that the archive is complete. Several ledgers may use one
    store: an archive is deleted when no owner is left.
    """

    def __init__(self, objects: Objects, *, home: Path, owner: Callable[[], str]) -> None:
        """`home`: the packer's folder. `owner` returns the name under which this ledger keeps bentos."""
        self._objects = objects
        self._drafts, self._locks = home / "drafts", home / "locks"
        self._ask_owner = owner

    @property
    def where(self) -> str:
        """The store's address for people."""
        return self._objects.where

    @cached_property
    def _owner(self) -> str:
        return self._ask_owner()

    def put(self, packed: Packed, store: BentoStore, now: datetime) -> None:
        """Upload the bento unless it is there, and note that it is wanted now. Raises StoreUnavailable."""
        archive, note = _archive(packed), self._note(packed)
        if self._objects.size(note) is None or self._objects.size(archive) is None:
            self._upload(archive, lambda draft: write_archive(store, packed.bento, draft))
            if (example := example_in(store.model(packed.bento))) is not None:
                self._upload(_example(packed), lambda draft: draft.write_bytes(example))
        self._upload(note, lambda draft: draft.write_text(json.dumps({"at": now.isoformat(), "bento": packed.bento})))

    def get(self, packed: Packed, store: BentoStore) -> None:
        """Download the bento to this machine, unless a complete one is there.

        Raises NotFound, StoreUnavailable, PackFailed if it is not what was packed, and ServiceFailed if this machine
        has no room for it. A failure leaves nothing behind.
        """
        with locked(self._locks, packed.bento):
            if is_whole(packed, store):
                return
            try:
                with _draft_folder(self._drafts) as folder:
                    self._unpack(packed, Path(folder))
                    store.adopt(packed, BentoStore(Path(folder)))
            except OSError as error:
                raise _no_room(packed, store, error) from error

    def example(self, packed: Packed) -> bytes | None:
        """The model's own input example, without the rest of the bento; None if it has none."""
        name = _example(packed)
        if self._objects.size(name) is None:
            return None
        with self._objects.read(name) as pieces:
            return b"".join(pieces)

    def clean(self, keep: Collection[str], now: datetime, *, unused_days: float = 14.0) -> tuple[str, ...]:
        """Delete this owner's bentos that are not in `keep` and unused for `unused_days`. Returns their tags.

        The rule is the same as for a machine's own folder, so that no store grows for ever.
        """
        oldest = now - timedelta(days=unused_days)
        gone = [note for note in self._objects.names(f"{_KEPT}/{self._owner}") if self._is_over(note, keep, oldest)]
        for note in gone:
            self._objects.remove(note)
            name = note.removeprefix(f"{_KEPT}/{self._owner}/").removesuffix(".json")
            if not any(other.endswith(f"/{name}.json") for other in self._objects.names(_KEPT)):
                self._objects.remove(f"{_BENTOS}/{name}.tar")
                self._objects.remove(f"{_EXAMPLES}/{name}.json")
        self._objects.sweep(now - _ABANDONED)
        return tuple(_tag(note, self._owner) for note in gone)

    def check(self) -> None:
        """Write, read and delete a small file. Raises StoreUnavailable if one of these fails."""
        name, content = f"checks/{secrets.token_hex(8)}", secrets.token_hex(8)
        self._upload(name, lambda draft: draft.write_text(content))
        try:
            with self._objects.read(name) as pieces:
                read = b"".join(pieces).decode(errors="replace")
        except NotFound:
            read = ""
        self._objects.remove(name)
        if read != content:
            raise StoreUnavailable(
                f"the bento store {self.where} does not return what was just written to it.",
                fix="check whether a cache or another mount is in between; if it stays so, change SLUICE_STORE.",
            )

    def _unpack(self, packed: Packed, folder: Path) -> None:
        name = _archive(packed)
        size = self._objects.size(name)
        if size is None:
            raise NotFound(
                f"bento {packed.bento} is not in the store {self.where}.",
                fix="pack it again with this SLUICE_STORE, by a rollout of the same version: sluice rollout start.",
            )
        if shutil.disk_usage(folder).free < size:
            raise OSError(errno.ENOSPC, "No space left on device")
        try:
            with self._objects.read(name) as pieces:
                read_archive(pieces, folder, packed.bento)
            draft = BentoStore(folder)
            draft.verify(packed.bento, bento_digest=packed.bento_digest, model_digest=packed.model_digest)
        except PackFailed as error:
            raise PackFailed(
                f"{name} in {self.where} differs from what was packed, so it is not used: {error.message}",
                fix=f"delete it there, and pack the version again by a rollout: sluice rollout start {_model(packed)}.",
            ) from error

    def _is_over(self, note: str, keep: Collection[str], oldest: datetime) -> bool:
        if _tag(note, self._owner) in keep:
            return False
        try:
            with self._objects.read(note) as pieces:
                at = datetime.fromisoformat(str(json.loads(b"".join(pieces))["at"]))
        except NotFound:
            return False
        except (ValueError, TypeError, KeyError):
            return True
        return at < oldest

    def _upload(self, name: str, write: Callable[[Path], object]) -> None:
        try:
            with _draft_folder(self._drafts) as folder:
                draft = Path(folder) / "file"
                write(draft)
                self._objects.upload(name, draft)
        except OSError as error:
            raise StoreUnavailable(
                f"{name} cannot be written for the bento store: {error.strerror or error}.",
                fix=f"free space on the disk of {self._drafts}.",
            ) from error

    def _note(self, packed: Packed) -> str:
        return f"{_KEPT}/{self._owner}/{_name(packed)}.json"


def is_whole(packed: Packed, store: BentoStore) -> bool:
    """Whether the folder holds exactly this bento, to the last byte."""
    recorded = store.recorded(packed.bento)
    if recorded is None:
        return False
    try:
        store.verify(packed.bento, bento_digest=packed.bento_digest, model_digest=packed.model_digest)
    except PackFailed:
        return False
    return True


def _archive(packed: Packed) -> str:
    return f"{_BENTOS}/{_name(packed)}.tar"


def _example(packed: Packed) -> str:
    return f"{_EXAMPLES}/{_name(packed)}.json"


def _name(packed: Packed) -> str:
    digest = hashlib.sha256(f"{packed.bento_digest} {packed.model_digest}".encode()).hexdigest()
    return f"{packed.bento.replace(':', '/')}.{digest}"


def _tag(note: str, owner: str) -> str:
    return note.removeprefix(f"{_KEPT}/{owner}/").removesuffix(".json").rpartition(".")[0].replace("/", ":")


def _model(packed: Packed) -> str:
    return packed.bento.partition(":")[0]


def _draft_folder(drafts: Path) -> tempfile.TemporaryDirectory[str]:
    drafts.mkdir(parents=True, exist_ok=True)
    return tempfile.TemporaryDirectory(dir=drafts)


def _no_room(packed: Packed, store: BentoStore, error: OSError) -> ServiceFailed:
    what = "the disk is full" if error.errno in _FULL else str(error.strerror or error)
    return ServiceFailed(
        f"bento {packed.bento} cannot be unpacked in {store.home}: {what}.",
        fix="free space on that disk; sluice tries again by itself.",
    )
