"""The edge cases of `sluice gate replay`: what it says, how the command ends, what it does not judge."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import pytest

from sluicegate.flows.rehearsal.replay import replay
from sluicegate.flows.rehearsal.replay_lines import MalformedLine
from tests.unit.commands import sluice
from tests.unit.test_gate_replay import answers, both, look, plan, row

Line = dict[str, Any]
MARGIN = {"margin_rel": 0.5}
MEAN = {"kind": "mean", "margin_rel": 0.5}


def command(*lines: Line | str) -> tuple[int, list[Line], str]:
    """Exit code, answers and what is said about errors."""
    text = "\n".join(line if isinstance(line, str) else json.dumps(line) for line in lines)
    ended = sluice(None, "gate", "replay", given=text)
    return ended.code, [json.loads(line) for line in ended.out.splitlines()], ended.err


def mean_row(arm: str, values: Iterable[float], **changes: Any) -> Line:
    found = list(values)
    sums = {name: sum(v**k for v in found) for k, name in enumerate(("sum", "sumsq", "sumcube"), start=1)}
    return {"stratum": 0, "weight": 0.5, "arm": arm, "n": len(found)} | sums | changes


def user(name: str, n: float, total: float, arm: str = "stable") -> Line:
    return {"unit": name, "arm": arm, "stratum": 0, "n": n, "sum": total}


def verdicts(*lines: Line) -> list[str]:
    return [answer["verdict"] for answer in answers(*lines)]


EMPTY = {"weight": 0.01, "stratum": 7}
"""So few of fifty rows are the candidate's that chance may leave it none."""
GOOD = [look(k, both(20, 2)) for k in range(2, 12)]
BAD = [look(k, both(2, 40)) for k in range(2, 12)]
EDGES: dict[str, Callable[[], list[str]]] = {
    "an empty arm, then both": lambda: verdicts(plan(metric=MARGIN), look(1, [row("stable", 50, 10, **EMPTY)]), *GOOD),
    "no events, then some": lambda: verdicts(plan(metric=MARGIN), look(1, both(0, 0)), *GOOD),
    "only events, then some": lambda: verdicts(plan(metric=MARGIN), look(1, both(100, 100)), *GOOD),
    "an empty arm, then harm": lambda: verdicts(plan(), look(1, [row("stable", 50, 1, **EMPTY)]), *BAD),
    "no rows, then harm": lambda: verdicts(plan(), look(1, []), *BAD),
}


@pytest.mark.parametrize("case", EDGES)
def test_what_carries_no_information_changes_nothing_later(case: str) -> None:
    found = EDGES[case]()
    assert found[0] in {"no_data", "undecided"}
    assert found[-1] == ("fail" if case.endswith("harm") else "pass")


def test_no_variance_holds_and_so_does_what_rounding_leaves_of_one() -> None:
    same = [look(k, [mean_row("stable", [0.1] * 98), mean_row("candidate", [0.1] * 102)]) for k in range(1, 30)]
    assert set(verdicts(plan(metric={"kind": "mean", "margin_rel": 0.01}), *same)) == {"undecided"}
    far = [
        look(k, [mean_row(arm, [1e9 + (i * k) % 7 for i in range(100)]) for arm in ("stable", "candidate")])
        for k in range(1, 30)
    ]
    assert set(verdicts(plan(metric={"kind": "mean"}), *far)) == {"undecided"}


@pytest.mark.parametrize("bad", ["NaN", "Infinity", "-Infinity", "null", "1e400"])
@pytest.mark.parametrize("field", ["n", "sum", "sumsq", "sumcube"])
def test_what_is_no_number_is_missing_and_holds_for_good(bad: str, field: str) -> None:
    broken = json.dumps(look(1, both(20, 2))).replace(f'"{field}": 20', f'"{field}": {bad}', 1)
    if field == "n":
        broken = json.dumps(look(1, both(20, 2))).replace('"n": 100', f'"n": {bad}', 1)
    found = [json.loads(line) for line in replay([json.dumps(plan(metric=MARGIN)), broken, *map(json.dumps, GOOD)])]
    assert {answer["verdict"] for answer in found} == {"no_data"}
    assert found[-1]["rejected_rows"] == 1


