"""Rules across the fields of a plan: what has no effect, contradicts itself or is absurd. Pure; each names its fix."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace

from sluicegate.registry.plan.acting_rules import acting_faults
from sluicegate.registry.plan.blue_green import blue_green_faults
from sluicegate.registry.plan.confirm import confirm_faults
from sluicegate.registry.plan.external_rules import external_faults
from sluicegate.registry.plan.fields import CAPTURED, GateSpec, MetricSpec, PlanFields
from sluicegate.registry.plan.hook_rules import hook_faults
from sluicegate.registry.plan.limit_rules import limit_faults, shadow_limit_faults
from sluicegate.registry.plan.slice_rules import slice_faults
from sluicegate.registry.plan.staging import REPLAY, staged
from sluicegate.registry.words.suggestions import nearest, suggestion
from sluicegate.registry.words.units import FULL, format_duration, format_share, format_weight

ALPHA_LIMIT = 0.1
"""The highest total alpha of all gates: the chance that a candidate as good as stable is ever stopped."""


_OF_GENERATED = ("status", "latency", "contract")
"""Sources whose values do not depend on who sent the request."""


@dataclass(frozen=True, kw_only=True)
class Broken:
    """A rule that a plan breaks, and its place: a path of keys and positions."""

    at: tuple[str | int, ...]
    message: str
    fix: str

    def __str__(self) -> str:
        return f"{'.'.join(str(part) for part in self.at)}: {self.message} ({self.fix})"


class BrokenRules(ValueError):
    """Every rule that a plan breaks. Pydantic wraps it in its own error."""

    def __init__(self, broken: tuple[Broken, ...]) -> None:
        super().__init__("; ".join(str(rule) for rule in broken))
        self.broken = broken


def broken_rules(plan: PlanFields, champion_alias: str) -> tuple[Broken, ...]:
    """Every broken rule, in the order of the document. `champion_alias` is the alias of stable builds."""
    written, plan = plan, staged(plan, plan.strategy) if plan.switches else plan
    return (
        *_trigger(plan, champion_alias), *_metrics(plan), *_names(plan), *_twice(plan), *_roles(plan), *_fresh(plan),
        *_alphas(plan), *_weights(plan), *_steps(plan), *_ladders(plan), *_deadline(plan), *_shadow(plan),
        *_kept(plan), *_ab(plan), *_offline(plan), *_replay(plan), *_generate(plan), *_scaled(plan),
        *(Broken(at=at, message=what, fix=fix) for at, what, fix in slice_faults(plan)),
        *(Broken(at=at, message=what, fix=fix) for at, what, fix in acting_faults(plan)),
        *(Broken(at=at, message=what, fix=fix) for at, what, fix in hook_faults(plan)),
        *(Broken(at=at, message=what, fix=fix) for at, what, fix in external_faults(plan)),
        *(Broken(at=at, message=what, fix=fix) for at, what, fix in confirm_faults(plan)),
        *(Broken(at=at, message=what, fix=fix) for at, what, fix in blue_green_faults(written)),
    )  # fmt: skip


def _trigger(plan: PlanFields, champion_alias: str) -> Iterator[Broken]:
    alias = plan.trigger.alias if plan.trigger else None
    if alias is not None and (alias == champion_alias or alias.startswith(f"{champion_alias}-")):
        message = f"the alias {alias} is set by sluice itself when a candidate is promoted"
        yield Broken(at=("trigger", "alias"), message=message, fix="use another, such as candidate")


def _offline(plan: PlanFields) -> Iterator[Broken]:
    """Offline gates need a margin or a limit, once for each value, and a certificate needs a gate to certify."""
    if plan.certified and not (plan.gates or plan.guardrails):
        message = "there is no gate and no guardrail to certify"
        yield Broken(at=("certified",), message=message, fix="add one outside of shadow and ab, or remove certified")
    names = Counter(gate.name for gate in plan.offline)
    for position, gate in enumerate(plan.offline):
        if gate.margin is None and gate.limit is None:
            message = f"the offline gate on {gate.metric} has neither a margin nor a limit"
            fix = "write margin: 1% (relative to stable's run), limit: 0.9 (the worst value allowed), or both"
            yield Broken(at=("offline", position, "metric"), message=message, fix=fix)
        if names[gate.name] > 1:
            message = f"{gate.name} has {names[gate.name]} offline gates"
            yield Broken(
                at=("offline", position, "metric"),
                message=message,
                fix="keep one: a gate may have both margin and limit",
            )


def _metrics(plan: PlanFields) -> Iterator[Broken]:
    in_shadow = (*plan.shadow.gates, *plan.shadow.guardrails) if plan.shadow is not None else ()
    replayed = plan.replay.gates if plan.replay is not None else ()
    in_ab = (plan.ab.goal, *plan.ab.guardrails) if plan.ab is not None else ()
    gated = {gate.metric for gate in (*plan.gates, *plan.guardrails, *in_shadow, *replayed, *in_ab)}
    gated |= {plan.confirm.metric} if plan.confirm is not None else set()
    for name, metric in plan.metrics.items():
        for key, message, fix in _metric(name, metric):
            yield Broken(at=("metrics", name, *key), message=message, fix=fix)
        if plan.strategy != "ab" and name not in gated:
            message = f"the metric {name} is used by no gate and no guardrail"
            yield Broken(at=("metrics", name), message=message, fix="add a gate or a guardrail for it, or remove it")


Fault = tuple[tuple[str, ...], str, str]
_FIELDS_OF = {
    "status": frozenset[str](),
    "latency": frozenset({"quantile", "cap"}),
    "outcome": frozenset({"outcome", "score", "prediction", "matures_after", "cap", "range"}),
    "prediction": frozenset({"prediction", "tolerance"}),
    "contract": frozenset[str](),
    "disagreement": frozenset({"prediction", "agree_within"}),
}
_PROBABILITY = ("log_loss", "brier")


def _metric(name: str, metric: MetricSpec) -> Iterator[Fault]:
    for key in sorted(frozenset[str]().union(*_FIELDS_OF.values()) - _FIELDS_OF[metric.source]):
        if getattr(metric, key):
            yield (key,), f"{key} has no effect with source: {metric.source}", "remove it"
    if metric.source == "prediction":
        yield from _prediction(metric)
    elif metric.worse == "lower" and (metric.source != "outcome" or metric.score not in (None, "outcome")):
        yield ("worse",), f"{name} is a loss: higher is always worse", "remove worse: lower"
    if metric.range is not None and not -math.inf < metric.range[0] < metric.range[1] < math.inf:
        yield (
            ("range",),
            "a range needs a smaller and then a larger number",
            "write the least and the largest: [0, 100000]",
        )
    if metric.cap is not None and metric.cap <= 0:
        yield ("cap",), "a cap must be above 0", "write the largest value that still counts as itself"
    if metric.source == "latency":
        yield from _latency(metric)
    if metric.source == "outcome":
        yield from _outcome(name, metric)


def _latency(metric: MetricSpec) -> Iterator[Fault]:
    if metric.quantile is None and metric.cap is None:
        yield (), "a latency metric needs a quantile", "write quantile: 0.99, or for the mean a cap in seconds: cap: 10"
    if metric.quantile is not None and metric.cap is not None:
        yield ("cap",), "a quantile has no cap", "remove cap"


def _prediction(metric: MetricSpec) -> Iterator[Fault]:
    if metric.worse == "lower":
        yield ("worse",), "predictions that differ are neither better nor worse", "remove worse: lower"
    if metric.prediction is not None and metric.prediction.positive is not None:
        yield (
            ("prediction", "positive"),
            "this source does not look at outcomes, so it has no positive class",
            "remove positive",
        )


def _outcome(name: str, metric: MetricSpec) -> Iterator[Fault]:
    if metric.outcome is None:
        yield (), "an outcome metric needs the name under which outcomes arrive", "write outcome: NAME"
    if metric.score is None:
        scores = "log_loss, brier, zero_one, absolute_error, squared_error, outcome"
        yield (), f"no score is named, and {name} is not the name of one", f"write score: one of {scores}"
    if metric.score in _PROBABILITY and (metric.prediction is None or metric.prediction.positive is None):
        message = f"{metric.score} needs to know which outcome's probability the column holds"
        yield ("prediction",), message, "write prediction: {column: probability, positive: 1}"
    if metric.score == "outcome" and metric.prediction is not None:
        yield (
            ("prediction",),
            "score: outcome does not look at the prediction",
            "remove prediction, or name another score",
        )


def _gates(plan: PlanFields) -> Iterator[tuple[str, int, GateSpec]]:
    for section, gates in (("gates", plan.gates), ("guardrails", plan.guardrails)):
        for position, gate in enumerate(gates):
            yield section, position, gate


def _names(plan: PlanFields, *, in_shadow: bool = False) -> Iterator[Broken]:
    for section, position, gate in _gates(plan):
        if gate.metric in plan.metrics and plan.metrics[gate.metric].source == "disagreement":
            yield from _disagreement((section, position), gate, in_shadow)
        if gate.metric not in plan.metrics:
            message = f"there is no metric {gate.metric}"
            yield Broken(at=(section, position, "metric"), message=message, fix=suggestion(gate.metric, plan.metrics))
    spelled = {gate.metric for gate in plan.gates}
    gated = {name if name in plan.metrics else nearest(name, plan.metrics) or name for name in spelled}
    for position, step in enumerate(plan.steps):
        for name in step.margins:
            if name not in gated | spelled:
                fix = suggestion(name, gated)
                message = f"there is no gate on {name}, so a margin for it has no effect"
                yield Broken(at=("steps", position, "margins", name), message=message, fix=fix)


def _disagreement(at: tuple[str, int], gate: GateSpec, in_shadow: bool) -> Iterator[Broken]:
    """Only a shadow and a replay have two answers to one request, and to differ is neither better nor worse."""
    if not in_shadow:
        message = f"{gate.metric} compares two answers to one request; only a shadow and a replay have two"
        yield Broken(at=(*at, "metric"), message=message, fix="move it under shadow: gates:, or replay: gates:")
    elif gate.below is None and at[0] == "gates":
        message = f"{gate.metric} needs the share of answers that may differ"
        yield Broken(at=at, message=message, fix="write below: 2%")


def _twice(plan: PlanFields) -> Iterator[Broken]:
    count = Counter(gate.metric for _, _, gate in _gates(plan))
    gated: set[str] = set()
    for section, position, gate in _gates(plan):
        if count[gate.metric] > 1 and gate.metric in gated:
            message = f"{gate.metric} has a gate already; a gate stops a worse candidate just as a guardrail does"
            yield Broken(at=(section, position, "metric"), message=message, fix="keep one of them")
        gated.add(gate.metric)


def _roles(plan: PlanFields, *, shadowed: bool = False) -> Iterator[Broken]:
    limits = shadow_limit_faults(plan) if shadowed else ()
    for at, message, fix in (*limit_faults(plan), *limits):
        yield Broken(at=at, message=message, fix=fix)
    for position, gate in enumerate(plan.guardrails):
        if gate.margin is not None:
            message = "a guardrail only stops, so it has no margin"
            yield Broken(at=("guardrails", position, "margin"), message=message, fix="remove it, or move it to gates")
        if "beta" in gate.model_fields_set:
            message = "a guardrail never passes anything, so it has no beta"
            yield Broken(at=("guardrails", position, "beta"), message=message, fix="remove it, or move it to gates")
    for position, gate in enumerate(plan.gates):
        spec = plan.metrics.get(gate.metric)
        if spec is not None and spec.source == "prediction":
            message = (
                f"{gate.metric} compares predictions, which can differ but not be better, so it can only be a guardrail"
            )
            yield Broken(at=("gates", position, "metric"), message=message, fix="move it to guardrails")
            continue
        if plan.switches or gate.below is not None or (spec is not None and spec.source == "disagreement"):
            continue
        bare = [i for i in range(len(plan.steps)) if plan.margin(gate, i) is None]
        if bare:
            at = ", ".join(f"{format_weight(plan.steps[i].weight)} %" for i in bare)
            message = f"the gate on {gate.metric} has no margin at {at}, so it could never pass there"
            fix = "write margin: 5%, for a rate of errors below: 1%, or move it to guardrails if it should only stop"
            yield Broken(at=("gates", position), message=message, fix=fix)


def _fresh(plan: PlanFields) -> Iterator[Broken]:
    for section, position, gate in _gates(plan):
        if gate.fresh is not None and (section == "guardrails" or plan.fresh_margin(gate) is None):
            message = "fresh is for a gate that must rule out a margin at the last of several steps; this one does not"
            yield Broken(at=(section, position, "fresh"), message=message, fix="remove it")


def _alphas(plan: PlanFields) -> Iterator[Broken]:
    gates = [gate for _, _, gate in _gates(plan) if gate.decides]
    gates += [plan.confirm.rule] if plan.confirm is not None else []
    total = sum(gate.alpha for gate in gates)
    if total > ALPHA_LIMIT * (1 + 1e-9):
        message = (
            "together the gates and guardrails could stop a candidate that is as good as stable with a "
            f"chance of {total:.3g}"
        )
        each = f"{ALPHA_LIMIT / len(gates):.2g}"
        fix = f"lower their alphas so that they add up to {ALPHA_LIMIT} at most, such as alpha: {each} each"
        at = next((name for name in ("gates", "guardrails") if getattr(plan, name)), "confirm")
        yield Broken(at=(at,), message=message, fix=fix)


def _weights(plan: PlanFields) -> Iterator[Broken]:
    if plan.strategy == "ab" or plan.switches:
        return
    before = 0
    for position, step in enumerate(plan.steps):
        at, weight = ("steps", position, "weight"), step.weight
        if weight >= FULL:
            message = (
                "a step compares two builds, so it must leave stable some requests; 100 % comes with the promotion"
            )
            yield Broken(at=at, message=message, fix="remove the step, or write a smaller weight")
        elif weight <= before:
            message = (
                f"the weight {format_weight(weight)} % is not above {format_weight(before)} %, that of the step before"
            )
            yield Broken(
                at=at, message=message, fix=f"write a weight above {format_weight(before)}, or remove the step"
            )
        before = max(before, weight)


def _steps(plan: PlanFields) -> Iterator[Broken]:
    if not plan.steps:
        yield from _without_steps(plan)
    for position, step in enumerate(plan.steps):
        if step.max_time is not None and step.max_time <= step.soak:
            soak, limit = format_duration(step.soak), format_duration(step.max_time)
            message = f"the step would exceed {limit} before it has soaked for {soak}"
            fix = f"write a max_time above {soak}, or remove it"
            yield Broken(at=("steps", position, "max_time"), message=message, fix=fix)


def _without_steps(plan: PlanFields) -> Iterator[Broken]:
    if not plan.ends_in_shadow:
        fix = (
            "write steps: [{weight: 10}, {weight: 50}]; only a plan with strategy: shadow and without then: "
            "canary has none"
        )
        yield Broken(at=("steps",), message="steps is missing", fix=fix)
        return
    for section in ("gates", "guardrails", "deadline"):
        if getattr(plan, section):
            message = "this belongs to a canary, but the plan has no steps"
            fix = "write steps, or remove it; a shadow ends by shadow: max_time"
            if section != "deadline":
                fix = f"move them under shadow, or write steps: {{shadow: {{{section}: […]}}}}"
            yield Broken(at=(section,), message=message, fix=fix)


def _ladders(plan: PlanFields) -> Iterator[Broken]:
    """Margins must fall or stay from step to step, so that possible harm does not grow with the number of users."""
    for gate in plan.gates:
        before: float | None = None
        for position, step in enumerate(plan.steps):
            margin = plan.margin(gate, position)
            if margin is None:
                continue
            if before is not None and margin > before:
                inner = ("margins", gate.metric) if gate.metric in step.margins else ()
                message = (
                    f"the margin of {gate.metric} grows from {format_share(before)} to {format_share(margin)} here"
                )
                fix = "let margins fall, or stay, as the weight rises"
                yield Broken(at=("steps", position, *inner), message=message, fix=fix)
            before = margin


def _deadline(plan: PlanFields) -> Iterator[Broken]:
    soaks = sum(step.soak for step in plan.steps)
    if plan.deadline is not None and plan.deadline.after <= soaks:
        alone = "the bake alone lasts" if plan.switches else "the steps alone soak for"
        message = f"{alone} {format_duration(soaks)}, so no rollout could meet the deadline"
        yield Broken(at=("deadline", "after"), message=message, fix=f"write more than {format_duration(soaks)}")


def _shadow(plan: PlanFields) -> Iterator[Broken]:
    """A shadow's gates obey the rules of gates, at their own place in the document."""
    shadow = plan.shadow
    if shadow is None:
        if plan.strategy == "shadow":
            message = "strategy: shadow needs to know what to copy, and how long"
            yield Broken(at=("strategy",), message=message, fix="write shadow: {sample: 20, max_time: 2h}")
        return
    yield from _of_pairs(staged(plan, "shadow"), "shadow")
    if shadow.max_time <= shadow.soak:
        message = f"the shadow would end before it has lasted {format_duration(shadow.soak)}"
        fix = f"write a max_time above {format_duration(shadow.soak)}"
        yield Broken(at=("shadow", "max_time"), message=message, fix=fix)
    if shadow.then is not None and not shadow.gates:
        message = "the shadow has no gate to decide whether a canary follows"
        yield Broken(at=("shadow", "then"), message=message, fix="add a gate under shadow, or remove then")


