"""What a shadow's sums say: by kind of output, by slice, over time; and how it is shown."""

from __future__ import annotations

import json
import random
import re
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from pydantic_core import to_jsonable_python

from sluicegate.flows.cli.shadow import _table
from sluicegate.flows.shadow.reading import ShadowContext, shadow_view
from sluicegate.registry.plan.fields import MetricSpec, Source
from sluicegate.registry.report.shadow_view import ColumnView, ShadowView, WorstView
from sluicegate.registry.words.metric import Arm
from sluicegate.registry.words.outputs import OutputKind
from sluicegate.services.report.page import shadow_page
from sluicegate.services.telemetry.pairs.comparison import TOP, Comparison, Unpaired, compare_pair
from sluicegate.services.telemetry.pairs.disagreement import differing, disagreement_of
from sluicegate.services.telemetry.pairs.pair import Pair
from sluicegate.services.telemetry.pairs.sums import PairSums, bin_of_number, edges
from sluicegate.services.telemetry.tally.exposure import Exposure

AROUND = ShadowContext(
    rollout="s1", model="m", stable="1", candidate="2", sample=20.0, dropped=3, declared=("size (long) is new",)
)  # fmt: skip


def answer(rows: list[list[object]], columns: list[str] | None = None, **changes: object) -> Exposure:
    told = json.dumps({"c": columns or ["prediction"], "r": rows})
    base = Exposure(
        rid="r", at=1, model="m", variation="default", audience="a", rollout="s1", epoch=1, bucket=300, weight=2_000,
        arm=Arm.STABLE, assigned="1", served="1", unit=None, status=200, failed=0, duration=8_000, attempts=1,
        prediction=told,
    )  # fmt: skip
    return base._replace(**changes)


def compared(served: Exposure, copied: Exposure) -> Comparison | Unpaired:
    return compare_pair(served, copied, {})


def said(served: object, copied: object, within: float | None = None) -> bool:
    found = compared(answer([[served]]), answer([[copied]]))
    assert isinstance(found, Comparison)
    return found.differs(within=within)


@pytest.mark.parametrize(
    ("served", "copied", "within", "differs"),
    [
        ("a", "a", None, False), ("a", "b", None, True), ("a", "b", 5.0, True), (1, "1", None, False),
        (True, 1, None, False), (0.25, 0.25, None, False), (0.25, 0.2500000001, None, False),
        (0.25, 0.26, None, True), (0.25, 0.26, 0.02, False), (None, None, None, False), (None, 0.2, None, True),
        (None, 0.2, 9.0, True), (3, 4, None, True),
        ("one two three four " * 5, "one two three four " * 5, None, False),
        ("one two three four " * 5, "one two three five " * 5, None, True),
        ("one two three four " * 5, "one two three five " * 5, 0.5, False),
    ],
)  # fmt: skip
def test_values_are_compared_by_their_kind(served: object, copied: object, within: float | None, differs: bool) -> None:
    assert said(served, copied, within) is differs


def test_shapes_are_compared() -> None:
    two = answer([["a", 1]], ["label", "size"])
    for other, schema in (
        (answer([["a"]], ["label"]), "columns label where stable has label, size"),
        (answer([["a", 1], ["b", 2]], ["label", "size"]), "2 rows where stable has 1"),
        (answer([["a", 1]], ["label", "size"], status=400), "answered 400 where stable answered 200"),
    ):
        found = compared(two, other)
        assert isinstance(found, Comparison)
        assert (found.schema, found.differs()) == (schema, True)


def test_the_largest_of_a_vector_is_a_label_of_its_own() -> None:
    served, copied = answer([[0.5, 0.4, 0.1]], ["0", "1", "2"]), answer([[0.44, 0.46, 0.1]], ["0", "1", "2"])
    found = compared(served, copied)
    assert isinstance(found, Comparison)
    assert [(c.served, c.copied) for c in found.cells if c.column == TOP] == [(0, 1)]
    assert (found.differs(within=0.1), found.differs(TOP, within=0.1)) == (False, True)


def test_a_table_is_compared_column_by_column() -> None:
    found = compared(answer([["a", 1.0]], ["label", "size"]), answer([["a", 1.5]], ["label", "size"]))
    assert isinstance(found, Comparison)
    assert (found.differs("label"), found.differs("size"), found.differs()) == (False, True, True)


