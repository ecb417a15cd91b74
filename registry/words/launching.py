"""Launching: the stages from a registered version to a service that answers, and how long each took. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from itertools import pairwise

from sluicegate.registry.words.units import format_duration


class Stage(StrEnum):
    """The stages of a launch, in order. Each value describes the stage in words."""

    FETCHING = "fetching its files from MLflow"
    ENVIRONMENT = "making its environment"
    PACKING = "packing"
    STORING = "putting it into the bento store"
    GETTING = "getting it from the bento store"
    STARTING = "starting"
    PROBING = "probing"


OF_A_STORE = (Stage.STORING, Stage.GETTING)
"""Stages that exist only where a bento store is shared."""
OF_A_SERVICE = (Stage.STARTING, Stage.PROBING)
"""Stages in which a service is probed, and may say why it is not ready."""


@dataclass(frozen=True, kw_only=True)
class Reached:
    """A stage and when it began."""

    stage: Stage
    at: datetime


def with_stage(reached: Sequence[Reached], stage: Stage, at: datetime) -> tuple[Reached, ...]:
    """The stages reached, with this one as the present one. A launch that starts over drops the later stages."""
    order = list(Stage)
    return (*(each for each in reached if order.index(each.stage) < order.index(stage)), Reached(stage=stage, at=at))


HELD_UP = timedelta(minutes=5)
"""How long Prefect, a driver, the counting of requests or a service may take before a person should look."""
HELD_UP_BUILD = timedelta(minutes=20)
"""The same for fetching, making an environment and packing, which may take minutes."""


def launch_held_up(
    rollout: str, reached: Sequence[Reached], began: datetime, now: datetime, delay: str = ""
) -> str | None:
    """What has held a launch up for long, and what to do; None if its present stage does not take long."""
    since = reached[-1].at if reached else began
    is_short = not reached or reached[-1].stage in OF_A_SERVICE
    if now - since < (HELD_UP if is_short else HELD_UP_BUILD):
        return None
    fix = f"sluice logs {rollout}" if reached else "sluice doctor"
    return f"{launch_in_words(reached, began, now, delay)}. To find out why: {fix}"


def launch_in_words(reached: Sequence[Reached], began: datetime, now: datetime, delay: str = "") -> str:
    """What the launch is doing and for how long, what holds it up, and how long each earlier stage took."""
    if not reached:
        return f"waiting for Prefect to start the driver, {_lasting(began, now)} so far"
    over = [f"{before.stage.value} {_lasting(before.at, after.at)}" for before, after in pairwise(reached)]
    last = reached[-1]
    before = f" (before that: {', '.join(over)})" if over else ""
    why = f": {delay}" if delay and last.stage in OF_A_SERVICE else ""
    return f"{last.stage.value} for {_lasting(last.at, now)}{why}{before}"


def _lasting(since: datetime, until: datetime) -> str:
    return format_duration(max(0, round((until - since).total_seconds())))