def _replay(plan: PlanFields) -> Iterator[Broken]:
    """A replay's gates obey the rules of a shadow's, and their values must be known as soon as the answers are."""
    replay = plan.replay
    if replay is None:
        return
    yield from _of_pairs(staged(plan, REPLAY), REPLAY)
    if plan.strategy == "ab":
        fix = "remove it, or write strategy: canary"
        yield Broken(at=(REPLAY,), message="an experiment compares builds that are deployed already", fix=fix)
    yield from _captured(plan, replay.requests, REPLAY, "replay")
    for position, gate in enumerate(replay.gates):
        at, spec = (REPLAY, "gates", position), plan.metrics.get(gate.metric)
        if not gate.decides:
            message = "a rule of a replay decides whether the candidate may start, so it cannot have mode: watch"
            yield Broken(
                at=(*at, "mode"), message=message, fix="remove it, or write mode: watch for the metric under shadow"
            )
        if spec is not None and spec.source == "latency":
            message = "requests are replayed one by one, so their latency says nothing about latency under traffic"
            yield Broken(at=(*at, "metric"), message=message, fix="move it to the gates of the canary, or of a shadow")
        if spec is not None and spec.has_open_cap:
            message = (
                f"the values of {gate.metric} have no cap, and none can be taken from stable before there is traffic"
            )
            yield Broken(
                at=(*at, "metric"), message=message, fix=f"write a cap or a range under metrics: {gate.metric}"
            )


