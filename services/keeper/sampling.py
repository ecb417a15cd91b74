"""Sampling: queries the sources of external gates while a candidate has requests, and records the readings.

Each gate is queried in a thread of its own, so that a source that hangs delays neither other sources, nor a look, nor
an abort. Only the keeper samples; everything that judges reads the record.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial

from sluicegate.registry.ledger.port import Ledger
from sluicegate.registry.plan.external import ExternalGate
from sluicegate.registry.rollout.rollout import Phase, Rollout
from sluicegate.registry.words.sample import Reading, Sample
from sluicegate.services.beside import Hand

Ask = Callable[[ExternalGate, Mapping[str, str]], Reading]
"""Queries the source of a gate, with the values of the query's placeholders."""


@dataclass
class Sampling:
    """Samples the gates that are due. All its state can be recovered from the record."""

    ledger: Ledger
    ask: Ask
    clock: Callable[[], datetime]
    beside: Hand
    _asked: dict[tuple[str, str], datetime] = field(default_factory=dict, init=False)
    """When each gate's source was last queried."""

    def look(self) -> None:
        """Query every source that is due."""
        now, sampled = self.clock(), [each for each in self.ledger.current() if is_sampled(each)]
        for rollout in sampled:
            for gate in rollout.plan.external:
                if self._is_due(rollout, gate, now):
                    self.beside(f"{rollout.id} {gate.name}", partial(self._sample, rollout, gate))
        names = {rollout.id for rollout in sampled}
        self._asked = {key: at for key, at in self._asked.items() if key[0] in names}

    def _sample(self, rollout: Rollout, gate: ExternalGate) -> None:
        """Query a source once, and record the reading."""
        at = self.clock()
        self._asked[rollout.id, gate.name] = at
        last = self.ledger.samples(rollout.id, gate.name, most=1)
        reading = self.ask(gate, placeholders(rollout))
        k = last[-1].k + 1 if last else 1
        sample = Sample(rollout=rollout.id, gate=gate.name, k=k, epoch=rollout.epoch, at=at, reading=reading)
        self.ledger.record_sample(sample)

    def _is_due(self, rollout: Rollout, gate: ExternalGate, now: datetime) -> bool:
        began, key = rollout.step_observed_at, (rollout.id, gate.name)
        if began is None or now < began + timedelta(seconds=gate.after):
            return False
        if key not in self._asked:
            last = self.ledger.samples(rollout.id, gate.name, most=1)
            self._asked[key] = last[-1].at if last else now - timedelta(days=1)
        return now - self._asked[key] >= timedelta(seconds=gate.every) or self._asked[key] < began


def is_sampled(rollout: Rollout) -> bool:
    """Whether the rollout is judged by external gates now: the candidate has requests, at a weight that is in force."""
    is_judged = rollout.phase in (Phase.RUNNING, Phase.PAUSED, Phase.CONFIRMING) and rollout.is_tried
    return is_judged and bool(rollout.plan.external) and rollout.observed_epoch == rollout.epoch


def placeholders(rollout: Rollout) -> dict[str, str]:
    """The values that a query may use about its rollout."""
    requested = rollout.requested
    return {
        "build": requested.version, "stable": rollout.stable or "", "model": requested.model,
        "variation": requested.variation, "step": str(rollout.step + 1),
    }  # fmt: skip