def test_bins_of_numbers_hold_what_they_say() -> None:
    for value in (-1e9, -3.0, -0.001, 0.0, 1e-9, 0.2, 17.0, 1e6):
        low, high = edges(bin_of_number(value))
        assert low <= value < high or value == pytest.approx(high)


def view_of(pairs: list[tuple[Exposure, Exposure, tuple[str, ...]]], around: ShadowContext = AROUND) -> ShadowView:
    sums = PairSums()
    for served, copied, slices in pairs:
        pair = Pair(served=served, copied=copied)
        sums.count("copies", "answered")
        sums.take(pair, compare_pair(served, copied, {}), slices)
    return shadow_view(sums.tallies(), around)


def column(view: ShadowView, name: str = "prediction") -> ColumnView:
    return next(each for each in view.columns if each.column == name)


def test_labels_have_a_flip_rate_and_a_confusion_table() -> None:
    view = view_of([(answer([["a"]]), answer([["b" if i % 20 == 0 else "a"]]), ()) for i in range(400)])
    found = column(view)
    assert found.flips is not None
    assert (found.kind, found.flips.value, found.flips.n) == ("label", 0.05, 400)
    assert found.flips.low < 0.05 < found.flips.high
    assert [(f.stable, f.candidate, f.n) for f in found.confusion] == [("a", "b", 20), ("a", "a", 380)]


def test_numbers_have_a_difference_a_distribution_and_an_agreement_of_ranks() -> None:
    rng = random.Random(2)
    pairs = [(score := rng.random(), score + 0.01 + rng.gauss(0, 0.001)) for _ in range(1_000)]
    found = column(view_of([(answer([[x]]), answer([[y]]), ()) for x, y in pairs]))
    assert found.difference is not None
    assert found.difference.value == pytest.approx(0.01, abs=2e-4)
    assert found.difference.low > 0 or found.difference.high < 0
    assert found.spread == pytest.approx(0.001, rel=0.1)
    assert (found.correlation or 0) > 0.999
    assert (found.rank_agreement or 0) > 0.98
    assert sum(bar.candidate for bar in found.differences) == 1_000
    assert sum(bar.stable for bar in found.levels) == sum(bar.candidate for bar in found.levels) == 1_000
    turned = column(view_of([(answer([[x]]), answer([[-x]]), ()) for x, _ in pairs]))
    assert (turned.rank_agreement, round(turned.correlation or 0, 6)) == (-1.0, -1.0)


def test_nan_is_told_by_whose_it_is() -> None:
    values = [(None, None), (0.1, None), (0.1, None), (None, 0.2), (0.1, 0.1)]
    found = column(view_of([(answer([[x]]), answer([[y]]), ()) for x, y in values]))
    assert found.missing == {"both": 1, "copied": 2, "served": 1}
    assert found.kind == OutputKind.NUMBER.value


def test_coverage_and_time_and_latency() -> None:
    pairs = [
        (answer([["a"]], bucket=300 * (i % 2)), answer([["a" if i % 4 else "b"]], duration=9_000), ())
        for i in range(40)
    ]
    view = view_of([*pairs, (answer([["a"]]), answer([["a"]], failed=1, status=500), ())])
    assert view.coverage.pairs == {"agree": 30, "copy failed": 1, "differ": 10}
    assert (view.coverage.copies, view.coverage.never_answered) == (44, 3)
    assert view.over_time == (
        (datetime(1970, 1, 1, tzinfo=UTC), 20, 10), (datetime(1970, 1, 1, 0, 5, tzinfo=UTC), 20, 0),
    )  # fmt: skip
    assert view.latency is not None
    assert view.latency.difference.value == pytest.approx(0.001)
    assert view.latency.candidate["p50"] > view.latency.stable["p50"]