def _scaled(plan: PlanFields) -> Iterator[Broken]:
    """Only one of autoscaler and replicas may decide how many replicas there are."""
    if plan.serve.placement.autoscaler is not None and plan.serve.replicas != 1:
        message = "an autoscaler decides how many replicas there are, and replicas says it too"
        yield Broken(at=("serve", "replicas"), message=message, fix="remove replicas, or placement: autoscaler")


def _captured(plan: PlanFields, requests: str, section: str, what: str) -> Iterator[Broken]:
    """Recorded requests can be sent again only if services record them in full."""
    if requests == CAPTURED and plan.serve.capture.features != "full":
        message = f"no request is captured in full, so there would be none to {what}"
        fix = "write serve: {capture: {features: full}}, or requests: /path/of/requests.jsonl"
        yield Broken(at=(section, "requests"), message=message, fix=fix)


def _generate(plan: PlanFields) -> Iterator[Broken]:
    """Generated requests need gates that can judge them: next to stable, or after a switch."""
    if plan.generate is None:
        return
    yield from _captured(plan, plan.generate.requests, "generate", "send")
    if plan.strategy == "ab" or plan.ends_in_shadow:
        message = (
            "requests are generated while a candidate answers a share of requests, but this plan never gives it a share"
        )
        yield Broken(at=("generate",), message=message, fix="remove it, or write strategy: canary with steps")
        return
    ruled = {gate.metric for gate in (*plan.gates, *plan.guardrails)}
    if not any(spec.source in _OF_GENERATED for name, spec in plan.metrics.items() if name in ruled):
        message = "generated requests count only for errors, latency and contract, and no gate judges one of these"
        yield Broken(at=("generate",), message=message, fix="add a gate with source: status, latency or contract")


