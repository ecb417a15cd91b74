"""Declares a ledger restored: its positions are not comparable with those before.

The declaration is a document of its own kind, so the chain covers it, and it says who declared it, when and why.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from sluicegate.registry.ledger.port import Documents, Ledger
from sluicegate.registry.ledger.record import Applied
from sluicegate.registry.words.fencing import FencingToken

_KIND, _NAME = "restoration", "ledger"
_BEGAN = datetime(1970, 1, 1, tzinfo=UTC)
_UNIT = timedelta(microseconds=1)


def say_restored(documents: Documents, *, actor: str, reason: str, at: datetime) -> int:
    """Record that the ledger was restored, so that data planes accept its tables. Returns their new mark."""
    mark = max(int((at - _BEGAN) / _UNIT), restored(documents) + 1)
    documents.apply(
        Applied(kind=_KIND, name=_NAME, body={"mark": mark, "reason": reason}, digest=str(mark), actor=actor, at=at)
    )
    return mark


def restored(documents: Documents) -> int:
    """The mark of the last declaration; 0 if there was none."""
    declaration = documents.applied(_KIND, _NAME)
    return int(str(declaration.body["mark"])) if declaration is not None else 0


class MadeFrom:
    """Tells from which state of the ledger a table is made. The keeper calls it in every pass."""

    def __init__(self, ledger: Ledger, term: Callable[[], int]) -> None:
        self._ledger, self._term = ledger, term
        self._position, self._restored = -1, 0

    def __call__(self) -> FencingToken:
        """The present state."""
        position = self._ledger.position()
        if position != self._position:
            self._restored = restored(self._ledger)
            self._position = position
        return FencingToken(restored=self._restored, term=self._term(), position=position)
