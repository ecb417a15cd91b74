"""`sluice gate replay --rollout`: judge a rollout's recorded looks again. A verdict that differs is a defect. Pure."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Iterator, Sequence

from sluicegate.flows.gate.design import gates_of
from sluicegate.flows.gate.judge import verdict
from sluicegate.registry.plan.fields import GateSpec
from sluicegate.registry.plan.plan import Plan
from sluicegate.registry.words.verdict import Look, Verdict


def rejudge(plan: Plan, looks_of: Callable[[str], Sequence[Look]]) -> Iterator[str]:
    """One JSON line for each recorded look: the verdict again, and whether the recorded one is the same.

    `looks_of` gives a metric's looks in order of k.
    """
    for gate, guardrail in gates_of(plan):
        looks = looks_of(gate.metric)
        for k, look in enumerate(looks, start=1):
            again = verdict(plan=plan, gate=gate, guardrail=guardrail, step=look.step, looks=looks[:k])
            yield _line(again, _recorded(plan, gate, look, guardrail))


def is_same(line: str) -> bool:
    """Whether a line of `rejudge` agrees with the record."""
    return bool(json.loads(line)["same"])


def _recorded(plan: Plan, gate: GateSpec, look: Look, guardrail: bool) -> Verdict | None:
    """The verdict that the look records, if it is this gate's: a metric may be gate and guardrail at once."""
    is_shared = sum(other.metric == gate.metric for other in (*plan.gates, *plan.guardrails)) > 1
    is_own = look.verdict.guardrail == guardrail and look.verdict.alpha == gate.alpha
    return None if is_shared and not is_own else look.verdict


def _line(again: Verdict, recorded: Verdict | None) -> str:
    fields = {("verdict" if name == "answer" else name): value for name, value in dataclasses.asdict(again).items()}
    return json.dumps(fields | {"same": recorded is None or recorded == again})
