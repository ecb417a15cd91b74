"""--dry-run: show what a command would append, without doing it."""

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
"""Commands that consist of one act and so have a dry run. `sluice diff` is the dry run of `sluice apply`."""


def refuse_untried(words: tuple[str, ...]) -> None:
    """Raise UsageError unless the words begin with a command that has a dry run."""
    if not any(" ".join(words[:count]) in TRIED for count in (1, 2)):
        fix = "to see what apply would change: sluice diff -f FILE" if "apply" in words[:2] else "leave it out"
        raise UsageError(f"--dry-run: {' '.join(words[:2]) or 'this'} has no dry run.", fix=fix)


def describe_trial(answer: dict[str, Any]) -> str:
    """One line for each fact or document that would be written."""
    left_out = ("rollout", "seq", "at", "fact", "plan")
    lines = [
        f"would append to {fact['rollout']}: {fact['fact']} "
        + ", ".join(f"{key}={value}" for key, value in fact.items() if key not in left_out and value not in (None, ""))
        for fact in answer["facts"]
    ]
    lines += [f"would write: {document}" for document in answer["documents"]]
    return "\n".join(lines) or "nothing would change"
