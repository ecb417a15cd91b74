"""The watch tree: one rollout in a few lines of text, the same for a terminal and a pipe. Pure."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from typing import Any

from sluicegate.registry.words.figures import lasting, per_cent
from sluicegate.registry.words.launching import OF_A_STORE, Stage
from sluicegate.registry.words.verdict import SliceFigures

View = Mapping[str, Any]
WIDE = 100
"""Terminal width, in columns, from which a gate's sentence is beside its verdict rather than below it."""
_BESIDE = "\t"
"""Separates a gate's verdict from its sentence until the width is known."""


def tree(view: View, width: int | None = None) -> str:
    """The rollout as a text tree: head line, arms, gates, what it waits for, and below it the rest of the reason.

    With a width, longer lines are wrapped and indented under their beginning.
    """
    text = _tree(view)
    if width is None:
        return text.replace(_BESIDE, " ")
    return "\n".join(_folded(line, width) for line in text.splitlines())


def _folded(line: str, width: int) -> str:
    """Wrap one line to the width; the branches of the tree continue beside it."""
    branch = line[: len(line) - len(line.lstrip("|`+- "))]
    below = "".join("|" if mark in "|+" else " " for mark in branch) + "  "
    gate, _, sentence = line.partition(_BESIDE)
    if not sentence or len(line) <= width:
        return _wrapped(line.replace(_BESIDE, " "), width, below)
    if width >= WIDE:
        return _wrapped(f"{gate} {sentence}", width, below.ljust(len(gate) + 1))
    return f"{_wrapped(gate.rstrip(), width, below)}\n{_wrapped(below + sentence, width, below)}"


def _wrapped(line: str, width: int, below: str) -> str:
    return "\n".join(textwrap.wrap(line, max(width, len(below) + 20), subsequent_indent=below)) or line


def _tree(view: View) -> str:
    lines = [head(view), *_launch(view), *_split(view), *_arms(view), *_preview(view), *_generated(view)]
    before, outside = (
        (_offline(each) for each in view["offline"]),
        (_external(each) for each in view["external"]),
    )
    gates = [*before, *(_gate(each) for each in view["gates"]), *outside]
    lines += [f"|  {'`' if position == len(gates) - 1 else '+'}- {each}" for position, each in enumerate(gates)]
    lines += [f"+- errors of {arm}: {what}" for arm, what in view["errors"].items()]
    by = f"  (by {view['actor']})" if view["actor"] else ""
    reason, _, block = str(view["reason"]).partition("\n")
    last = [f"{reason}{by}"]
    if view["waits_for"]:
        last.append(f"{_awaits(view)}: {_awaited(view)}")
    last += [view[name] for name in ("blind", "no_driver") if view[name]]
    last = [*(_hook(each) for each in view["hooks"]), *last]
    return "\n".join((*lines, *(f"+- {line}" for line in last[:-1]), f"`- {last[-1]}", *(["", block] if block else [])))


def _awaits(view: View) -> str:
    if view["needs_person"]:
        return "waits for a person"
    return "now" if view["launch"] is not None else "next"


def _preview(view: View) -> list[str]:
    """Where callers reach the candidate by its name."""
    return [f"+- preview: POST {view['preview']} at the gateway"] if view.get("preview") else []


def _generated(view: View) -> list[str]:
    """The requests that Sluicegate generates itself."""
    return [f"+- generated: {view['generated']}"] if view.get("generated") else []


def _awaited(view: View) -> str:
    """What the rollout waits for, without the sentences that the gates show already."""
    awaited = str(view["waits_for"])
    for gate in (*view["gates"], *view["external"]):
        awaited = awaited.replace(f": {gate['reason']}", "")
    return awaited


def head(view: View) -> str:
    """The rollout in one line."""
    state = (view["ending"] or view["phase"]).upper()
    observed = "" if view["observed_weight"] is None else f", {per_cent(view['observed_weight'])} observed"
    weight = f"weight {per_cent(view['weight'])}{'' if view['observed'] else ' (not yet in force)'}{observed}"
    step = f"step {view['step']}/{view['steps']}  " if view["step"] else ""
    elapsed = lasting(view["elapsed"])
    return f"{view['model']}  {view['strategy'].upper()} {state}  {step}{weight}  {elapsed} elapsed  [{view['id']}]"


def bar(weight: float, width: int = 20) -> str:
    """The candidate's share of requests as a bar. Only 0 % is empty, and only 100 % is full."""
    filled = round(weight / 100 * width)
    filled = min(max(filled, 1), width - 1) if 0 < weight < 100 else filled
    return f"[{'#' * filled}{'.' * (width - filled)}]"


def _launch(view: View) -> list[str]:
    """The stages of a launch, with the present one marked. Their durations are in what the rollout waits for."""
    if view["launch"] is None:
        return []
    stages = [each.name.lower() for each in Stage if each not in OF_A_STORE or each.name.lower() == view["launch"]]
    reached = stages.index(view["launch"]) + 1 if view["launch"] in stages else 0
    names = " > ".join(f"[{name}]" if name == view["launch"] else name for name in stages)
    return [f"+- launch {bar(100 * reached / (len(stages) + 1), len(stages) + 1)} {names}"]


def _split(view: View) -> list[str]:
    """How requests are split between the builds, while both answer."""
    if view["strategy"] == "shadow" or view["ending"] is not None or not 0 < view["weight"] < 100:
        return []
    parts = f"{per_cent(view['weight'])} v{view['candidate']}, {per_cent(100 - view['weight'])} v{view['stable']}"
    return [f"+- {bar(view['weight'])} {parts}"]


def _arms(view: View) -> list[str]:
    """The builds, with request counts while both are compared. A promoted candidate is listed as stable."""
    counts = (view["stable_requests"], view["candidate_requests"])
    first, second = ("former", "stable") if _took_over(view) else ("stable", "candidate")
    arms = ((first, view["stable"], counts[0]), (second, view["candidate"], counts[1]))
    return [
        f"+- {name:<10} v{version:<5} {f'{requests:,} requests at this weight' if any(counts) else ''}".rstrip()
        for name, version, requests in arms
        if version is not None
    ]


def _took_over(view: View) -> bool:
    """Whether the candidate has become the stable build."""
    return view["ending"] in ("promoted", "established") or view["phase"] in ("confirming", "baking")


def _offline(gate: View) -> str:
    return f"offline {gate['gate']:<9} {gate['verdict']:<10}{_BESIDE}{gate['reason']}"


def _hook(hook: View) -> str:
    outcome = f"{hook['answer'].replace('_', ' ').upper()} at attempt {hook['attempt']}"
    return f"hook after {hook['after']}: {hook['hook']} {outcome}: {hook['reason']}"


def _external(gate: View) -> str:
    kind = "watch" if gate["then"] == "nothing" else "guard" if gate["guardrail"] else "external"
    return f"{kind} {gate['gate']:<12} {gate['verdict']:<10}{_BESIDE}{gate['reason']}"


def _gate(gate: View) -> str:
    kind = "watch" if gate.get("then") == "nothing" else "guard" if gate["guardrail"] else "gate"
    worst = (f"\n|     {SliceFigures(**each)}" for each in gate.get("slices", ()))
    earlier = f"at step {gate['step']}, not judged at this step yet: " if gate.get("must_pass_again") else ""
    return f"{kind} {gate['metric']:<12} {gate['verdict']:<10}{_BESIDE}{earlier}{gate['reason']}{''.join(worst)}"
