"""What a state or a verdict looks like on every page and chart: its colour, its mark, and what it means. Pure.

The colours are those of `colours.css`. A mark stands beside the word, so that nobody has to tell colours apart.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Shown:
    """How a word is shown."""

    tone: str
    """The name of its colour in `colours.css`."""
    mark: str
    meaning: str = ""


COLOURS = {
    "going": "under way: nobody has to do anything",
    "wait": "waits for a person, or deserves a look",
    "good": "went well",
    "bad": "went wrong",
    "plain": "says neither good nor bad",
}
"""The meaning of each colour."""

STATES = {
    "queued": Shown(tone="going", mark="▸", meaning="waits until another rollout of the variation has ended"),
    "launching": Shown(tone="going", mark="▸", meaning="the candidate is being packed and started"),
    "running": Shown(tone="going", mark="▸", meaning="the candidate gets requests and is judged"),
    "confirming": Shown(
        tone="going", mark="▸", meaning="promoted; the last stable build keeps a share until late labels have come"
    ),
    "baking": Shown(tone="going", mark="▸", meaning="promoted; the last stable build is still ready to take over"),
    "paused": Shown(tone="wait", mark="‖", meaning="keeps its traffic split until a person resumes or aborts it"),
    "promoted": Shown(tone="good", mark="✓", meaning="the candidate is the stable build now"),
    "established": Shown(tone="good", mark="✓", meaning="the first build of its variation is the stable build now"),
    "aborted": Shown(tone="bad", mark="↺", meaning="rolled back: every request goes to the stable build again"),
    "failed": Shown(tone="bad", mark="✕", meaning="the candidate could not be started and got no request"),
    "concluded": Shown(tone="plain", mark="■", meaning="the comparison is over and nothing was changed"),
    "superseded": Shown(tone="plain", mark="→", meaning="a newer candidate took its place"),
}
"""The states of a rollout, in the order of the legend."""

VERDICTS = {
    "PASS": Shown(tone="good", mark="✓", meaning="shown not to be worse than the plan allows"),
    "OK": Shown(tone="good", mark="✓", meaning="no harm found so far; it need not pass"),
    "FAIL": Shown(tone="bad", mark="✕", meaning="shown to be worse; this is final"),
    "UNDECIDED": Shown(tone="going", mark="…", meaning="not enough data for either answer yet; it must still pass"),
    "NO DATA": Shown(tone="plain", mark="○", meaning="cannot be judged now, and so cannot pass"),
}
"""The verdicts of a gate."""

_OTHERS = {
    "not begun": Shown(tone="plain", mark="○"),
    "over": Shown(tone="plain", mark="■"),
    "done": Shown(tone="good", mark="✓"),
    "ended early": Shown(tone="bad", mark="✕"),
    "skipped": Shown(tone="wait", mark="→"),
    "under way": Shown(tone="going", mark="▸"),
    "not reached": Shown(tone="plain", mark="○"),
    "MISMATCH": Shown(tone="bad", mark="✕"),
    "NOT TESTED": Shown(tone="plain", mark="○"),
    "WARN": Shown(tone="wait", mark="!"),
}
"""Words of experiments, steps, sample ratios and health checks."""


def shown(word: str) -> Shown:
    """How a state, a verdict or another answer is shown; an unknown word is plain, without a mark."""
    known = STATES.get(word) or VERDICTS.get(word) or _OTHERS.get(word)
    return known or Shown(tone="plain", mark="")
