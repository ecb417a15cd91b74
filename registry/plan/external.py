"""External gates: a limit for a number that another system measures. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, PlainSerializer

from sluicegate.registry.plan.document import Document
from sluicegate.registry.words.figures import number
from sluicegate.registry.words.units import Duration

SOURCE_NAME = r"^[a-z0-9]([a-z0-9-]{0,38}[a-z0-9])?$"
MOST_SAMPLES = 50


@dataclass(frozen=True, kw_only=True)
class Breaks:
    """How many of the last samples must break the limit for the gate to fail."""

    broken: int
    samples: int

    def __str__(self) -> str:
        return f"{self.broken} of {self.samples}"


def _breaks(value: object) -> Breaks:
    if isinstance(value, Breaks):
        return value
    match = re.fullmatch(r"\s*([0-9]{1,3})\s+of\s+([0-9]{1,3})\s*", value) if isinstance(value, str) else None
    broken, samples = (int(each) for each in match.groups()) if match else (0, 0)
    if not 1 <= broken <= samples <= MOST_SAMPLES:
        raise ValueError(
            f"not a number of samples: {value!r}; write such as 3 of 5, with at most {MOST_SAMPLES} samples"
        )
    return Breaks(broken=broken, samples=samples)


Fails = Annotated[
    Breaks,
    BeforeValidator(_breaks, json_schema_input_type=str),
    PlainSerializer(str, return_type=str),
    Field(description="how many of the last samples, such as 3 of 5"),
]


def _bare(limit: object) -> object:
    if isinstance(limit, str | bool):
        raise ValueError(f"not a number: {limit!r}; write it as the source gives it, such as 0.9, without a unit")  # noqa: TRY004
    return limit


Number = Annotated[float, BeforeValidator(_bare), Field(allow_inf_nan=False)]
Pointer = Annotated[str, Field(pattern=r"^(/([^~/]|~[01])*)*$", max_length=500)]


class HttpValue(Document):
    """A number in the JSON that an HTTP server answers."""

    path: str = Field(max_length=4000)
    """Path and query below the source's address, such as /queues?model={model}."""
    value: Pointer
    """Where the number is in the answer: a JSON Pointer, such as /data/depth."""
    at: Pointer | None = None
    """JSON Pointer to the time of measurement: ISO 8601, or seconds since 1970; none: the time of the answer."""


class ExternalGate(Document):
    """A limit for a number that another system measures. It is sampled while the candidate has requests. It is
    not a statistical test, so it has no alpha."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z][A-Za-z0-9_.-]{0,39}$")]
    """Its name; it must differ from the metrics of gates and guardrails."""
    source: str = Field(pattern=SOURCE_NAME)
    """Where the number comes from: the setting SLUICE_SOURCE_<SOURCE> holds address and secret."""
    promql: str | None = Field(default=None, min_length=1, max_length=4000)
    """A Prometheus query that gives one series. {build}, {stable}, {model}, {variation} and {step} stand in quotes."""
    sql: str | None = Field(default=None, min_length=1, max_length=10_000)
    """One SELECT that gives one row: the number, and optionally the time at which it was measured. The same
    placeholders stand without quotes: they become parameters."""
    http: HttpValue | None = None
    """A number in the JSON that an HTTP server answers."""
    below: Number | None = None
    """The number that it must stay below."""
    above: Number | None = None
    """The number that it must stay above."""
    every: Duration = Field(default=60.0, ge=5, le=3600)
    """How often the source is queried."""
    max_age: Duration = Field(default=300.0, ge=5, le=86_400)
    """Age at which a value no longer counts (NO DATA), by the source's own time of measurement if it gives one."""
    after: Duration = 0.0
    """How long after a weight took effect the first sample of the step is taken; earlier samples cannot end a step."""
    fails: Fails = Breaks(broken=3, samples=5)
    """How many of the last samples break the limit before it fails. It passes once the step has as
    many samples, fewer of them break the limit, and the last one keeps it."""
    guardrail: bool = False
    """Whether it can only stop the rollout; otherwise it must pass before a step ends."""
    mode: Literal["decide", "watch"] = "decide"
    """Whether its verdict has consequences. watch: judged and shown."""
    then: Literal["abort", "pause"] = "abort"
    """What follows when it fails. pause: a person decides; whoever resumes overrides it by name, and it is judged
    again on later samples."""

    @property
    def decides(self) -> bool:
        """Whether anything follows from its verdict."""
        return self.mode == "decide"

    @property
    def limit(self) -> str:
        """The limit in words."""
        ends = (("above", self.above), ("below", self.below))
        return " and ".join(f"{side} {number(end)}" for side, end in ends if end is not None)

    def keeps(self, value: float) -> bool:
        """Whether a value is within the limit."""
        return (self.below is None or value < self.below) and (self.above is None or value > self.above)
