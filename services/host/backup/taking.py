"""Taking a backup while everything runs. Databases are copied by SQLite's own backup; derived data is left out."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from importlib.metadata import version
from pathlib import Path

from sluicegate.registry.ledger.copying import copy_database, save_ledger
from sluicegate.registry.words.errors import Refused
from sluicegate.services.host.backup.manifest import Manifest, copy_file, digests, files
from sluicegate.services.host.folder import StateFolder

LEDGER = "ledger.db"
_TELEMETRY = "telemetry.db"
_DATABASES = (_TELEMETRY, "mlflow/mlflow.db", "mlflow/auth.db")
_TREES = (
    "mlflow/artifacts",
    "mlflow/mlartifacts",
    "bento/store/bentos",
    "bento/store/models",
    "bento/store/packed",
    "bento/envs",
    "secrets",
)
_FILES = ("run/ports.json",)


def take_backup(
    folder: StateFolder, ledger_url: str, to: Path, now: datetime, *, has_telemetry: bool = True
) -> Manifest:  # fmt: skip
    """Write everything that cannot be recreated to a new folder. Raises Refused, and then leaves nothing behind.

    The ledger is copied first, so that everything it names, such as builds and bentos, exists when the rest is copied.
    Telemetry is left out if it is in a database server, which has its own backups.
    """
    to = to.expanduser().absolute()
    _refuse_place(folder, to)
    with _draft(to) as draft:
        examination = save_ledger(ledger_url, draft / LEDGER)
        if examination.faults:
            raise Refused(
                f"the ledger was changed after it was written: {examination.faults[0]}.",
                fix="run sluice verify for details, and restore an earlier backup; a backup taken now would "
                "contain the damage.",
            )
        for name in _DATABASES:
            if (folder.root / name).exists() and (has_telemetry or name != _TELEMETRY):
                (draft / name).parent.mkdir(exist_ok=True, mode=0o700)
                copy_database(folder.root / name, draft / name)
        for path in _others(folder.root):
            with contextlib.suppress(FileNotFoundError):  # deleted meanwhile, so no longer needed
                copy_file(path, draft / path.relative_to(folder.root))
        manifest = Manifest(
            version=version("sluicegate"),
            taken_at=now.isoformat(timespec="seconds"),
            head=str(examination.head),
            files=digests(draft),
        )
        manifest.write(draft)
        for path in draft.rglob("*.db"):
            path.chmod(0o600)
    return manifest


def _others(root: Path) -> Iterator[Path]:
    for name in _TREES:
        yield from files(root / name)
    yield from (root / name for name in _FILES if (root / name).exists())


def _refuse_place(folder: StateFolder, to: Path) -> None:
    if to.is_relative_to(folder.root):
        raise Refused(f"{to} is inside the state folder.", fix="choose a place on another disk.")
    if to.exists() and (not to.is_dir() or any(to.iterdir())):
        raise Refused(f"{to} exists already and is not an empty folder.", fix="name a folder that does not exist yet.")


@contextmanager
def _draft(to: Path) -> Iterator[Path]:
    """A draft folder beside the target, which is renamed to it once everything is on the disk."""
    draft = to.with_name(f".{to.name}.{os.getpid()}")
    try:
        draft.mkdir(parents=True, mode=0o700)
        yield draft
        os.sync()
        draft.rename(to)
    except OSError as error:
        shutil.rmtree(draft, ignore_errors=True)
        raise Refused(
            f"the backup cannot be written to {to}: {error}.", fix="check its free space and its owner."
        ) from error
    except BaseException:
        shutil.rmtree(draft, ignore_errors=True)
        raise
