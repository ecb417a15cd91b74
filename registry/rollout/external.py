"""External gates: verdicts from recorded samples of what other systems measure. Limits, not statistical tests. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from sluicegate.registry.plan.external import ExternalGate
from sluicegate.registry.rollout.rollout import Rollout
from sluicegate.registry.words.figures import count, number
from sluicegate.registry.words.sample import Lacking, Measured, Sample
from sluicegate.registry.words.units import format_duration
from sluicegate.registry.words.verdict import Answer, Verdict

NOTHING = "no sample yet at this step"
NO_TEST = "a fixed limit for samples, not a statistical test: it has no p-value and uses no alpha"
LAST = 200
"""How many samples of a gate are kept and read. Failures by earlier samples are on record."""


def external_verdicts(rollout: Rollout, samples: Mapping[str, Sequence[Sample]], now: datetime) -> tuple[Verdict, ...]:
    """The verdict of each external gate from its last samples. A failure is final until a person overrides it."""
    return tuple(_of_rollout(rollout, gate, samples.get(gate.name, ()), now) for gate in rollout.plan.external)


def _of_rollout(rollout: Rollout, gate: ExternalGate, samples: Sequence[Sample], now: datetime) -> Verdict:
    judged = external_verdict(
        gate, samples, step=rollout.step, began=rollout.step_observed_at, now=now,
        since=rollout.overridden.get(gate.name, 0),
    )  # fmt: skip
    recorded = rollout.judgements.get(gate.name)
    if recorded is None or recorded.answer != Answer.FAIL or judged.answer is Answer.FAIL:
        return judged
    return replace(judged, answer=Answer.FAIL, reason=recorded.reason, k=recorded.k)


def external_verdict(
    gate: ExternalGate, samples: Sequence[Sample], *, step: int, began: datetime | None, now: datetime, since: int = 0,
) -> Verdict:  # fmt: skip
    """The verdict of an external gate at a step, from the last samples on record, in the order of k.

    `began` is when the step's weight took effect. Earlier samples can stop the rollout, but let nothing pass. `since`:
    the epoch from which samples count, because a person overrode an earlier failure.
    """
    counted = [sample for sample in samples if sample.epoch >= since]
    answer, reason = _answer(gate, counted, began, now)
    last = counted[-1] if counted else None
    value = last.reading.value if last is not None and isinstance(last.reading, Measured) else None
    return Verdict(
        metric=gate.name, answer=answer, reason=reason, step=step, guardrail=gate.guardrail, candidate_mean=value,
        details=(NO_TEST,),
        k=0 if last is None or answer is Answer.NO_DATA else last.k, since=since,
    )  # fmt: skip


def _answer(gate: ExternalGate, samples: Sequence[Sample], began: datetime | None, now: datetime) -> tuple[Answer, str]:
    """Check for a failure, which is final, then for a doubtful last sample, then for enough samples."""
    broken = _broken(gate, samples)
    if broken is not None:
        return Answer.FAIL, broken
    of_step = [sample for sample in samples if began is not None and sample.at >= began]
    doubt = _doubt(gate, of_step, began, now)
    if doubt is not None:
        return Answer.NO_DATA, doubt
    window = [each for each in _values(of_step, began) if now - each.measured_at <= _span(gate)][-gate.fails.samples :]
    last, window_size = window[-1], gate.fails.samples
    current = f"{_text(last)}, {'' if gate.keeps(_value(last)) else 'not '}{gate.limit}"
    breaking = sum(not gate.keeps(_value(each)) for each in window)
    if len(window) < window_size:
        return Answer.UNDECIDED, f"{current}; {count(len(window))} of {window_size} samples at this step"
    if not gate.keeps(_value(last)):
        return Answer.UNDECIDED, f"{current}; {breaking} of the last {window_size} samples break the limit"
    kept = (
        f"all of the last {window_size} samples are"
        if not breaking
        else f"{window_size - breaking} of the last {window_size} samples are"
    )
    return Answer.PASS, f"{current}; {kept}"


def _broken(gate: ExternalGate, samples: Sequence[Sample]) -> str | None:
    """Describes the first window in which too many samples broke the limit; None if there is none."""
    values = list(_values(samples, None))
    for end in range(1, len(values) + 1):
        window = values[max(end - gate.fails.samples, 0) : end]
        breaking = [each for each in window if not gate.keeps(_value(each))]
        if len(breaking) >= gate.fails.broken:
            shown = ", ".join(number(_value(each)) for each in breaking)
            return f"{len(breaking)} of {len(window)} samples break the limit ({gate.limit}): {shown}"
    return None


def _doubt(gate: ExternalGate, of_step: Sequence[Sample], began: datetime | None, now: datetime) -> str | None:
    """Why nothing can be said now: the last sample has no value, or its value is too old or from another time."""
    if not of_step:
        return NOTHING
    last, age = of_step[-1], format_duration(gate.max_age)
    match last.reading:
        case Lacking(reason=reason):
            return f"{gate.source}: {reason}"
        case Measured():
            if now - last.at > timedelta(seconds=gate.max_age):
                return f"no answer from {gate.source} for more than {age}"
            if now - last.measured_at > timedelta(seconds=gate.max_age):
                return f"the last value of {gate.source} is older than {age}"
            if last.measured_at - last.at > timedelta(seconds=gate.max_age):
                return f"the last value of {gate.source} has a time more than {age} in the future"
            if began is not None and last.measured_at < began:
                return f"the last value of {gate.source} was measured before this step"
            return None


def _span(gate: ExternalGate) -> timedelta:
    """How old the oldest sample may be that counts for a pass."""
    return timedelta(seconds=gate.fails.samples * gate.every + gate.max_age)


def _values(samples: Sequence[Sample], began: datetime | None) -> Iterator[Sample]:
    """Samples that have a value measured since `began`. A value that the source measured once counts once."""
    before: datetime | None = None
    for sample in samples:
        if not isinstance(sample.reading, Measured) or (began is not None and sample.measured_at < began):
            continue
        if sample.reading.at is None or sample.reading.at != before:
            yield sample
        before = sample.reading.at


def _value(sample: Sample) -> float:
    assert isinstance(sample.reading, Measured)
    return sample.reading.value


def _text(sample: Sample) -> str:
    return f"{number(_value(sample))} at {sample.measured_at:%H:%M:%S} UTC"