def _of_pairs(copied: PlanFields, at: str) -> Iterator[Broken]:
    """What is wrong with the gates and guardrails of a section that compares two answers to each request."""
    for rule in (
        *_names(copied, in_shadow=True),
        *_twice(copied),
        *_roles(copied, shadowed=True),
        *_fresh(copied),
        *_alphas(copied),
    ):
        yield replace(rule, at=(at, *rule.at))
    yield from _paired(copied, at)


def _paired(staged: PlanFields, within: str) -> Iterator[Broken]:
    """Metrics that say nothing about two answers to one request."""
    for section, position, gate in _gates(staged):
        spec, at = staged.metrics.get(gate.metric), (within, section, position, "metric")
        if spec is None:
            continue
        if spec.source == "outcome" and spec.score == "outcome":
            message = f"{gate.metric} is the outcome itself, which is the same for both answers to a request"
            yield Broken(at=at, message=message, fix="name a score that looks at the prediction, such as log_loss")
        if spec.source == "prediction":
            message = (
                f"{gate.metric} compares predictions on different requests, but here both builds answer the same ones"
            )
            yield Broken(at=at, message=message, fix="use a metric with source: disagreement")
        if spec.source == "disagreement" and section == "guardrails":
            message = "a limit on how many answers may differ belongs to a gate, not to a guardrail"
            yield Broken(
                at=at, message=message, fix="move it to gates, with below: 2%; a gate stops the rollout as well"
            )


