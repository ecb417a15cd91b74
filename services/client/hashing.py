"""A cache of the header in which the gateway expects each model's unit."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass, field

from sluicegate.services.client.predictions import Predictions

FRESH_SECONDS = 60.0


class UnitIgnored(UserWarning):
    """A unit was given, but the request was assigned at random."""


@dataclass
class Hashing:
    """The header of each model's unit. `clock` returns seconds and is monotonic."""

    clock: Callable[[], float]
    always: str | None = None
    """The header for all models; if set, the gateway is never asked."""
    _headers: dict[str, tuple[float, str | None]] = field(default_factory=dict)
    """When the gateway named a model's header, and the header."""

    def must_ask(self, model: str) -> bool:
        """Whether the gateway has to be asked."""
        cached = self._headers.get(model)

        return self.always is None and (cached is None or self.clock() - cached[0] > FRESH_SECONDS)

    def learn(self, model: str, header: str | None) -> None:
        """Store the gateway's answer; None: this model hashes no header."""
        self._headers[model] = (self.clock(), header)

    def header(self, model: str) -> str | None:
        """The header for the model's unit; None if it hashes none."""
        return self.always or self._headers[model][1]

    def check(self, answer: Predictions) -> None:
        """Warn if the gateway did not hash the unit that was sent, and ask for its header again next time."""
        if answer.reason != "random":
            return
        used = self.header(answer.model)
        why = f"the gateway did not hash its header {used!r}" if used else "the model's plan names no header for it"
        if used is not None:
            self._headers.pop(answer.model, None)
        warnings.warn(f"the unit for model {answer.model!r} was not used: {why}.", UnitIgnored, stacklevel=4)
