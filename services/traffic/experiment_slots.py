"""The slots of an audience that an experiment shares. Pure.

The plan fixes the layout from the first request to the last, so a unit keeps its variation even if other weights are
applied meanwhile. Only units of a variation that was stopped move to the control, where they are not counted.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby

from sluicegate.registry.rollout.experiment import Split
from sluicegate.registry.words.access_log import Assigned
from sluicegate.registry.words.metric import Arm
from sluicegate.services.traffic.table import Slice, Target

_EPOCH = 1
"""The control keeps its strata when a variation is stopped, since nothing changes for the others."""


def experiment_slices(split: Split) -> tuple[Slice, ...]:
    """The slices of the experiment's slots, in order."""
    return tuple(
        Slice(size=sum(size for size, _ in run), target=target)
        for target, run in groupby(_targets(split), key=lambda piece: piece[1])
    )


def _targets(split: Split) -> Iterator[tuple[int, Target]]:
    for part in split.layout:
        if part.variation in split.arms:
            yield part.slots, _compared(split, part.variation)
        else:
            yield part.slots, _control(split, is_counted=part.variation == split.control_variation)


def _compared(split: Split, variation: str) -> Target:
    arm = split.arms[variation]
    mark = Assigned(
        variation=variation, arm=Arm.CANDIDATE, build=arm.requested.version, rollout=arm.id, epoch=arm.epoch,
        weight=arm.weight,
    )  # fmt: skip
    return Target(assigned=mark, fallback=split.control.version if arm.plan.serve.retry else None)


def _control(split: Split, *, is_counted: bool) -> Target:
    mark = Assigned(
        variation=split.control_variation, arm=Arm.STABLE, build=split.control.version,
        rollout=split.experiment if is_counted else None, epoch=_EPOCH if is_counted else 0,
        weight=split.weight if is_counted else 0,
    )  # fmt: skip
    return Target(assigned=mark)