def _ab(plan: PlanFields) -> Iterator[Broken]:
    """The goal and guardrails of an experiment obey the rules of gates, at their own places."""
    ab = plan.ab
    if ab is None:
        if plan.strategy == "ab":
            message = "strategy: ab needs to know which variations to compare, by what, and how long"
            fix = f"write ab: {{variations: {{{plan.variation}: 1, b: 1}}, goal: {{metric: NAME}}, max_time: 14d}}"
            yield Broken(at=("strategy",), message=message, fix=fix)
        return
    if plan.strategy == "ab" and plan.trigger is not None:
        message = "an experiment compares builds that are deployed already, so a trigger cannot name a candidate"
        yield Broken(at=("trigger",), message=message, fix="remove it, or write strategy: canary")
    if plan.variation not in ab.variations:
        message = f"the plan's own variation {plan.variation} is the control, but it is not listed"
        yield Broken(at=("ab", "variations"), message=message, fix=f"add {plan.variation}: 1")
        return
    if "beta" in ab.goal.model_fields_set:
        message = "an experiment has no beta: its alpha limits both mistakes"
        yield Broken(at=("ab", "goal", "beta"), message=message, fix="remove it")
    whole = staged(plan, "ab", next(name for name in ab.variations if name != plan.variation)).model_copy(
        update={"gates": (ab.goal.model_copy(update={"margin": ab.goal.margin or 0.0}),), "guardrails": ab.guardrails}
    )
    for rule in (*_names(whole), *_twice(whole), *_roles(whole), *_fresh(whole), *_alphas(whole)):
        section, *rest = rule.at
        inner = ("goal", *rest[1:]) if section == "gates" else (section, *rest)
        yield replace(rule, at=("ab", *inner))
    if ab.max_time <= ab.soak:
        message = f"the experiment would end before it has lasted {format_duration(ab.soak)}"
        yield Broken(at=("ab", "max_time"), message=message, fix=f"write a max_time above {format_duration(ab.soak)}")