IMPOSSIBLE = {
    "squares too small for the sum": (plan(metric=MEAN), row("stable", 100, 200, sumsq=3)),
    "a sum of no rows": (plan(metric=MEAN), row("stable", 0, 5)),
    "figures too large to multiply": (plan(metric=MEAN), row("stable", 100, 1e200, sumsq=1e308)),
    "more rows than memory holds": (plan(metric=MARGIN), row("stable", 1e30, 1e20)),
    "more events than a user has rows": (plan(metric=MARGIN, unit="user"), user("u", 2, 5)),
    "fewer events than none of a user": (plan(metric=MARGIN, unit="user"), user("u", 2, -1)),
    "a part of an event of a user": (plan(metric=MARGIN, unit="user"), user("u", 2, 0.5)),
    "a sum of no rows of a user": (plan(metric=MEAN, unit="user"), user("u", 0, 5)),
}


@pytest.mark.parametrize("case", IMPOSSIBLE)
def test_sums_that_no_values_have_are_rejected_and_hold(case: str) -> None:
    begin, wrong = IMPOSSIBLE[case]
    sound = user("v", 9, 1, "candidate") if "user" in case else mean_row("candidate", [1.0, 0.0])
    found = answers(begin, look(1, [wrong, sound]))[0]
    assert (found["verdict"], found["rejected_rows"]) == ("no_data", 1)


def test_looks_of_one_row_are_judged_like_looks_of_many() -> None:
    """Few rows wait for more: of their stratum, or of others of one weight; where none is told, of their own."""
    arms = [row("stable", 1, 0), row("candidate", 1, 1)]
    one_by_one = [look(k, [arms[k % 2]], info=k / 4) for k in range(1, 101)]
    together = look(1, both(0, 50, n=50), info=25)
    assert answers(plan(), *one_by_one)[-1]["verdict"] == answers(plan(), together)[-1]["verdict"] == "fail"
    apart = [look(k, [arms[k % 2] | {"stratum": k}], info=k / 4) for k in range(1, 101)]
    found = answers(plan(), *apart)[-1]
    assert (found["verdict"], found["information"]) == ("fail", 25)
    untold = [look(k, [arms[k % 2] | {"stratum": k % 2, "weight": None}]) for k in range(1, 101)]
    found = answers(plan(), *untold)[-1]
    assert (found["verdict"], found["stable_n"], found["candidate_n"]) == ("no_data", 50, 50)
    pair = answers(plan(), look(1, [each | {"weight": None} for each in arms]))[0]
    assert (pair["verdict"], pair["information"]) == ("undecided", 0.5)


@pytest.mark.parametrize("margin", [1.0, 1.5, 3.0, 1e6])
def test_no_rate_can_fall_by_more_than_all_of_it(margin: float) -> None:
    """Where lower is worse, wider margins ask what 100 % asks, also when only one arm has had rows."""
    lower = plan(metric={"worse": "lower", "margin_rel": margin})
    whole = plan(metric={"worse": "lower", "margin_rel": 1.0})
    alone = row("candidate", 100, 60, weight=0.99, stratum=1)
    looks = [look(1, [alone]), *(look(k, both(60, 30 * (k % 2))) for k in range(2, 9))]
    assert verdicts(lower, *looks) == verdicts(whole, *looks)
    assert verdicts(lower, *looks[:1], look(2, both(60, 60)))[-1] == "pass"


def test_after_the_last_step_its_margin_holds() -> None:
    ramp = plan(metric={"margins": [1.0, 0.5]}, weights=[0.1, 0.5], info_steps=[500, 5000])
    assert answers(ramp, look(1, both(20, 2), step=2))[0]["margin"] == 0.5
    with pytest.raises(MalformedLine, match=r"info\.step: 3"):
        answers(ramp, look(1, both(20, 2), step=3))


def test_harm_is_found_although_some_rows_were_rejected() -> None:
    assert verdicts(plan(), look(1, [row("stable", -5, 0)]), *BAD)[-1] == "fail"


def test_a_budget_too_small_for_arithmetic_rejects_nothing() -> None:
    found = answers(plan(alpha=1e-11), look(1, both(0, 100)))
    assert found[0]["verdict"] == "undecided"
    assert found[0]["alpha_spent"] == 0


