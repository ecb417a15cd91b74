"""Looks and verdicts: what a gate compared, and its answer."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum

from sluicegate.registry.words.figures import share
from sluicegate.registry.words.metric import TallyRow


class Answer(StrEnum):
    """A gate's answer. Undecided and no_data are answers of their own and never count as a pass."""

    PASS = "pass"  # noqa: S105
    FAIL = "fail"
    UNDECIDED = "undecided"
    NO_DATA = "no_data"

    @property
    def label(self) -> str:
        """As shown to people: PASS, FAIL, UNDECIDED, NO DATA."""
        return self.value.upper().replace("_", " ")


OK = "OK"
"""How a guardrail that has found no harm is shown to people."""


@dataclass(frozen=True, kw_only=True)
class SliceFigures:
    """A guardrail's figures for one slice: the requests whose header has this value."""

    header: str
    value: str
    has_failed: bool
    """Whether the guardrail found harm in it."""
    stable_n: int
    candidate_n: int
    stable_mean: float | None
    candidate_mean: float | None
    estimate: float | None
    low: float | None
    high: float | None

    def __str__(self) -> str:
        arms = (("candidate", self.candidate_mean, self.candidate_n), ("stable", self.stable_mean, self.stable_n))
        rates = ", ".join(f"{arm} {share(mean)} of {n:,}" for arm, mean, n in arms)
        return f"{self.header}={self.value}: {rates}{'; harm found' if self.has_failed else ''}"


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """The answer of one gate at one step, with its evidence. A pure function of plan and looks."""

    metric: str
    answer: Answer
    reason: str
    """The result, in a sentence."""
    step: int
    k: int
    """How many looks it is based on; 0 before the first."""
    guardrail: bool = False
    margin: float | None = None
    """The relative harm that must be ruled out at this step, such as 0.05; None: the gate can only stop."""
    bound: float | None = None
    """The margin in the metric's unit, signed towards harm; None if there is no margin, or if it moves a threshold."""
    ruled_out: tuple[float, ...] = ()
    """The margins that any look so far has ruled out."""
    stable_n: int = 0
    candidate_n: int = 0
    stable_mean: float | None = None
    candidate_mean: float | None = None
    estimate: float | None = None
    """Candidate minus stable, information-weighted over strata, in the metric's unit."""
    low: float | None = None
    high: float | None = None
    """Always-valid interval of the estimate."""
    alpha: float | None = None
    alpha_spent: float | None = None
    beta_spent: float | None = None
    """How much this rollout has used of the chance to pass a candidate that is worse than the margin."""
    information: float = 0.0
    information_fraction: float = 0.0
    e_value: float | None = None
    missing: int = 0
    since: int = 0
    """The epoch from which requests count, because a person overrode an earlier failure; 0: all count."""
    details: tuple[str, ...] = ()
    """Details that the reason leaves out, such as the look that decided."""
    slices: tuple[SliceFigures, ...] = ()
    """The worst slices, worst first, if the guardrail looks at any."""

    def withheld(self, reason: str) -> Verdict:
        """The verdict when its data cannot be trusted: NO DATA, and why. A failure stays a failure."""
        return self if self.answer is Answer.FAIL else replace(self, answer=Answer.NO_DATA, reason=reason)


@dataclass(frozen=True, kw_only=True)
class Look:
    """One recorded judgement of a metric: the rows new since the look before, and the verdict over all rows."""

    rollout: str
    metric: str
    k: int
    """Counts from 1 for each (rollout, metric)."""
    step: int
    at: datetime
    watermark: int
    """The collector's position when the rows were read."""
    rows: tuple[TallyRow, ...]
    verdict: Verdict
