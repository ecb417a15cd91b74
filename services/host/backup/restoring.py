"""Restoring a backup: checks and copies all of it into a draft beside its target before replacing anything."""

from __future__ import annotations

import os
import shutil
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from sluicegate.registry.ledger.chain import parse_head
from sluicegate.registry.ledger.copying import examine_file, load_ledger
from sluicegate.registry.words.errors import Refused
from sluicegate.services.host.backup.manifest import Manifest, copy_file, read_manifest
from sluicegate.services.host.backup.taking import LEDGER
from sluicegate.services.host.folder import StateFolder

_DRAFT = ".restoring"
_FORMER = "before-restore-"


@dataclass(frozen=True, kw_only=True)
class Restored:
    """The result of a restore."""

    manifest: Manifest
    former: Path | None
    """The folder with the former content; None if there was none."""


def restore_backup(
    source: Path,
    folder: StateFolder,
    ledger_url: str,
    *,
    running: Collection[str],
    replace: bool,
    now: datetime,
) -> Restored:
    """Restore a backup. The former content is moved aside, but rows of a ledger elsewhere are deleted. Raises
    Refused."""
    source = source.expanduser().absolute()
    manifest = read_manifest(source)
    own = f"sqlite:///{folder.root / LEDGER}"
    folder.check()
    if running:
        raise Refused(
            f"programs still run in {folder.root}: {', '.join(sorted(running))}.", fix="sluice down, then try again."
        )
    present = _content(folder.root)
    if present and not replace:
        raise Refused(
            f"the state folder {folder.root} is not empty: it has {present[0].name}.",
            fix="set SLUICE_STATE to a new folder, or use --replace, which moves the present content aside.",
        )
    with _draft(folder.root) as draft:
        for name in manifest.files:
            copy_file(source / name, draft / name)
        _refuse_damage(draft / LEDGER, manifest)
        if ledger_url != own:
            load_ledger(draft / LEDGER, ledger_url, replace=replace)
            (draft / LEDGER).unlink()
        os.sync()
        former = _set_aside(folder.root, present, now)
        for path in sorted(draft.iterdir()):
            path.rename(folder.root / path.name)
    return Restored(manifest=manifest, former=former)


def _content(root: Path) -> list[Path]:
    """The content of the folder, without drafts and folders that earlier restores set aside."""
    if not root.exists():
        return []
    return [path for path in sorted(root.iterdir()) if path.name != _DRAFT and not path.name.startswith(_FORMER)]


@contextmanager
def _draft(root: Path) -> Iterator[Path]:
    draft = root / _DRAFT
    try:
        root.mkdir(parents=True, exist_ok=True, mode=0o700)
        shutil.rmtree(draft, ignore_errors=True)
        draft.mkdir(mode=0o700)
        yield draft
    except OSError as error:
        raise Refused(f"{root} cannot be written: {error}.", fix="check its free space and its owner.") from error
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def _refuse_damage(ledger: Path, manifest: Manifest) -> None:
    examination = examine_file(ledger, parse_head(manifest.head))
    if examination.faults:
        raise Refused(
            f"the ledger of this backup is damaged: {examination.faults[0]}.", fix="restore an earlier backup."
        )


def _set_aside(root: Path, present: Collection[Path], now: datetime) -> Path | None:
    if not present:
        return None
    former = root / f"{_FORMER}{now:%Y%m%dT%H%M%S}"
    former.mkdir(mode=0o700)
    for path in present:
        path.rename(former / path.name)
    return former
