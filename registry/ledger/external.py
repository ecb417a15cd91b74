"""The recorded samples of a rollout's external gates."""

from __future__ import annotations

from sluicegate.registry.ledger.port import Samples
from sluicegate.registry.rollout.external import LAST
from sluicegate.registry.rollout.rollout import Rollout
from sluicegate.registry.words.sample import Sample


def read_samples(ledger: Samples, rollout: Rollout) -> dict[str, tuple[Sample, ...]]:
    """The last samples of each external gate, by its name."""
    return {gate.name: ledger.samples(rollout.id, gate.name, most=LAST) for gate in rollout.plan.external}
