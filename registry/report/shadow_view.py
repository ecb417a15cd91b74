"""ShadowView: the result of a shadow, as command line, console and reports show it. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """A number with its interval, which holds at every look at once."""

    value: float
    low: float
    high: float
    n: int
    """Number of pairs that it is based on."""


@dataclass(frozen=True, kw_only=True)
class Coverage:
    """What became of the copies. Each is counted once in `ended`; each that ended is counted in `pairs`, or waits."""

    ended: dict[str, int]
    """How the copies ended, by kind: answered, refused, error, timeout and so on."""
    dropped: int
    """Copies that the data plane did not send because the shadow was too slow. Included in no other count."""
    waiting: int
    """Copies whose request has not been read yet."""
    pairs: dict[str, int]
    """Pairs that agree or differ, and by reason those that could not be compared."""
    stored: int
    """Pairs stored for labels that come later."""
    copies: int
    """Copies that should have been sent."""
    never_answered: int
    """Copies without an answer: dropped, timed out, broken off, not reached."""


@dataclass(frozen=True, kw_only=True)
class Bar:
    """A range of values, and how many values of each build lie in it."""

    low: float
    high: float
    stable: int
    candidate: int


@dataclass(frozen=True, kw_only=True)
class Flip:
    """A combination of stable's and the candidate's answers, and how often it occurred."""

    stable: str
    candidate: str
    n: int


@dataclass(frozen=True, kw_only=True)
class ColumnView:
    """How the values of one column compare."""

    column: str
    kind: str
    """label, number or text."""
    n: int
    """Pairs of values."""
    flips: Estimate | None = None
    """Labels: the share that differs."""
    confusion: tuple[Flip, ...] = ()
    """Labels: disagreements, most frequent first, then agreements."""
    difference: Estimate | None = None
    """Numbers: candidate minus stable on the same request. Texts: the share of words not shared."""
    spread: float | None = None
    """Standard deviation of the differences."""
    correlation: float | None = None
    """Pearson's correlation of both answers."""
    rank_agreement: float | None = None
    """Kendall's tau, from pairs of neighbouring requests: 1 if both builds order all of them alike."""
    differences: tuple[Bar, ...] = ()
    """Counts of differences, in `candidate`."""
    levels: tuple[Bar, ...] = ()
    """Counts of both answers."""
    missing: dict[str, int] = field(default_factory=dict)
    """Values that were NaN, infinite or null: stable's, the candidate's, both."""


@dataclass(frozen=True, kw_only=True)
class LatencyView:
    """Times of both answers to the same requests, in seconds."""

    difference: Estimate
    stable: dict[str, float]
    """mean, p50, p95, p99."""
    candidate: dict[str, float]


@dataclass(frozen=True, kw_only=True)
class JudgedView:
    """How often the answers differ by a metric of the plan, with its own tolerance."""

    metric: str
    column: str | None
    """The compared column; None: all."""
    within: float | None
    """How far apart two numbers may be and still agree."""
    disagreement: Estimate
    over_time: tuple[tuple[datetime, int, int], ...]
    """Start of a time bucket, pairs compared, pairs that differ."""


@dataclass(frozen=True, kw_only=True)
class SliceView:
    """How the answers compare in one part of the requests."""

    slice: str
    disagreement: Estimate
    judged: dict[str, Estimate]
    """By the plan's metrics that compare answers, each with its own tolerance."""
    stands_out: bool
    """Whether answers differ more than in the rest, by any metric of the plan, or without one in anything."""
    harmed: tuple[str, ...]
    """Metrics in which the candidate is worse here, once labels came. Over all slices and metrics together, including
    `stands_out`, the chance of any wrong statement is 5 %."""
    quality: dict[str, Estimate]
    """By metric: candidate minus stable, once labels came."""


@dataclass(frozen=True, kw_only=True)
class WorstView:
    """One of the largest disagreements."""

    request: str
    at: datetime
    distance: float
    slices: tuple[str, ...]
    schema: str | None
    cells: tuple[dict[str, object], ...]
    beyond: tuple[str, ...] = ()
    """The plan's metrics by which the answers differ."""


@dataclass(frozen=True, kw_only=True)
class ShadowView:
    """The result of a shadow."""

    rollout: str
    model: str
    stable: str
    candidate: str
    sample: float
    """Share of the requests, in per cent."""
    coverage: Coverage
    disagreement: Estimate | None
    """The share of comparable pairs that differ in anything."""
    over_time: tuple[tuple[datetime, int, int], ...]
    """Start of a time bucket, pairs compared, pairs that differ."""
    judged: tuple[JudgedView, ...]
    """By the plan's metrics that compare answers."""
    columns: tuple[ColumnView, ...]
    schema: dict[str, int]
    """How the shapes of answers differed, and how often."""
    declared: tuple[str, ...]
    """How the outputs declared by both builds' MLflow signatures differ."""
    latency: LatencyView | None
    quality: dict[str, Estimate]
    """By metric: candidate minus stable on the same requests, as labels came."""
    slices: tuple[SliceView, ...]
    """Slices that stand out first, then the largest."""
    worst: tuple[WorstView, ...]
    confidence: float = 0.95