def _kept(plan: PlanFields) -> Iterator[Broken]:
    """Requests must be kept until their late values count, and predictions must be kept if they are scored."""
    for name, metric in plan.metrics.items():
        at, after = ("metrics", name, "matures_after"), format_duration(metric.matures_after)
        if metric.matures_after >= plan.kept_for:
            kept = format_duration(plan.kept_for)
            message = f"requests are kept for {kept}, but a value counts only after {after}"
            yield Broken(at=at, message=message, fix=f"write retention: above {after}, or leave it out")
        is_late = plan.confirm is not None and plan.confirm.metric == name
        if plan.deadline is not None and metric.matures_after >= plan.deadline.after and not is_late:
            message = (
                f"the deadline comes after {format_duration(plan.deadline.after)}, but a value counts only "
                f"after {after}"
            )
            yield Broken(at=at, message=message, fix=f"write a deadline above {after}, or a shorter matures_after")
    blind = [name for name, metric in plan.metrics.items() if _reads_predictions(metric)]
    if blind and plan.serve.capture.predictions == "off":
        message = f"{', '.join(blind)} would compare predictions, but none are kept"
        fix = "write predictions: summary, or remove it"
        yield Broken(at=("serve", "capture", "predictions"), message=message, fix=fix)
    capture = plan.serve.capture
    for position, header in enumerate(capture.headers):
        place = ("serve", "capture", "headers", position)
        if header in _SECRET:
            yield Broken(at=place, message=f"{header} holds credentials, which are never written down", fix="remove it")
        if not capture.has_bodies:
            message = f"{header} would be written beside bodies, but none are written"
            yield Broken(at=place, message=message, fix="write features: full or hashed, or remove it")
    if capture.share != type(capture).model_fields["share"].default and not capture.has_bodies:
        message = "share has no effect: no bodies are written"
        yield Broken(
            at=("serve", "capture", "share"), message=message, fix="write features: full or hashed, or remove it"
        )


_SECRET = frozenset({"authorization", "cookie", "proxy-authorization", "x-api-key"})
"""Headers whose values are credentials, and so are never recorded."""


def _reads_predictions(metric: MetricSpec) -> bool:
    scored = metric.source == "outcome" and metric.score != "outcome"
    return scored or metric.source in ("prediction", "disagreement")
