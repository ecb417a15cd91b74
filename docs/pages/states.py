"""docs/reference/rollout-states.md: drawn from the state machine itself, by letting it advance."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime

from docs.pages.tables import NOTICE, field_types, table
from sluicegate.registry.rollout import facts
from sluicegate.registry.rollout.facts import FACTS, Entry, Fact
from sluicegate.registry.rollout.moves import admits, advance
from sluicegate.registry.rollout.rollout import Ending, Phase, Rollout

_AT = datetime(2026, 1, 1, tzinfo=UTC)
_PLAN: dict[str, object] = {"model": "m", "steps": [{"weight": 10, "check": {"deployment": "a/b"}}, {"weight": 50}]}
_REQUESTED = facts.Requested(
    model="m", variation="default", version="2", strategy="canary", plan=_PLAN, plan_digest="d", actor="a", cause="c"
)
_CONFIRMED: dict[str, object] = {
    "metrics": {"repaid": {"source": "outcome", "outcome": "repaid", "score": "zero_one", "matures_after": "30d"}},
    "confirm": {"metric": "repaid", "margin": "5%", "max_time": "60d"},
}
_SAMPLES: dict[str, object] = {"overrides": (), "party": facts.Party.PERSON,
    "step": 0, "weight": 5000, "epoch": 0, "attempt": 1, "former": 0, "position": 0, "override": True, "verdicts": {}, "k": 1, "threshold": 0.1, "rows": 200,
    "changes": (), "plan": {}, "until": "2026-01-04T00:00:00+00:00",
}  # fmt: skip


def page() -> str:
    """The whole page."""
    heads = ("fact", *(phase.value for phase in Phase))
    rows = [(f"[{name}](facts.md#{name.lower()})", *_cells(kind)) for name, kind in FACTS.items()]
    return f"""{NOTICE}
# Rollout states

A rollout's state follows from its [facts](facts.md). A fact that the phase does not allow is refused (`IllegalMove`) and
leaves no trace.

```mermaid
{_diagram()}
```

## Which phase allows which fact

A cell names the next phase; `stays` means that the phase remains, an empty cell that the fact is refused. The first fact, Requested, opens a rollout.
Some facts have further conditions: a step and a promotion need a candidate that is ready; a promotion needs a passing
verdict of every gate at the last step, or a named person's override; `Established` needs an empty variation, `Undeployed` and `Scaled` a build that took over.

{table(heads, rows)}"""


def follows(phase: Phase, kind: type[Fact]) -> list[Phase]:
    """The phases that may follow when a fact comes in a phase; none where it is refused."""
    if not admits(phase, kind):
        return []
    phases = {advance(state, _entry(kind, state)).phase for state in _examples(phase, kind)}
    return [phase for phase in Phase if phase in phases]


def _cells(kind: type[Fact]) -> Iterator[str]:
    for phase in Phase:
        there = follows(phase, kind)
        yield "stays" if there == [phase] else " or ".join(there)


def _examples(phase: Phase, kind: type[Fact]) -> Iterator[Rollout]:
    """Rollouts in a phase in which a fact of this kind is possible; a pause may come before the first step too."""
    late = replace(_REQUESTED, plan=_PLAN | _CONFIRMED)
    plans = (_REQUESTED, late) if kind is facts.Promoted else (late if phase is Phase.CONFIRMING else _REQUESTED,)
    steps = (-1, 0) if phase is Phase.PAUSED and kind not in (facts.Approved, facts.Checked) else (0,)
    steps = (1,) if kind is facts.Jumped else steps
    packed = facts.Packed(bento="b", bento_digest="d", model_digest="m")
    state = Rollout(
        id="r", seq=1, requested=_REQUESTED, requested_at=_AT, epoch_began_at=_AT, phase=phase, packed=packed, ready=True,
        stable=None if kind is facts.Established else "1", promoted_at=_AT if phase in (Phase.CONFIRMING, Phase.BAKING) else None,
        ending=Ending.PROMOTED if kind in (facts.Undeployed, facts.Scaled) else None,
    )  # fmt: skip
    return (replace(state, step=step, requested=plan) for step in steps for plan in plans)


def _entry(kind: type[Fact], state: Rollout) -> Entry:
    step = {"step": state.step + 1} if kind is facts.StepEntered else {}
    step |= {"step": 0, "former": 1, "weight": 1000} if kind is facts.Jumped else {}
    values = {field: {**_SAMPLES, **step}.get(field, "x") for field in field_types(kind)}
    return Entry(rollout="r", seq=2, at=_AT, fact=kind(**values))  # type: ignore[arg-type]


def _diagram() -> str:
    """The moves from one phase to another; what keeps a phase stands in the table only."""
    moves: dict[tuple[Phase, Phase], list[str]] = {}
    for phase in Phase:
        for name, kind in FACTS.items():
            for there in follows(phase, kind):
                moves.setdefault((phase, there), []).append(name)
    arrows = [f"    {here} --> {there}: {', '.join(names)}" for (here, there), names in moves.items() if here != there]
    return "\n".join(["stateDiagram-v2", "    [*] --> queued: Requested", *arrows, "    ended --> [*]"])
