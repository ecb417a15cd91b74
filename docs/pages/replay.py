"""docs/reference/gate-replay.md: the lines that `sluice gate replay` reads, from the model that reads them."""

from __future__ import annotations

from docs.pages.tables import NOTICE, code, fields, summary, table
from sluicegate.flows.rehearsal.replay_lines import InfoLine, LookLine, MetricLine, PlanLine, RowLine

_ANSWER = (
    ("verdict", "`pass`, `fail` (final), `undecided`, `no_data`"),
    ("look, step, margin", "which look, at which step, against which margin"),
    ("stable_n, candidate_n", "sound rows so far"),
    (
        "estimate, low, high",
        "candidate minus stable, and an interval that holds at every look: beyond 0 at the one that finds harm",
    ),
    ("alpha_spent", "of the chance of a false alarm, used by now"),
    ("information, information_fraction", "sum of n1 n0 / n over what was compared, and its share of the plan"),
    ("e_value", "evidence of harm; above 1 / alpha is strong"),
    ("failed_at", "the look at which harm was found; null: none"),
    ("ruled_out", "the margins that some look has ruled out"),
    ("rejected_rows", "rows whose sums cannot be true; any of them keeps the verdict from passing"),
    (
        "sample_ratio_mismatch",
        "whether rows, or units, did not come in the shares of their `weight`s (chance .001): then nothing passes",
    ),
    ("reason", "the verdict in words"),
)


def page() -> str:
    """The whole page."""
    kinds = {"Plan": PlanLine, "Its metric": MetricLine, "Look": LookLine, "A row of it": RowLine, "Its info": InfoLine}
    sections = "\n".join(f"## {title}\n\n{summary(kind)}\n\n{fields(kind)}" for title, kind in kinds.items())
    return f"""{NOTICE}
# Gate replay

`sluice gate replay [FILE]` judges recorded or synthetic data by the gate's own statistics, without a running system:
JSON lines in (standard input without a file), one line a look out. `sluice gate replay --rollout ID` judges a rollout's
recorded looks again, prints each verdict with `same`, and ends with exit code 1 when one differs.

```sh
sluice gate replay <<'LINES'
{{"type": "plan", "alpha": 0.05, "metric": {{"kind": "binary", "margin_rel": 0.5}}, "info_total": 2500}}
{{"type": "look", "rows": [\
{{"stratum": 1, "weight": 0.5, "arm": "stable", "n": 500, "sum": 10, "sumsq": 10, "sumcube": 10}}, \
{{"stratum": 1, "weight": 0.5, "arm": "candidate", "n": 500, "sum": 41, "sumsq": 41, "sumcube": 41}}]}}
LINES
```

A plan line starts afresh. A look holds what is *new* since the look before. A line that is neither is refused with its
number and field (exit code 2), and nothing of it is judged. A row whose sums no values can have (not finite, negative
counts, more events than rows, squares too small, over 10^10 rows) is not refused: it counts as missing, and nothing
passes any more.

The gate that judges a rollout judges here. So strata of fewer than twenty rows (or units) are compared with others of
the same `weight`, and wait until there are so many; looks may be as small as one row. Where a weight is null, a stratum
is only compared with itself. With several `margins` and `weights` the rows at the last weight must rule out 1.25 times
the last margin once more by themselves. With `late` values are labels: rows then tell the `requests` too, and labels that do
not come alike in both builds are no data. `info` can only hold a look back: more than the rows hold is not collected.
Pairs of a shadow are no rows of this protocol: how they differ (only one was wrong, by how much, in which
slice) is more than sums by arm can say. `sluice gate replay --rollout ID` judges those too, from the record.

{sections}
## The answer

{table(("field", "meaning"), [(", ".join(code(each) for each in name.split(", ")), meaning) for name, meaning in _ANSWER])}"""
