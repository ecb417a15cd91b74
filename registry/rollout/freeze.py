"""Freeze: times in which no rollout starts or advances. Gates, pauses, aborts and rollbacks work as always. Pure.

kind: freeze
name: weekend
models: ["*"]
zone: Europe/Berlin
windows:
  - {cron: "0 16 * * fri", lasts: 64h}
  - {from: 2026-12-20, until: 2027-01-02T06:00}
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from fnmatch import fnmatchcase
from typing import Annotated, Literal, Self
from zoneinfo import ZoneInfo

from cronsim import CronSim, CronSimError
from pydantic import AfterValidator, Field, model_validator

from sluicegate.registry.plan.document import Document
from sluicegate.registry.rollout.decision import Choice, Decision
from sluicegate.registry.rollout.rollout import Rollout
from sluicegate.registry.words.digest import digest_of
from sluicegate.registry.words.units import Duration

LONGEST = 366 * 86_400.0


def _zone(name: str) -> str:
    try:
        ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        raise ValueError(f"{name!r} is not a time zone; write one such as Europe/Berlin or UTC") from None
    return name


def _cron(text: str) -> str:
    try:
        CronSim(text, datetime(2026, 1, 1, tzinfo=UTC))
    except CronSimError:
        raise ValueError(f"{text!r} is no cron expression; write five fields, such as 0 16 * * fri") from None
    return text


def _local(at: datetime) -> datetime:
    if at.tzinfo is not None:
        raise ValueError("a local time is expected; write it without an offset, and the zone as zone")
    return at


LocalTime = Annotated[datetime, AfterValidator(_local)]


class Window(Document):
    """One time of a freeze: recurring, by cron and duration, or once, from and until."""

    cron: Annotated[str, AfterValidator(_cron)] | None = None
    """Recurring: when it begins, as minute, hour, day, month and weekday in the freeze's zone."""
    lasts: Annotated[Duration, Field(gt=0, le=LONGEST)] | None = None
    """With cron: how long it lasts each time, such as 64h."""
    from_: Annotated[LocalTime | None, Field(alias="from")] = None
    """Once: when it begins, such as 2026-12-20 or 2026-12-20T18:00."""
    until: LocalTime | None = None
    """Once: when it ends; that moment is not part of it."""

    @model_validator(mode="after")
    def _one_of_two(self) -> Self:
        given = tuple(value is not None for value in (self.cron, self.lasts, self.from_, self.until))
        if given not in ((True, True, False, False), (False, False, True, True)):
            raise ValueError("write cron and lasts, or from and until")
        if self.from_ is not None and self.until is not None and self.until <= self.from_:
            raise ValueError("until is not after from; write a later time")
        return self

    def ends(self, now: datetime, zone: ZoneInfo) -> datetime | None:
        """When the window around `now` ends; None if `now` is in none."""
        if self.cron is not None and self.lasts is not None:
            moment = now.astimezone(zone) + timedelta(seconds=1)  # the beginning itself is part of it
            end = next(CronSim(self.cron, moment, reverse=True)).astimezone(UTC) + timedelta(seconds=self.lasts)
            return end if now < end else None
        if self.from_ is None or self.until is None:
            return None
        begin, end = (at.replace(tzinfo=zone).astimezone(UTC) for at in (self.from_, self.until))
        return end if begin <= now < end else None


class Freeze(Document):
    """Times in which nothing starts or advances, for some models or all."""

    kind: Literal["freeze"] = "freeze"
    """What this document is."""
    name: str = Field(pattern=r"^[a-z0-9]([a-z0-9-]{0,38}[a-z0-9])?$")
    """Its name."""
    models: tuple[str, ...] = ("*",)
    """Names of models; * stands for any characters."""
    zone: Annotated[str, AfterValidator(_zone)] = "UTC"
    """Time zone of the windows, such as Europe/Berlin; daylight saving time is respected."""
    windows: tuple[Window, ...] = ()
    """The times; an empty list lifts the freeze."""
    reason: str = ""
    """The reason, shown to everybody whose rollout has to wait."""

    def document(self) -> dict[str, object]:
        """The freeze as JSON values."""
        return self.model_dump(mode="json", exclude_defaults=True, by_alias=True) | {"kind": self.kind}

    @property
    def digest(self) -> str:
        """SHA-256 of its canonical JSON, defaults left out."""
        return digest_of(self.document())


@dataclass(frozen=True, kw_only=True)
class InForce:
    """A freeze that applies to a model now, and when it ends."""

    name: str
    until: datetime
    reason: str

    def __str__(self) -> str:
        why = f" ({self.reason})" if self.reason else ""
        return f"the freeze {self.name}{why} lasts until {self.until:%Y-%m-%d %H:%M} UTC"


def in_force(freezes: Iterable[Freeze], model: str, now: datetime) -> InForce | None:
    """The freeze that applies to a model now and ends last; None if there is none."""
    holding_back = [
        InForce(name=freeze.name, until=end, reason=freeze.reason)
        for freeze in freezes
        if any(fnmatchcase(model, pattern) for pattern in freeze.models)
        for window in freeze.windows
        if (end := window.ends(now, ZoneInfo(freeze.zone))) is not None
    ]
    return max(holding_back, key=lambda each: each.until, default=None)


def freeze_for(freezes: Iterable[Freeze], rollout: Rollout, now: datetime) -> InForce | None:
    """The freeze that applies to a rollout now; None while somebody's override lasts."""
    until = rollout.freeze_overridden_until
    return None if until is not None and now < until else in_force(freezes, rollout.requested.model, now)


def heeding(decision: Decision, freezes: Iterable[Freeze], rollout: Rollout, now: datetime) -> Decision:
    """The decision; in a freeze, a wait instead of an advance."""
    if decision.choice not in (Choice.ADVANCE, Choice.PROMOTE):
        return decision
    freeze = freeze_for(freezes, rollout, now)
    if freeze is None:
        return decision
    return Decision(choice=Choice.HOLD, reason=f"{freeze}; then: {decision.reason}", wait=freeze.until - now)
