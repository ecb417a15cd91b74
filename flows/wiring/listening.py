"""Listening: learns at once of what any host records, if the ledger's database sends notices."""

from __future__ import annotations

from collections.abc import Callable

from sluicegate.flows.wiring.loops import PASS_SECONDS, Loops
from sluicegate.flows.wiring.runtime import Runtime


def listen_to_ledger(runtime: Runtime, loops: Loops, on_change: Callable[[], object]) -> None:
    """Call `on_change` at once when any host records something, if the ledger's database sends notices."""
    from sluicegate.registry.ledger.notices import Listening, can_listen

    location = runtime.settings.ledger_url()
    if can_listen(location):
        loops.beside("notices", Listening(location, on_change).run, PASS_SECONDS)
