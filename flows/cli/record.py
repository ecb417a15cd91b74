"""verify: the record itself, on the ledger and nothing else."""

from __future__ import annotations

from typing import Annotated

from cyclopts import Parameter

from sluicegate.flows.cli.output import Format, Output, emit
from sluicegate.registry.words.errors import NotFound
from sluicegate.registry.words.settings import Settings

SHOWN = 20


def verify(
    *,
    head: Annotated[
        str | None,
        Parameter(
            name="--head",
            help="PLACE:HASH that an earlier verify printed, kept where the ledger's writers cannot write.",
        ),
    ] = None,
    output: Output = Format.TABLE,
) -> int:
    """Check that no fact, look or document in the ledger was changed, removed, added or reordered.

    Exit code 1 where one was. Prints the head: kept elsewhere and given as --head, it also shows later whether the
    ledger was cut off, or written again as a whole. It can be asked while everything runs.
    """
    from sluicegate.flows.wiring.runtime import current_runtime
    from sluicegate.registry.ledger.chain import parse_head
    from sluicegate.services.host.addresses import has_ledger

    kept = parse_head(head) if head is not None else None
    settings = Settings.read()
    if not has_ledger(settings):
        raise NotFound(f"there is no ledger in {settings.state}.", fix="set SLUICE_STATE or SLUICE_LEDGER to it.")
    seen = current_runtime().ledger.verify(kept)
    summary = f"{seen.head.place} facts, looks and documents; head {seen.head}"
    if not seen.faults:
        told = f"the record is as it was written: {summary}"
    else:
        more = len(seen.faults) - SHOWN
        lines = [*seen.faults[:SHOWN], *([f"and {more} more: -o json shows all"] if more > 0 else [])]
        told = "\n".join([*lines, f"the record is not as it was written: {summary}"])
    emit({"intact": not seen.faults, "head": str(seen.head), "faults": list(seen.faults)}, output, table=told)
    return 1 if seen.faults else 0
