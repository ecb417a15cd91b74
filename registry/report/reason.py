"""Reason: a gate's figures as one sentence with units, the same everywhere. Pure."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

from sluicegate.registry.plan.fields import GateSpec, MetricSpec, Source
from sluicegate.registry.plan.limits import TimeLimit
from sluicegate.registry.plan.plan import Plan
from sluicegate.registry.words.figures import (
    Unit,
    bounded,
    difference,
    fixed,
    measured,
    number,
    places,
    scaling,
    share,
    shares,
)
from sluicegate.registry.words.metric import Worse

_DIGIT = re.compile("[1-9]")
_PLURAL = re.compile(r"(?<![siu])s$")
_COUNTED = {Source.OUTCOME: "labels", Source.PREDICTION: "predictions"}


@dataclass(frozen=True, kw_only=True)
class Wording:
    """How to word the comparison of a metric of the candidate."""

    subject: str
    """What is higher or lower, in words."""
    unit: Unit
    worse: Worse
    beside: str
    """What it is compared with, such as v2."""
    is_named: bool
    """Whether the subject already names what it is compared with."""
    confidence: float
    """The least probability that the interval contains the difference, at all looks together."""
    counted: str
    """What is counted: requests, labels or pairs."""
    units: str
    """What is counted if units are judged, such as users."""
    part: str | None = None
    """The slice of the traffic that is compared, such as x-state=CA; None: all of it."""

    def sentence(self, value: float | None, low: float | None, high: float | None, n: int) -> str:
        """The candidate's difference with its interval: "log loss is 0.52 higher (worse) than v2's, …"."""
        if value is None:
            return f"{self.whole_subject}: the builds cannot be compared yet"
        scale, unit = scaling(self.unit, value, low, high)
        decimals = places(*(None if each is None else scale * each for each in (value, low, high)))
        size = fixed(abs(scale * value), decimals)
        is_equal = not _DIGIT.search(size)
        apart = self._equal() if is_equal else self._apart(f"{size}{unit}", is_higher=value > 0)
        interval = self._interval(low, high, scale, decimals) + (unit if is_equal else "")
        return f"{self.whole_subject} {self._verb} {apart}, {interval}, after {self._number_of(n)}"

    def rate(self, value: float, low: float, high: float, n: int) -> str:
        """The candidate's own rate with its interval: "errors are 0.2 %, 94 % CI 0.1 to 0.5 %, of 1,204 requests"."""
        counted = f"of the candidate's {self._number_of(n)}"
        return f"{self.subject} {self._verb} {share(value)}, {self.level} {shares(low, high)}, {counted}"

    def size(self, amount: float) -> str:
        """A difference without its direction, such as a margin."""
        return difference(abs(amount), self.unit).removeprefix("+")

    @property
    def whole_subject(self) -> str:
        """The subject, with its slice if there is one."""
        return self.subject if self.part is None else f"{self.subject} of {self.part}"

    @property
    def _verb(self) -> str:
        return "are" if _PLURAL.search(self.subject) and not self.is_named else "is"

    def _equal(self) -> str:
        return "about equal" if self.is_named else f"about equal to {self.beside}'s"

    def _apart(self, size: str, *, is_higher: bool) -> str:
        quality = "worse" if is_higher == (self.worse is Worse.HIGHER) else "better"
        than = "" if self.is_named else f" than {self.beside}'s"
        return f"{size} {'higher' if is_higher else 'lower'} ({quality}){than}"

    @property
    def level(self) -> str:
        """The interval's name with its confidence, rounded down."""
        return f"{math.floor(100 * self.confidence + 1e-9)} % CI"

    def _interval(self, low: float | None, high: float | None, scale: float, decimals: int) -> str:
        level = self.level
        least, most = (None if end is None else bounded(scale * end, decimals) for end in (low, high))
        match least, most:
            case None, None:
                return "no confidence interval yet"
            case _, None:
                return f"{level} from {least} up"
            case None, _:
                return f"{level} up to {most}"
            case _:
                return f"{level} {least} to {most}"

    def _number_of(self, n: int) -> str:
        return f"1 {self.counted.removesuffix('s')}" if n == 1 else f"{n:,} {self.counted}"


def wording(plan: Plan, gate: GateSpec, beside: str) -> Wording:
    """The wording for a gate. The ends of its interval are those of its two tests, with its alpha and its beta."""
    metric = plan.metrics[gate.metric]
    slow = metric.source is Source.LATENCY and metric.quantile is not None
    than = (
        measured(gate.below.seconds, Unit.SECONDS)
        if isinstance(gate.below, TimeLimit)
        else f"{beside}'s {_quantile(metric)}"
    )
    return Wording(
        subject=f"the share of requests slower than {than}" if slow else subject(gate.metric),
        unit=unit_of(metric),
        worse=metric.worse,
        beside=beside,
        is_named=slow,
        confidence=1 - gate.alpha - gate.beta,
        counted=counted(metric),
        units=unit_noun(plan.unit),
    )


def _quantile(metric: MetricSpec) -> str:
    return f"p{number(100 * (metric.quantile or 0))}"


def subject(metric: str) -> str:
    """A metric's name as words in a sentence."""
    return metric.replace("_", " ")


def counted(metric: MetricSpec) -> str:
    """The noun for a metric's rows."""
    return _COUNTED.get(metric.source, "requests")


def unit_of(metric: MetricSpec) -> Unit:
    """The unit of a metric's values. Outcomes have whatever unit their sender uses."""
    if metric.is_binary:
        return Unit.SHARE
    return Unit.SECONDS if metric.source is Source.LATENCY else Unit.PLAIN


def unit_noun(header: str | None) -> str:
    """The noun for units, from the name of the header: x-user-id gives users."""
    words = re.fullmatch(r"(?:x-)?([a-z]{3,}?)(?:-?(?:id|key|hash))?", header or "")
    return f"{words[1]}s" if words else "units"
