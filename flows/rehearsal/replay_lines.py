"""The lines that `sluice gate replay` reads: a plan, then looks. Every field is checked before anything is judged."""

from __future__ import annotations

import math
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError, model_validator

from sluicegate.registry.words.errors import UsageError
from sluicegate.registry.words.tally import Tally


class MalformedLine(UsageError):
    """A line that is neither a plan nor a look. The message names the line and the field; nothing of the line was
    judged."""


Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Margin = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Measured = float | None
"""A sum that may be NaN, infinite or null: that is judged as missing, not refused."""
Share = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]

_MOST_ROWS = 1e10
"""The most rows in one row line; the distribution for more does not fit into memory."""
_LARGEST_SUM = 1e80
"""Products of three larger sums overflow a float."""
_ROUNDING = 1e-6
"""Share of a square that rounding may have taken from the sum of squares."""


class _Line(BaseModel):
    model_config = ConfigDict(frozen=True, strict=True, extra="ignore")


class MetricLine(_Line):
    """What is measured, and the relative harm to rule out: one, or one for each step of a ramp."""

    kind: Literal["binary", "mean"]
    worse: Literal["higher", "lower"] = "higher"
    margin_rel: Margin | None = None
    margins: list[Margin] | None = Field(default=None, min_length=1)
    cap: Positive | None = None
    """For a mean: no value lies above it; sums are of values that are capped already. Then the verdict holds for any
    shape."""
    floor: float | None = Field(default=None, allow_inf_nan=False)
    """No value lies below it; null: minus the cap."""
    origin: float = Field(default=0.0, allow_inf_nan=False)
    """For a mean: it was subtracted from all values. If values lie far from 0 compared with their spread, their squares
    leave nothing of the spread."""

    @property
    def ladder(self) -> tuple[float, ...]:
        """The margin of each step; empty: harm only."""
        if self.margins is not None:
            return tuple(self.margins)
        return () if self.margin_rel is None else (self.margin_rel,)


class PlanLine(_Line):
    """What is to be judged."""

    type: Literal["plan"]
    alpha: float = Field(gt=0, le=0.5)
    beta: float = Field(default=0.05, gt=0, le=0.5)
    metric: MetricLine
    total_requests: Positive | None = None
    info_total: Positive
    """Planned sum of w (1 - w) n."""
    unit: Literal["request", "user"] = "request"
    late: bool = False
    """Values are labels that arrive some time after their requests; whether they arrive alike is tested too."""
    weights: list[Annotated[float, Field(gt=0, le=1)]] | None = None
    """The weight of each step. Rows name their own; the last step's weight shows which rows must be fresh."""
    info_steps: list[Positive] | None = None
    """Planned cumulative information at the end of each step. Only means need it; events tell by themselves what they
    can show."""

    @model_validator(mode="after")
    def _one_for_each_step(self) -> Self:
        steps = len(self.metric.ladder)
        for name, numbers in (("weights", self.weights), ("info_steps", self.info_steps)):
            if numbers is not None and steps and len(numbers) != steps:
                raise ValueError(f"{name} must have one number for each of the {steps} margins")
        if self.info_steps is not None and self.info_steps != sorted(self.info_steps):
            raise ValueError("info_steps are cumulative, so they cannot fall")
        return self


class RowLine(_Line):
    """Sums new since the last look, of one arm in one stratum, and of one unit where units return."""

    stratum: int = Field(ge=0)
    weight: Share | None = None
    """The candidate's share of requests; null if unknown. Rows of a unit may leave it out."""
    arm: Literal["stable", "candidate"]
    n: Measured
    sum: Measured
    sumsq: Measured = None
    sumcube: Measured = None
    unit: str | int | None = None
    requests: Annotated[int, Field(ge=0)] | None = None
    """If values arrive late: the number of new requests whose labels they are, or will be."""

    @model_validator(mode="after")
    def _all_sums(self) -> Self:
        missing = [name for name in ("weight", "sumsq", "sumcube") if name not in self.model_fields_set]
        if self.unit is None and missing:
            verb = "is" if len(missing) == 1 else "are"
            raise ValueError(f"{', '.join(missing)} {verb} missing (or unit, where units return)")
        return self

    @property
    def tally(self) -> Tally:
        """The sums; if no values can have them, a tally that cannot be true."""
        if not self.is_sound:
            return Tally(n=-1)
        return Tally(int(self.n or 0), 0, self.sum or 0.0, self.sumsq or 0.0, self.sumcube or 0.0)

    @property
    def is_sound(self) -> bool:
        """Whether some values can have these sums: usable figures, a whole number of rows, and squares at least as
        large as those of equal values (Cauchy & Schwarz)."""
        sums = [self.n, self.sum] if self.unit is not None else [self.n, self.sum, self.sumsq, self.sumcube]
        if self.n is None or self.sum is None or not all(_is_figure(value) for value in sums):
            return False
        if not 0 <= self.n <= _MOST_ROWS or self.n != int(self.n):
            return False
        return self.sumsq is None or self.sumsq * self.n >= self.sum**2 * (1 - _ROUNDING)


def _is_figure(value: float | None) -> bool:
    """Whether a sum can be computed with."""
    return value is not None and math.isfinite(value) and abs(value) < _LARGEST_SUM


class InfoLine(_Line):
    """Where the look stands."""

    look: int | None = None
    requests: int | None = None
    info: Annotated[float, Field(ge=0, allow_inf_nan=False)] | None = None
    step: int | None = Field(default=None, ge=0)


class LookLine(_Line):
    """One look at what came in."""

    type: Literal["look"]
    rows: list[RowLine]
    info: InfoLine = InfoLine()


_LINE: TypeAdapter[PlanLine | LookLine] = TypeAdapter(Annotated[PlanLine | LookLine, Field(discriminator="type")])


def read(text: str, line: int) -> PlanLine | LookLine:
    """The plan or look that a line holds; lines count from 1. Raises MalformedLine with every field that is wrong."""
    try:
        return _LINE.validate_json(text)
    except ValidationError as wrong:
        problems = "; ".join(f"{_field(error['loc'])}: {error['msg']}" for error in wrong.errors())
        raise MalformedLine(
            f"line {line}: {problems}.", fix="docs/reference/gate-replay.md lists the fields."
        ) from wrong


def _field(place: tuple[str | int, ...]) -> str:
    """`rows.3.n` for a place as pydantic gives it, without the name of the union's member."""
    names = [str(part) for part in place if part not in ("plan", "look")] or ["line"]
    return ".".join(names) if place[:2] != ("look", "info") or place[2:] != ("look",) else "info.look"
