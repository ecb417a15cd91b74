"""Restoring a backup: all of it is checked and laid beside its place before anything is replaced."""

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
    """What was done."""

    manifest: Manifest
    former: Path | None
    """Where what was there before has been moved to."""


def restore_backup(
    source: Path,
    folder: StateFolder,
    ledger_url: str,
    *,
    running: Collection[str],
    replace: bool,
    now: datetime,
) -> Restored:
    """Put a backup in place. What was there is kept aside; rows of a ledger elsewhere are deleted. Raises Refused."""
    source = source.expanduser().absolute()
    manifest = read_manifest(source)
    own = f"sqlite:///{folder.root / LEDGER}"
    folder.check()
    if running:
        raise Refused(
            f"programs still run in {folder.root}: {', '.join(sorted(running))}.", fix="sluice down, then try again."
        )
    there = _content(folder.root)
    if there and not replace:
        raise Refused(
            f"the state folder {folder.root} is not empty: it has {there[0].name}.",
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
        former = _set_aside(folder.root, there, now)
        for path in sorted(draft.iterdir()):
            path.rename(folder.root / path.name)
    return Restored(manifest=manifest, former=former)


def _content(root: Path) -> list[Path]:
    """What is in the folder; drafts and what earlier restores set aside do not count."""
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
    seen = examine_file(ledger, parse_head(manifest.head))
    if seen.faults:
        raise Refused(f"the ledger of this backup is damaged: {seen.faults[0]}.", fix="restore an earlier backup.")


def _set_aside(root: Path, there: Collection[Path], now: datetime) -> Path | None:
    if not there:
        return None
    former = root / f"{_FORMER}{now:%Y%m%dT%H%M%S}"
    former.mkdir(mode=0o700)
    for path in there:
        path.rename(former / path.name)
    return former
