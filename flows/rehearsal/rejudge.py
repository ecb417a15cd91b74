"""`sluice gate replay --rollout`: judge a rollout's recorded looks again. A verdict that differs is a defect. Pure."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from sluicegate.flows.gate.judge import verdict
from sluicegate.registry.plan.fields import GateSpec
from sluicegate.registry.plan.plan import Plan
from sluicegate.registry.words.verdict import Look, Verdict


@dataclass(frozen=True, kw_only=True)
class Rejudged:
    """A recorded look, judged again."""

    verdict: Verdict
    is_same: bool
    """Whether the recorded verdict is this one."""

    def as_json(self) -> str:
        """One line: the verdict's fields, and `same`."""
        fields = dataclasses.asdict(self.verdict)
        names = {name: "verdict" if name == "answer" else name for name in fields}
        return json.dumps({names[name]: value for name, value in fields.items()} | {"same": self.is_same})


def rejudge(
    plan: Plan, looks_of: Callable[[str], Sequence[Look]], gates: Sequence[tuple[GateSpec, bool]],
    beside: str = "stable",
) -> Iterator[Rejudged]:  # fmt: skip
    """Every recorded look of every gate. `looks_of` gives a metric's looks in order of k; `gates` are the plan's, each
    with whether it is a guardrail, as this rollout had them; `beside` is what it called the stable build."""
    for gate, guardrail in gates:
        looks = looks_of(gate.metric)
        for k, look in enumerate(looks, start=1):
            again = verdict(
                plan=plan, gate=gate, guardrail=guardrail, step=look.step, looks=looks[:k], beside=beside,
                since=look.verdict.since,
            )  # fmt: skip
            recorded = _recorded(plan, gate, look, guardrail)
            yield Rejudged(verdict=again, is_same=recorded is None or recorded == again)


def _recorded(plan: Plan, gate: GateSpec, look: Look, guardrail: bool) -> Verdict | None:
    """The verdict that the look records, if it is this gate's: a metric may be gate and guardrail at once."""
    is_shared = sum(other.metric == gate.metric for other in (*plan.gates, *plan.guardrails)) > 1
    is_own = look.verdict.guardrail == guardrail and look.verdict.alpha == gate.alpha
    return None if is_shared and not is_own else look.verdict
