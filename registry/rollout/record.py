"""RolloutRecord: what the ledger knows about a rollout at one moment, as far as it was read. Pure."""

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
    """A rollout and the records that belong to it. `ledger.reading` reads what each use needs."""

    rollout: Rollout
    of_model: tuple[Rollout, ...] = ()
    """All rollouts of its model, if the policy decides about a comparison, which depends on the others."""
    freezes: tuple[Freeze, ...] = ()
    """All applied freezes, if the policy decides about the rollout."""
    entries: tuple[Entry, ...] = ()
    """Its facts, in order."""
    launch: tuple[Reached, ...] = ()
    """The stages it has reached, while it is being launched."""
    delay: str = ""
    """Why its service is not ready yet, if the launch takes long; empty if not known."""
    undriven: Undriven | None = None
    """The keeper's note about its driver, if it may need one."""
    sights: Sights = field(default_factory=Sights)
    """The keeper's note about uncounted requests, if its candidate has traffic."""
    readiness: Readiness = field(default_factory=Readiness)
    """The keeper's note about services, if its weight may grow."""
    looks: tuple[Look, ...] = ()
    """All looks, or the last of each metric, ordered by metric and k."""
    samples: Mapping[str, tuple[Sample, ...]] = field(default_factory=dict)
    """The last samples of each external gate, by its name."""