def test_information_that_does_not_grow_is_no_look() -> None:
    once = answers(plan(), look(1, both(3, 6), info=50))[0]
    back = answers(plan(), look(1, both(3, 6), info=50), look(2, both(0, 60), info=40))[1]
    assert back["verdict"] == "undecided"
    assert back["alpha_spent"] == once["alpha_spent"]
    assert back["information"] == 50
    later = answers(plan(), look(1, both(3, 6), info=50), look(2, both(0, 60), info=40), look(3, [], info=51))
    assert later[2]["verdict"] == "fail"


def test_looks_beyond_the_plan_still_decide() -> None:
    lines = [look(k, both(20, 20)) for k in range(1, 30)]
    worse = [look(k, both(10, 30)) for k in range(30, 40)]
    found = answers(plan(info_total=500), *lines, *worse)
    assert found[28]["information_fraction"] > 2
    assert found[28]["verdict"] == "undecided"
    assert found[-1]["verdict"] == "fail"
    assert found[-1]["alpha_spent"] <= 0.05


def test_another_plan_is_another_test() -> None:
    lines = [plan(), *BAD, plan(metric=MARGIN), *GOOD]
    found = answers(*lines)
    assert found[len(BAD) - 1]["verdict"] == "fail"
    assert found[len(BAD)]["failed_at"] is None
    assert found[-1]["verdict"] == "pass"


def test_a_few_rows_wait_and_of_a_few_more_no_end_of_the_interval_is_told() -> None:
    metric = {"kind": "mean", "margin_rel": 0.1}
    few = answers(plan(metric=metric), look(1, [mean_row("stable", [1.0]), mean_row("candidate", [3.0])]))[0]
    assert (few["verdict"], few["estimate"], few["stable_n"]) == ("no_data", None, 1)
    found = answers(plan(metric=metric), look(1, [mean_row(arm, [1.0, 3.0] * 5) for arm in ("stable", "candidate")]))[0]
    assert found["verdict"] == "no_data"
    assert found["reason"].startswith("metric: the candidate has 10 values so far; a mean needs at least 30")
    assert (found["low"], found["high"]) == (None, None) or found["low"] < 0 < found["high"]


def test_values_far_from_zero_are_judged_by_sums_about_an_origin_and_without_one_the_gate_says_why_not() -> None:
    rng = np.random.default_rng(1)

    def looks(origin: float) -> list[Line]:
        return [
            look(
                k,
                [
                    mean_row(arm, 1e9 - origin + rng.normal(shift, 1, 100), stratum=k)
                    for arm, shift in (("stable", 0.0), ("candidate", 0.5))
                ],
            )
            for k in range(1, 9)
        ]

    blind = answers(plan(metric={"kind": "mean"}, info_total=1_000), *looks(0.0))[-1]
    assert blind["verdict"] == "undecided"
    assert "declare their range in the plan" in blind["reason"]
    seeing = answers(plan(metric={"kind": "mean", "origin": 1e9}, info_total=1_000), *looks(1e9))[-1]
    assert seeing["verdict"] == "fail"
    assert seeing["estimate"] == pytest.approx(0.5, abs=0.2)
    bounded = {"kind": "mean", "origin": 1e9, "cap": 1e9 + 6, "floor": 1e9 - 6}
    assert answers(plan(metric=bounded, info_total=1_000), *looks(1e9))[-1]["verdict"] == "fail"


def test_a_hundred_million_rows_are_judged_as_fast_as_a_hundred() -> None:
    n = 100_000_000
    assert verdicts(plan(info_total=n / 2), look(1, both(500_000, 506_000, n=n), info=n / 2)) == ["fail"]
    assert verdicts(plan(info_total=n / 2), look(1, both(500_000, 500_600, n=n), info=n / 2)) == ["undecided"]


def test_rows_that_do_not_come_in_their_shares_never_pass_and_a_failure_says_so() -> None:
    lost = [look(k, [row("stable", 100, 20), row("candidate", 60, 1)]) for k in range(1, 20)]
    held = answers(plan(metric=MARGIN), *lost)[-1]
    assert (held["verdict"], held["sample_ratio_mismatch"]) == ("no_data", True)
    worse = [look(k, [row("stable", 100, 2), row("candidate", 60, 30)]) for k in range(1, 20)]
    failed = answers(plan(metric=MARGIN), *worse)[-1]
    assert failed["verdict"] == "fail"
    assert "; besides, requests do not come in the shares that the weights ask for" in failed["reason"]
    assert not answers(plan(metric=MARGIN), *GOOD)[-1]["sample_ratio_mismatch"]
    untold = [look(k, [{**r, "weight": None} for r in line["rows"]]) for k, line in enumerate(lost, start=1)]
    assert not answers(plan(metric=MARGIN), *untold)[-1]["sample_ratio_mismatch"]


