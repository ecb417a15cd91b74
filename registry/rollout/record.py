"""RolloutRecord: what the ledger holds of a rollout at one moment, as far as it was read. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from sluicegate.registry.rollout.facts import Entry
from sluicegate.registry.rollout.freeze import Freeze
from sluicegate.registry.rollout.rollout import Rollout
from sluicegate.registry.words.launching import Reached
from sluicegate.registry.words.obstacle import Undriven
from sluicegate.registry.words.readiness import Readiness
from sluicegate.registry.words.sample import Sample
from sluicegate.registry.words.sight import Sights
from sluicegate.registry.words.verdict import Look


@dataclass(frozen=True, kw_only=True)
class RolloutRecord:
    """A rollout and what must be known beside it. `ledger.reading` makes one for each use."""

    rollout: Rollout
    of_model: tuple[Rollout, ...] = ()
    """All rollouts of its model, of a comparison that the policy looks at: how the others stand matters to it."""
    freezes: tuple[Freeze, ...] = ()
    """All that are applied, of a rollout that the policy looks at."""
    entries: tuple[Entry, ...] = ()
    """Its facts, in order."""
    launch: tuple[Reached, ...] = ()
    """How far it is, of a rollout that is being launched."""
    held: str = ""
    """Why its service is not ready yet, of a rollout whose launch takes long; empty where nothing is known."""
    undriven: Undriven | None = None
    """What the keeper noted of it, of a rollout that may need a driver."""
    sights: Sights = field(default_factory=Sights)
    """What the keeper noted of what is counted, of a rollout whose candidate has traffic."""
    readiness: Readiness = field(default_factory=Readiness)
    """What the keeper noted of services, of a rollout whose weight may grow."""
    looks: tuple[Look, ...] = ()
    """All of them, or the last of each metric, in order of metric and k."""
    samples: Mapping[str, tuple[Sample, ...]] = field(default_factory=dict)
    """The last samples of each external gate, by its name."""
