"""Effects: the orders that a rollout admits now, what each would do, and what can follow once it has ended. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import assert_never

from sluicegate.registry.rollout.decision import needs_approval
from sluicegate.registry.rollout.moves import asker
from sluicegate.registry.rollout.rollout import Ending, Phase, Rollout
from sluicegate.registry.rollout.standing import current, trusted
from sluicegate.registry.words.units import format_duration, format_weight


def possible(rollout: Rollout) -> tuple[str, ...]:
    """The orders that a rollout admits now. A shadow cannot be approved or promoted, and is started over instead of
    retried. A comparison has no steps of its own."""
    if rollout.is_comparison and rollout.is_ended:
        return ("promote",) if rollout.ending is Ending.CONCLUDED else ()
    admitted = _of_phase(rollout)
    if rollout.is_shadow:
        return tuple(order for order in admitted if order not in ("approve", "jump", "promote", "retry"))
    if rollout.is_comparison:
        return tuple(order for order in admitted if order not in ("approve", "jump"))
    return admitted if reachable(rollout) else tuple(order for order in admitted if order != "jump")


def reachable(rollout: Rollout) -> tuple[tuple[str, str], ...]:
    """The steps that a jump may lead to, each as the form's value and in words. A jump must not raise the weight during
    a pause, or if the plan requires a certificate."""
    may_rise = rollout.phase is Phase.RUNNING and not rollout.plan.certified
    return tuple(
        (f"{'back to ' if at < rollout.step else ''}{at + 1}",
         f"{'back to ' if at < rollout.step else ''}step {at + 1}: {format_weight(step.weight)} %")
        for at, step in enumerate(rollout.plan.steps)
        if at < rollout.step or (at > rollout.step and may_rise)
    )  # fmt: skip


def _of_phase(rollout: Rollout) -> tuple[str, ...]:
    match rollout.phase:
        case Phase.QUEUED:
            return ("abort",)
        case Phase.LAUNCHING:
            approve = ("approve",) if rollout.wants_signature or rollout.wants_approval else ()
            return ("pause", *approve, "promote", "abort") if rollout.ready else ("pause", "abort")
        case Phase.RUNNING:
            return ("pause", *_approve(rollout), "jump", "promote", "abort")
        case Phase.PAUSED if rollout.step >= 0:
            return ("resume", *_approve(rollout), "jump", "promote", "abort")
        case Phase.PAUSED:
            return ("resume", "promote", "abort") if rollout.ready else ("resume", "abort")
        case Phase.CONFIRMING | Phase.BAKING:
            return ("abort",)
        case Phase.ENDED:
            return () if rollout.took_over else ("retry",)
        case _:
            assert_never(rollout.phase)


def _approve(rollout: Rollout) -> tuple[str, ...]:
    """The approval of the present step, if it needs one."""
    is_wanted = rollout.guarded or needs_approval(rollout, rollout.plan.steps[rollout.step])
    return ("approve",) if is_wanted else ()


def primary(rollout: Rollout, *, needs_person: bool) -> str | None:
    """The order that a person most probably gives next; None while nothing waits for a person."""
    match rollout.phase:
        case Phase.PAUSED:
            return "resume"
        case Phase.RUNNING | Phase.LAUNCHING if needs_person:
            return "approve"
        case _:
            return None


def afterwards(rollout: Rollout, of_target: Sequence[Rollout]) -> str | None:
    """What can be done after a rollout has ended, with its command; None once a later rollout of its target counts."""
    last = trusted(of_target)
    if rollout.is_shadow or rollout.is_comparison or last is None or current(of_target) not in (None, rollout):
        return None
    model, variation = rollout.target
    where = model if variation == "default" else f"{model} --variation {variation}"
    another = f"`sluice rollout start {where} --build N`"
    match rollout.ending:
        case Ending.ESTABLISHED if last.id == rollout.id:
            return (
                f"To try another build beside v{rollout.requested.version}, apply a plan and start a rollout: {another}"
            )
        case Ending.PROMOTED if last.id == rollout.id and rollout.stable:
            return f"Nothing has to be done. To return to v{rollout.stable} at once: `sluice rollback {where}`"
        case Ending.ABORTED | Ending.FAILED if last.requested.version == rollout.stable:
            retry = f"; or retry v{rollout.requested.version} above" if "retry" in possible(rollout) else ""
            return (
                f"Nothing has to be done: v{rollout.stable} answers every request. Once a better version is in MLflow, "
                f"start it with {another}{retry}"
            )
        case _:
            return None


@dataclass(frozen=True, kw_only=True)
class Offer:
    """An order that a page offers, in words."""

    order: str
    name: str
    """On the button that opens the form, such as Approve step 2."""
    hint: str
    """What the order does, in a few words."""
    effect: str
    """The same in sentences, which are read before the order is given."""
    is_primary: bool
    """Whether a person most probably gives this order next."""
    place: str = ""
    """The name of its form on the page; empty: the order's."""


