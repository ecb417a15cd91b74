"""What a driver shows in the Prefect UI: a table of verdicts, a progress bar, how it ended."""

from __future__ import annotations

import re
from uuid import UUID

from flows.ramp import Tick
from registry.rollout import FULL, Rollout
from registry.units import format_weight
from registry.verdict import Verdict

_shown: dict[str, str] = {}
_bars: dict[str, UUID] = {}


def show_verdicts(seen: Tick, share: float | None) -> None:
    """Publish the verdict table and the progress bar, when either says something new."""
    from prefect.artifacts import create_progress_artifact, create_table_artifact, update_progress_artifact

    rollout = seen.rollout
    key = _key(rollout.id)
    rows = [_row(verdict) for verdict in seen.verdicts]
    text = repr([(row["metric"], row["verdict"], row["looks"]) for row in rows])
    if rows and _shown.get(key) != text:
        _shown[key] = text
        asked = f"{format_weight(rollout.weight)} % asked"
        seen_share = f"{share:.1%} seen" if share is not None else "not seen yet"
        create_table_artifact(key=f"gate-{key}", table=rows, description=f"**{rollout.id}**, {asked}, {seen_share}")
    done = 100.0 * max(rollout.step, 0) / len(rollout.plan.steps) if rollout.weight < FULL else 100.0
    if key not in _bars:
        created = create_progress_artifact(progress=done, key=f"ramp-{key}", description=f"steps of {rollout.id}")
        _bars[key] = created if isinstance(created, UUID) else UUID(str(created))
        _shown[f"bar-{key}"] = str(done)
    elif _shown.get(f"bar-{key}") != str(done):
        _shown[f"bar-{key}"] = str(done)
        update_progress_artifact(artifact_id=_bars[key], progress=done)


def show_ending(rollout: Rollout, changes: tuple[str, ...], task_run: str | None) -> None:
    """Publish how the rollout ended and what the catalog was told."""
    from prefect.artifacts import create_markdown_artifact

    verdicts = "\n".join(f"| {m} | {j.answer} | {j.reason} |" for m, j in rollout.judgements.items())
    told = "\n".join(f"- {change}" for change in changes)
    create_markdown_artifact(
        key=f"ending-{_key(rollout.id)}",
        markdown=(
            f"# {rollout.id}: {rollout.ending or rollout.phase}\n\n{rollout.reason} (by {rollout.actor})\n\n"
            f"| metric | verdict | evidence |\n|---|---|---|\n{verdicts}\n\nMLflow was told:\n{told}\n"
        ),
        description=f"settled by {task_run}",
    )


def _row(verdict: Verdict) -> dict[str, object]:
    return {
        "metric": verdict.metric,
        "verdict": verdict.answer.label,
        "kind": "guardrail" if verdict.guardrail else "gate",
        "stable": _number(verdict.stable_mean),
        "candidate": _number(verdict.candidate_mean),
        "difference": _number(verdict.estimate),
        "interval": f"[{_number(verdict.low)}, {_number(verdict.high)}]",
        "looks": verdict.k,
        "evidence": verdict.reason,
    }


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.4g}"


def _key(rollout: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", rollout.lower()).strip("-")