def harmed(seed: int = 3) -> ShadowView:
    rng = random.Random(seed)
    pairs = []
    for _ in range(3_000):
        state = "NY" if rng.random() < 0.08 else rng.choice(["CA", "TX", "WA"])
        flips = 0.12 if state == "NY" else 0.01
        served, copied = (
            answer([["a"]], bucket=300 * (len(pairs) % 2)),
            answer([["b" if rng.random() < flips else "a"]]),
        )
        pairs.append((served, copied, (f"x-state={state}",)))
    worst = WorstView(
        request="r9", at=datetime(2026, 1, 1, tzinfo=UTC), distance=1.0, slices=("x-state=NY",), schema=None,
        cells=({"column": "prediction", "row": 0, "distance": 1.0},),
    )  # fmt: skip
    return view_of(pairs, replace(AROUND, worst=(worst,)))


def test_a_harmed_slice_stands_out_and_no_other() -> None:
    view = harmed()
    assert [each.slice for each in view.slices if each.stands_out] == ["x-state=NY"]
    assert view.slices[0].slice == "x-state=NY"


def test_it_is_shown_as_json_as_a_page_and_as_text() -> None:
    view = harmed()
    told = to_jsonable_python(view)
    assert told["coverage"]["copies"] == 3_003
    text = _table(told, head="m v2 beside 1")
    for words in ("flips", "x-state=NY", "stands out", "r9", "dropped 3", "1 apart", "size (long) is new"):
        assert words in text
    page = shadow_page(view)
    assert set(re.findall(r"<table[^>]*>\s*(<\w+)", page)) == {"<caption"}, "each table says what it counts"
    for words in ("x-state=NY", "stands out", "r9", 'class="bar"', "size (long) is new", "Share of pairs that differ"):
        assert words in page
    assert "script" not in page


def judged_view(within: float, *, far_in_ny: float = 0.0) -> ShadowView:
    """Scores that are never quite alike: a hundredth apart, and in some of New York's requests two tenths."""
    rng, sums = random.Random(5), PairSums()
    metrics = {"apart": MetricSpec(source=Source.DISAGREEMENT, agree_within=within)}
    for i in range(2_000):
        state, score = rng.choice(["NY", "CA", "TX"]), rng.random()
        far = 0.2 if state == "NY" and rng.random() < far_in_ny else 0.01
        pair = Pair(served=answer([[score]], bucket=300 * (i % 2)), copied=answer([[score + far]]))
        comparison = compare_pair(pair.served, pair.copied, {})
        assert isinstance(comparison, Comparison)
        by_metric = differing(comparison, metrics.items())
        sums.take(pair, comparison, (f"x-state={state}",))
        sums.judge(pair, by_metric, (f"x-state={state}",))
    return shadow_view(sums.tallies(), replace(AROUND, metrics=metrics))


def test_pairs_are_judged_by_the_plans_own_tolerance_and_by_any_difference_beside_it() -> None:
    view = judged_view(0.05)
    assert view.disagreement is not None
    [judged] = view.judged
    assert (view.disagreement.value, judged.disagreement.value, judged.within) == (1.0, 0.0, 0.05)
    assert [differ for _, _, differ in judged.over_time] == [0, 0]
    assert not any(each.stands_out for each in view.slices)
    assert judged_view(0.005).judged[0].disagreement.value == 1.0
    assert "differ   apart 0 %" in _table(to_jsonable_python(view), head="")
    page = shadow_page(view)
    assert set(re.findall(r"<table[^>]*>\s*(<\w+)", page)) == {"<caption"}, "each table says what it counts"
    assert "a number is more than 0.05 apart" in page
    assert "anything differs at all, however little" in page


def test_a_slice_stands_out_by_the_plans_tolerance() -> None:
    view = judged_view(0.05, far_in_ny=0.2)
    assert [each.slice for each in view.slices if each.stands_out] == ["x-state=NY"]
    assert {each.slice: each.judged["apart"].value > 0 for each in view.slices} == {
        "x-state=NY": True, "x-state=CA": False, "x-state=TX": False,
    }  # fmt: skip


def test_a_pair_beyond_the_tolerance_says_by_which_metric() -> None:
    pair = Pair(served=answer([[0.5]]), copied=answer([[0.6]]))
    comparison = compare_pair(pair.served, pair.copied, {})
    assert isinstance(comparison, Comparison)
    metrics = {name: MetricSpec(source=Source.DISAGREEMENT, agree_within=w) for name, w in (("a", 0.2), ("b", 0.05))}
    kept = disagreement_of(pair, comparison, (), differing(comparison, metrics.items()), show=False)
    assert kept.beyond == ("b",)