def offers(rollout: Rollout, orders: Iterable[str], *, needs_person: bool) -> tuple[Offer, ...]:
    """These orders on a rollout, in words."""
    first = primary(rollout, needs_person=needs_person)
    return tuple(
        Offer(
            order=order, name=_name(order, rollout), hint=_hint(order, rollout), effect=effect(order, rollout),
            is_primary=order == first,
        )
        for order in orders
    )  # fmt: skip


def _name(order: str, rollout: Rollout) -> str:
    match order:
        case "approve":
            return f"Approve step {rollout.step + 1}" if rollout.step >= 0 else "Approve the first request"
        case "jump":
            return "Jump to a step"
        case "promote" if rollout.is_comparison:
            return f"Release {rollout.requested.variation}"
        case _:
            return order.capitalize()


def _hint(order: str, rollout: Rollout) -> str:
    candidate = f"v{rollout.requested.version}"
    match order:
        case "pause":
            return "nothing advances meanwhile"
        case "resume" if rollout.is_judged and rollout.step >= 0 and not rollout.is_aside:
            return f"the plan goes on at step {rollout.step + 1} of {len(rollout.plan.steps)}"
        case "resume":
            return "it goes on"
        case "approve":
            return _hint_of_approval(rollout, candidate)
        case "jump":
            return f"{candidate} gets the share of that step"
        case "promote" if rollout.is_comparison:
            return f"{candidate} takes the place of v{rollout.stable} in {rollout.plan.variation}"
        case "promote":
            return f"every request goes to {candidate} now"
        case "abort":
            return _hint_of_abort(rollout, candidate)
        case _:
            return f"{candidate} starts again at step 1"


def _hint_of_abort(rollout: Rollout, candidate: str) -> str:
    if rollout.is_comparison:
        return f"{rollout.requested.variation} is stopped, the other variations go on"
    if rollout.is_shadow:
        return f"{candidate} gets no more copies"
    if rollout.weight and rollout.stable:
        return f"every request goes back to v{rollout.stable}"
    return f"{candidate} is not tried"


def _hint_of_approval(rollout: Rollout, candidate: str) -> str:
    """What comes after the approved step, or before the first one."""
    steps = rollout.plan.steps
    if rollout.step < 0:
        return f"{candidate} gets {format_weight(steps[0].weight)} % of the requests"
    if rollout.step + 1 == len(steps):
        return f"then {candidate} is promoted"
    return f"then {format_weight(steps[rollout.step + 1].weight)} % of requests go to {candidate}"


def effect(order: str, rollout: Rollout) -> str:
    """What an order would do to a rollout now."""
    if rollout.is_shadow:
        return _on_shadow(order, rollout)
    if rollout.is_comparison:
        return _on_comparison(order, rollout)
    return _on_canary(order, rollout)


