"""Orders that name audiences may only name those that are connected to the model."""

from __future__ import annotations

from collections.abc import Iterable

from sluicegate.registry.audience.connections import FALLBACK
from sluicegate.registry.orders.connections_record import Documents, connections_of
from sluicegate.registry.words.errors import Refused


def refuse_unknown(record: Documents, model: str, audiences: Iterable[str], *, reach: str) -> None:
    """Raise Refused for an audience that is not connected to the model: its requests would not reach the `reach`."""
    connections = connections_of(record, model)
    known = [each.audience.name for each in connections.ordered] if connections else []
    unknown = sorted({name for name in audiences if name != FALLBACK and name not in known})
    if unknown:
        which = f"audience {unknown[0]} is" if len(unknown) == 1 else f"audiences {', '.join(unknown)} are"
        raise Refused(
            f"{which} not connected to {model}, so no request that it matches reaches the {reach}.",
            fix=f"choose from {', '.join([*known, FALLBACK])}; {FALLBACK} means the requests that no audience matches",
        )
