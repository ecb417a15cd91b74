"""Which header each model's unit goes into, as the gateway told, for a while."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass, field

from sluicegate.services.client.predictions import Predictions

FRESH_SECONDS = 60.0


class UnitIgnored(UserWarning):
    """A unit was given, and the request was assigned at random all the same."""


@dataclass
class Hashing:
    """What is known of models' units. `clock` gives seconds that only grow."""

    clock: Callable[[], float]
    always: str | None = None
    """The header to use whatever the gateway says; then it is not asked."""
    _known: dict[str, tuple[float, str | None]] = field(default_factory=dict)

    def must_ask(self, model: str) -> bool:
        """Whether the gateway has to be asked."""
        known = self._known.get(model)
        return self.always is None and (known is None or self.clock() - known[0] > FRESH_SECONDS)

    def learn(self, model: str, header: str | None) -> None:
        """What the gateway answered; None: this model hashes nothing."""
        self._known[model] = (self.clock(), header)

    def header(self, model: str) -> str | None:
        """The header for the model's unit; None where nothing is hashed."""
        return self.always or self._known[model][1]

    def check(self, answer: Predictions) -> None:
        """Warn where the unit that was sent was not hashed, and ask again the next time."""
        if answer.reason != "random":
            return
        used = self.header(answer.model)
        why = f"the gateway did not hash its header {used!r}" if used else "the model's plan names no header for it"
        if used is not None:
            self._known.pop(answer.model, None)
        warnings.warn(f"the unit for model {answer.model!r} was not used: {why}.", UnitIgnored, stacklevel=4)
