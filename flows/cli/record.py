"""verify, restored: the integrity of the ledger. These commands need nothing but the ledger."""

from __future__ import annotations

from typing import Annotated

from cyclopts import Parameter

from sluicegate.flows.cli.output import Format, Output, emit
from sluicegate.registry.words.errors import NotFound, UsageError
from sluicegate.registry.words.settings import Settings

SHOWN = 20


def say_restored(
    *,
    reason: Annotated[str, Parameter(help="Which backup or replica it is, and why; it is recorded.")],
    output: Output = Format.TABLE,
) -> None:
    """Say that the ledger was restored from a backup, or lost its last facts when its database failed over.

    Gateways refuse a route table that comes from an older state of the ledger than theirs, so after such a restore they
    keep the table that they have. First check with `sluice overview` what the restored ledger asks for: an abort that
    the ledger has lost is no longer in force afterwards.
    """
    from sluicegate.flows.cli.reach import actor
    from sluicegate.flows.wiring.runtime import current_runtime
    from sluicegate.registry.ledger.restoration import say_restored as say
    from sluicegate.services.host.addresses import has_ledger

    if not reason.strip():
        raise UsageError("the reason is empty.", fix='write --reason "…".')
    runtime = current_runtime()
    if not has_ledger(runtime.settings):
        raise NotFound(f"there is no ledger in {runtime.settings.state}.", fix="set SLUICE_STATE or SLUICE_LEDGER.")
    mark = say(runtime.ledger, actor=actor(), reason=reason, at=runtime.clock())
    summary = "recorded: from the keeper's next pass on, gateways accept the route tables of this ledger"
    emit({"restored": mark, "reason": reason}, output, table=summary)


def verify(
    *,
    head: Annotated[
        str | None,
        Parameter(
            name="--head",
            help="PLACE:HASH that an earlier verify printed; keep it where nobody who can write to the ledger "
            "can change it.",
        ),
    ] = None,
    output: Output = Format.TABLE,
) -> int:
    """Check that no fact, look or document in the ledger was changed, removed, added or reordered.

    Exit code 1 if one was. Prints the head of the record. Keep it elsewhere and pass it as --head later: only then can
    the command detect that the end was cut off or everything was rewritten. Works while everything runs.
    """
    from sluicegate.flows.wiring.runtime import current_runtime
    from sluicegate.registry.ledger.chain import parse_head
    from sluicegate.services.host.addresses import has_ledger

    known_head = parse_head(head) if head is not None else None
    settings = Settings.read()
    if not has_ledger(settings):
        raise NotFound(f"there is no ledger in {settings.state}.", fix="set SLUICE_STATE or SLUICE_LEDGER to it.")
    result = current_runtime().ledger.verify(known_head)
    summary = f"{result.head.place} facts, looks and documents; head {result.head}"
    if not result.faults:
        text = f"the record is intact: {summary}"
    else:
        more = len(result.faults) - SHOWN
        lines = [*result.faults[:SHOWN], *([f"and {more} more: -o json shows all"] if more > 0 else [])]
        text = "\n".join([*lines, f"the record was changed: {summary}"])
    emit({"intact": not result.faults, "head": str(result.head), "faults": list(result.faults)}, output, table=text)
    return 1 if result.faults else 0
