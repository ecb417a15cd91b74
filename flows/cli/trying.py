"""--dry-run: what a command would append, told and not done."""

from __future__ import annotations

from typing import Any

from sluicegate.registry.words.errors import UsageError

TRIED = frozenset(
    {
        "rollout start", "rollout pause", "rollout resume", "rollout approve", "rollout jump", "rollout promote",
        "rollout abort", "rollout retry", "rollback", "deploy", "scale", "undeploy", "variation connect",
        "variation disconnect", "audience delete", "token revoke", "token prefect", "experiment start",
        "experiment end",
    }
)  # fmt: skip
"""Commands that are one act, and so can be tried. `sluice diff` is the dry run of `sluice apply`."""


def refuse_untried(words: tuple[str, ...]) -> None:
    """Raise UsageError unless these words begin with a command that can be tried."""
    if not any(" ".join(words[:count]) in TRIED for count in (1, 2)):
        fix = "to see what apply would change: sluice diff -f FILE" if "apply" in words[:2] else "leave it out"
        raise UsageError(f"--dry-run: {' '.join(words[:2]) or 'this'} has no dry run.", fix=fix)


def describe_trial(answer: dict[str, Any]) -> str:
    """What would be appended, a line each."""
    hidden = ("rollout", "seq", "at", "fact", "plan")
    lines = [
        f"would append to {fact['rollout']}: {fact['fact']} "
        + ", ".join(f"{name}={value}" for name, value in fact.items() if name not in hidden and value not in (None, ""))
        for fact in answer["facts"]
    ]
    lines += [f"would write: {document}" for document in answer["documents"]]
    return "\n".join(lines) or "nothing would change"