def test_the_command_ends_well_and_says_one_line_a_look() -> None:
    code, found, said = command(plan(metric=MARGIN), look(1, both(20, 2)), "", *GOOD)
    assert (code, len(found), said) == (0, 11, "")
    assert found[-1]["verdict"] == "pass"


@pytest.mark.parametrize(
    ("lines", "told"),
    [
        ([plan(), look(1, both(2, 2)), "{"], "line 3"),
        ([plan(), look(1, both(2, 2)), look(2, [*both(2, 2), row("green", 9, 1)])], "rows.2.arm"),
        ([plan(), look(1, both(2, 2)), look(2, [row("stable", 9, "few")])], "rows.0.sum"),  # type: ignore[arg-type]
        ([plan(), look(1, both(2, 2)), {"type": "look"}], "rows"),
        ([plan(), look(1, both(2, 2)), look(1, both(3, 3))], "info.look"),
        ([plan(), look(1, both(2, 2)), plan(info_total=0)], "info_total"),
    ],
    ids=["no json", "arm", "sum", "rows", "look", "plan"],
)
def test_a_malformed_line_ends_the_command_with_its_number_and_field(lines: list[Line | str], told: str) -> None:
    """What came before was answered; nothing of the line is judged, and nothing after it is read."""
    code, found, said = command(*lines, look(9, both(0, 99)))
    assert code == 2
    assert [answer["verdict"] for answer in found] == ["undecided"]
    assert "line 3" in said
    assert told in said.replace("\n", " ")


def test_no_input_is_no_answer() -> None:
    assert command() == (0, [], "")


def test_the_last_step_must_bear_out_what_all_rows_together_show() -> None:
    """As in a rollout: what was ruled out before says nothing about what the candidate has become."""
    ramp = plan(metric={"margins": [1.0, 0.5]}, weights=[0.1, 0.5], info_steps=[500, 5000])
    before = [
        look(k, [row("stable", 900, 180, weight=0.1), row("candidate", 100, 2, weight=0.1)]) for k in range(1, 30)
    ]
    turned = [look(k, both(20, 32, stratum=1), step=1) for k in range(30, 45)]
    assert answers(ramp, *before, *turned)[29]["ruled_out"] == [1.0, 0.5, 0.0]
    assert "pass" not in verdicts(ramp, *before, *turned)[29:]
    kept = [look(k, both(20, 20, stratum=1), step=1) for k in range(30, 70)]
    assert verdicts(ramp, *before, *kept)[-1] == "pass"


def test_labels_that_do_not_come_alike_are_seen_where_requests_are_told() -> None:
    def late(k: int, labels: int, bad: int) -> Line:
        arms = ("stable", 50, 10), ("candidate", labels, bad)
        return look(k, [row(arm, n, events, stratum=k, requests=100) for arm, n, events in arms])

    unlike = answers(plan(late=True, metric=MARGIN), *(late(k, 42, 2) for k in range(1, 30)))[-1]
    assert (unlike["verdict"], "labels arrive at different rates" in unlike["reason"]) == ("no_data", True)
    alike = answers(plan(late=True, metric=MARGIN), *(late(k, 50, 2) for k in range(1, 30)))[-1]
    assert "labels arrive" not in alike["reason"]


@pytest.mark.parametrize("events", [0, 100], ids=["zeros", "ones"])
@pytest.mark.parametrize("unit", ["request", "user"])
def test_the_interval_never_vanishes_and_holds_what_so_many_rows_allow(events: int, unit: str) -> None:
    def rows(k: int) -> list[Line]:
        if unit == "request":
            return both(events, events)
        names = [(f"{arm}{i % 40 + 20 * k}", arm) for arm in ("stable", "candidate") for i in range(100)]
        return [user(name, 1, events // 100, arm) | {"weight": 0.5} for name, arm in names]

    found = answers(plan(unit=unit, metric=MARGIN), *(look(k, rows(k)) for k in range(1, 60)))
    assert all(each["low"] < 0 < each["high"] for each in found)
    assert found[-1]["high"] > 3 / found[-1]["candidate_n"]
