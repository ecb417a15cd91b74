"""From the state of a guardrail with slices to its verdict: where harm was found, and the worst slices. Pure."""

from __future__ import annotations

from dataclasses import replace

from sluicegate.flows.gate.slices import SlicedState, SliceState
from sluicegate.flows.gate.wording import figure, gate_verdict
from sluicegate.registry.words.slices import Slice
from sluicegate.registry.words.verdict import Answer, SliceFigures, Verdict

_SHOWN = 5
"""The number of slices that a verdict lists."""


def sliced_verdict(state: SlicedState, step: int) -> Verdict:
    """The whole's verdict, unless harm was found first, or only, in a slice: then the slice's, named in its reason."""
    whole, worst = gate_verdict(state.whole, step), _worst(state, step)
    verdict = replace(
        whole, slices=worst, alpha=state.whole.question.design.alpha + state.question.alpha,
        alpha_spent=figure(state.whole.spent + sum(each.state.spent for each in state.slices.values())),
    )  # fmt: skip
    failed = _failed(state)
    first = min(failed, key=lambda part: failed[part], default=None)
    if first is None or (whole.answer is Answer.FAIL and (state.whole.failed_at or 0) <= failed[first]):
        return verdict
    of_slice = gate_verdict(state.slices[first].state, step)
    others = [str(part) for part in failed if part != first]
    besides = f"; harm was found in {', '.join(others)} too" if others else ""
    return replace(
        of_slice, answer=Answer.FAIL, reason=f"{of_slice.reason}{besides}", slices=worst, k=whole.k,
        alpha=verdict.alpha, alpha_spent=verdict.alpha_spent, information=whole.information,
        information_fraction=whole.information_fraction,
        details=(f"harm found in {first} at look {failed[first]}", f"of all requests: {whole.reason}"),
    )  # fmt: skip


def _failed(state: SlicedState) -> dict[Slice, int]:
    """The slices in which harm was found, with the look that found it."""
    return {part: each.failed_at for part, each in state.slices.items() if each.failed_at is not None}


def _worst(state: SlicedState, step: int) -> tuple[SliceFigures, ...]:
    """The slices with the most evidence of harm; those in which harm was found come first."""
    compared = {part: each for part, each in state.slices.items() if each.state.information > 0}
    ranked = sorted(compared, key=lambda part: (compared[part].failed_at is None, -_evidence(compared[part]), part))
    return tuple(_figures(part, compared[part], step) for part in ranked[:_SHOWN])


def _evidence(each: SliceState) -> float:
    return each.state.trial.e_value


def _figures(part: Slice, each: SliceState, step: int) -> SliceFigures:
    verdict = gate_verdict(each.state, step)
    return SliceFigures(
        header=part.header, value=part.value, has_failed=each.failed_at is not None,
        stable_n=verdict.stable_n, candidate_n=verdict.candidate_n, stable_mean=verdict.stable_mean,
        candidate_mean=verdict.candidate_mean, estimate=verdict.estimate, low=verdict.low, high=verdict.high,
    )  # fmt: skip
