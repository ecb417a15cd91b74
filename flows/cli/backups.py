"""backup, restore: everything that cannot be recreated."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from sluicegate.flows.cli.output import Format, Output, emit, remark
from sluicegate.registry.words.errors import NotFound


def backup(
    to: Annotated[Path, Parameter(help="A new or empty folder, best on another disk.")],
    *,
    output: Output = Format.TABLE,
) -> None:
    """Write ledger, telemetry, secrets, the embedded MLflow and bentos to a new folder, while everything runs.

    The ledger may be in SQLite or PostgreSQL; telemetry in PostgreSQL is left to pg_dump. The folder holds secrets, and
    only you can read it.
    """
    from sluicegate.flows.wiring.runtime import current_runtime
    from sluicegate.services.host.addresses import has_ledger
    from sluicegate.services.host.backup.taking import take_backup

    runtime = current_runtime()
    if not has_ledger(runtime.settings):
        raise NotFound(f"there is no ledger in {runtime.settings.state}.", fix="set SLUICE_STATE or SLUICE_LEDGER.")
    has_telemetry = runtime.settings.telemetry_file() is not None
    ledger = runtime.settings.ledger_url()
    manifest = take_backup(runtime.folder, ledger, to, runtime.clock(), has_telemetry=has_telemetry)
    if not has_telemetry:
        remark(
            f"not in it: the telemetry in {runtime.telemetry_place()}. Use its server's own backup, such as pg_dump."
        )
    summary = f"{len(manifest.files)} files are in {to}; the ledger's head is {manifest.head}"
    emit({"folder": str(to), "files": len(manifest.files), "head": manifest.head}, output, table=summary)


def restore(
    source: Annotated[Path, Parameter(name="FROM", help="A folder that sluice backup wrote.")],
    *,
    replace: Annotated[
        bool, Parameter(negative="", help="Restore into a folder that is not empty; its content is kept aside.")
    ] = False,
    output: Output = Format.TABLE,
) -> None:
    """Restore a backup into the state folder, and its ledger into SLUICE_LEDGER if that names a database.

    Refused if the backup is incomplete, the folder or ledger is not empty, or programs run. Then: sluice up.
    """
    from sluicegate.flows.wiring.runtime import current_runtime
    from sluicegate.registry.words.errors import SluiceError
    from sluicegate.services.host.backup.restoring import restore_backup

    runtime = current_runtime()
    try:
        running = runtime.supervisor.processes()
    except SluiceError:  # no secrets, so nothing of ours can run
        running = {}
    done = restore_backup(
        source,
        runtime.folder,
        runtime.settings.ledger_url(),
        running=tuple(running),
        replace=replace,
        now=runtime.clock(),
    )
    aside = f"; the former content is in {done.former}" if done.former else ""
    summary = f"{len(done.manifest.files)} files of {done.manifest.taken_at} are in {runtime.settings.state}{aside}"
    former = str(done.former) if done.former else None
    emit({"state": str(runtime.settings.state), "head": done.manifest.head, "former": former}, output, table=summary)