def _on_canary(order: str, rollout: Rollout) -> str:
    candidate = f"v{rollout.requested.version}"
    stable = f"v{rollout.stable}" if rollout.stable else "nothing"
    weight = format_weight(rollout.weight)
    match order:
        case "pause":
            return f"{candidate} keeps {weight} % of the requests until somebody resumes. Guardrails may still abort."
        case "resume":
            return f"The plan goes on {_where(rollout)}."
        case "approve":
            return _approved(rollout, candidate)
        case "jump":
            return (
                f"{candidate} has {weight} % of the requests now, and gets the share of the step that you choose at "
                "once. A jump forward skips the gates, checks and approvals of the steps before it, and the record "
                "says that you ordered it. Gates keep what they have measured."
            )
        case "promote":
            return (
                f"{candidate} has {weight} % of the requests now, and gets every request at once, whatever its gates "
                f"say. "
                f"It is recorded as your override. {stable} {_kept(rollout)}."
            )
        case "abort" if rollout.stable is None:
            return f"{candidate} is stopped. Nothing else changes: the variation has no other build."
        case "abort":
            return f"{stable} gets every request back at once ({candidate} has {weight} %); {candidate} is stopped."
        case "retry":
            return (
                f"{candidate} is tried once more from the first step, by the plan that is applied now. If that is the "
                "plan of the earlier tries, gates need more requests than before, so that trying again and again does "
                "not let a worse build pass."
            )
        case _:
            raise ValueError(f"no order {order!r}")


def _approved(rollout: Rollout, candidate: str) -> str:
    """What an approval permits: the first request, or leaving the present step."""
    if rollout.step >= 0:
        return f"Step {rollout.step + 1} may be left once its gates have passed. {_next(rollout)}"
    if rollout.guarded:
        return f"{candidate} may get its first request. {asker(rollout)} asked for it; somebody else must approve it."
    return f"{candidate} may get {'every request, at once' if rollout.switches else 'its first request'}."


def _on_shadow(order: str, rollout: Rollout) -> str:
    candidate, weight = f"v{rollout.requested.version}", format_weight(rollout.weight)
    match order:
        case "pause":
            return (
                f"{candidate} goes on getting copies of {weight} % of the requests, and they are compared, but nothing "
                "follows from passing gates until somebody resumes. Guardrails may still abort."
            )
        case "resume":
            return "It continues, and ends by itself when its plan says so."
        case "abort":
            return f"{candidate} gets no more copies and is stopped. No caller ever got an answer from it."
        case _:
            raise ValueError(f"no order {order!r} on a shadow")


def _on_comparison(order: str, rollout: Rollout) -> str:
    variation, control = rollout.requested.variation, rollout.plan.variation
    match order:
        case "pause":
            return (
                f"{variation} keeps its share until somebody resumes, and cannot reach the goal meanwhile. "
                "Guardrails may still abort."
            )
        case "resume":
            return f"The comparison of {variation} with {control} goes on."
        case "promote":
            ends = "" if rollout.is_ended else " The experiment ends."
            return (
                f"v{rollout.requested.version} takes the place of v{rollout.stable} in {control}, whatever its gates "
                f"say. It is recorded as your decision.{ends}"
            )
        case "abort":
            return (
                f"Only {variation} is stopped: its units get {control} and are not counted there. "
                "The other variations go on."
            )
        case _:
            raise ValueError(f"no order {order!r} on a comparison")


def _where(rollout: Rollout) -> str:
    if rollout.step < 0:
        return "with its launch"
    return f"at step {rollout.step + 1} of {len(rollout.plan.steps)}, {format_weight(rollout.weight)} %"


def _next(rollout: Rollout) -> str:
    steps = rollout.plan.steps
    if rollout.step + 1 < len(steps):
        return f"Next is step {rollout.step + 2}: {format_weight(steps[rollout.step + 1].weight)} %."
    return "It is the last step; promotion is next."


def _kept(rollout: Rollout) -> str:
    return f"stays warm for {format_duration(rollout.plan.bake)}" if rollout.plan.bake else "is stopped"
