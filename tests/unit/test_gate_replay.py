"""`sluice gate replay`: the JSON lines protocol, and a rollout's own record judged again."""

from __future__ import annotations

import dataclasses
import io
import json
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sluicegate.flows.cli.gate import replay as command
from sluicegate.flows.gate import judge as gate
from sluicegate.flows.gate.design import gates_of
from sluicegate.flows.rehearsal.rejudge import rejudge
from sluicegate.flows.rehearsal.replay import replay
from sluicegate.flows.rehearsal.replay_lines import MalformedLine
from sluicegate.registry.plan.plan import Plan
from sluicegate.registry.words.errors import UsageError
from sluicegate.registry.words.metric import Arm, Stratum, TallyRow
from sluicegate.registry.words.tally import Tally
from sluicegate.registry.words.verdict import Look

Line = dict[str, Any]


def test_a_file_that_is_not_there_is_told_with_the_option_that_was_probably_meant() -> None:
    with pytest.raises(UsageError) as told:
        command(Path("churn-v2-4d232a"))
    assert "churn-v2-4d232a cannot be read" in told.value.message
    assert "sluice gate replay --rollout churn-v2-4d232a" in (told.value.fix or "")


def plan(**changes: Any) -> Line:
    metric = {"kind": "binary", "worse": "higher", "margin_rel": None, "cap": None} | changes.pop("metric", {})
    return {
        "type": "plan", "alpha": 0.05, "beta": 0.05, "metric": metric, "total_requests": 20_000, "info_total": 5000,
        "unit": "request",
    } | changes  # fmt: skip


def row(arm: str, n: float, events: float, **changes: Any) -> Line:
    sums = {"n": n, "sum": events, "sumsq": events, "sumcube": events}
    return {"stratum": 0, "weight": 0.5, "arm": arm} | sums | changes


def look(k: int, rows: Iterable[Line], *, info: float | None = None, step: int = 0) -> Line:
    return {
        "type": "look", "rows": list(rows),
        "info": {"look": k, "requests": 200 * k, "info": 50 * k if info is None else info, "step": step},
    }  # fmt: skip


def both(stable: float, candidate: float, n: int = 100, **changes: Any) -> list[Line]:
    return [row("stable", n, stable, **changes), row("candidate", n, candidate, **changes)]


def answers(*lines: Line) -> list[Line]:
    return [json.loads(line) for line in replay(json.dumps(line) for line in lines)]


def test_a_line_out_for_each_look_in() -> None:
    assert [a["verdict"] for a in answers(plan(), look(1, both(2, 2)), look(2, both(2, 40)))] == ["undecided", "fail"]


def test_failing_is_final() -> None:
    found = answers(plan(), look(1, both(2, 60)), *(look(k, both(60, 2)) for k in range(2, 9)))
    assert {a["verdict"] for a in found} == {"fail"}


def test_a_margin_passes_and_without_one_nothing_does() -> None:
    looks = [look(k, both(20, 2)) for k in range(1, 20)]
    assert answers(plan(metric={"margin_rel": 0.2}), *looks)[-1]["verdict"] == "pass"
    assert answers(plan(), *looks)[-1]["verdict"] == "undecided"


def test_lower_can_be_worse() -> None:
    looks = [look(k, both(20, 5)) for k in range(1, 20)]
    assert answers(plan(metric={"worse": "lower"}), *looks)[-1]["verdict"] == "fail"


def test_each_step_has_its_margin() -> None:
    ramp = plan(metric={"margins": [1.0, 0.01]}, weights=[0.1, 0.5], info_steps=[500, 5000])
    looks = [look(k, both(20, 20), step=k % 2) for k in range(1, 30)]
    found = answers(ramp, *looks)
    assert [a["verdict"] for a in found[-2:]] == ["pass", "undecided"] or [a["verdict"] for a in found[-2:]] == [
        "undecided",
        "pass",
    ]
    assert found[-1]["ruled_out"] == [1.0]


def test_another_plan_starts_afresh() -> None:
    lines = [plan(), look(1, both(2, 60)), plan(), look(1, both(2, 2))]
    assert [a["verdict"] for a in answers(*lines)] == ["fail", "undecided"]


def test_the_same_look_again_gets_the_same_answer_and_is_not_counted_twice() -> None:
    once = look(1, both(2, 6))
    assert answers(plan(), once, once, once)[2] == answers(plan(), once)[0]
    after = look(2, both(2, 6))
    assert answers(plan(), once, once, after)[-1] == answers(plan(), once, after)[-1]


def test_order_and_batching_of_rows_do_not_matter() -> None:
    rows = both(3, 9) + both(2, 8, stratum=1)
    halves = [row("stable", 40, 1), row("stable", 60, 2), row("candidate", 100, 9), *both(2, 8, stratum=1)]
    assert answers(plan(), look(1, rows)) == answers(plan(), look(1, rows[::-1])) == answers(plan(), look(1, halves))


def test_order_and_batching_of_a_users_rows_do_not_matter() -> None:
    def of(name: str, n: int, total: float) -> Line:
        arm = "candidate" if name in {"b", "d"} else "stable"
        return {"unit": name, "arm": arm, "stratum": 0, "n": n, "sum": total}

    begin = plan(unit="user", metric={"kind": "mean", "margin_rel": 0.5})
    rows = [of("a", 4, 1.1), of("b", 3, 2.3), of("c", 5, 0.7), of("d", 2, 1.9)]
    parts = [of("d", 2, 1.9), of("c", 2, 0.25), of("b", 3, 2.3), of("c", 3, 0.45), of("a", 4, 1.1)]
    assert answers(begin, look(1, rows), look(2, rows)) == answers(begin, look(1, parts), look(2, parts[::-1]))


def test_a_look_without_news_changes_nothing() -> None:
    first = look(1, both(2, 8))
    a, b = answers(plan(), first, look(2, [], info=50))
    assert {**a, "look": None} == {**b, "look": None}


@pytest.mark.parametrize(
    "rows",
    [[], [row("stable", 100, 3)], [row("candidate", 100, 3)], both(0, 0, n=0)],
    ids=["no rows", "no candidate", "no stable", "empty arms"],
)
def test_one_arm_alone_is_no_data(rows: list[Line]) -> None:
    assert answers(plan(metric={"margin_rel": 0.1}), look(1, rows))[0]["verdict"] == "no_data"


@pytest.mark.parametrize("kind", ["binary", "mean"])
@pytest.mark.parametrize("events", [0, 100], ids=["no events", "only events"])
def test_values_all_alike_hold(kind: str, events: int) -> None:
    looks = [look(k, both(events, events)) for k in range(1, 40)]
    found = answers(plan(metric={"kind": kind, "margin_rel": 0.5}), *looks)
    assert {a["verdict"] for a in found} == {"undecided"}


BROKEN = [
    row("candidate", 100, float("nan")), row("candidate", 100, float("inf")), row("candidate", -100, 3),
    row("candidate", 100, None), row("candidate", 100, 101), row("candidate", 100, 1.5), row("candidate", 100.5, 3),
]  # fmt: skip


@pytest.mark.parametrize("broken", BROKEN, ids=lambda row: f"n={row['n']} sum={row['sum']}")
def test_sums_that_cannot_be_true_hold(broken: Line) -> None:
    good = [look(k, both(20, 2)) for k in range(2, 20)]
    found = answers(plan(metric={"margin_rel": 0.2}), look(1, [row("stable", 100, 20), broken]), *good)
    assert {a["verdict"] for a in found} == {"no_data"}
    assert found[-1]["rejected_rows"] == 1


def test_users_who_return_are_judged_by_user() -> None:
    rng = np.random.default_rng(1)
    rates = rng.beta(0.5, 2, 400)

    def lines(harm: float) -> list[Line]:
        found = [plan(unit="user")]
        for k in range(1, 30):
            who = rng.choice(400, 300)
            rows = []
            for user in np.unique(who):
                n = int((who == user).sum())
                candidate = bool(user % 2)
                events = rng.binomial(n, min(rates[user] * (harm if candidate else 1), 1))
                rows.append(
                    {"unit": f"u{user}", "arm": "candidate" if candidate else "stable", "stratum": k // 5, "n": n,
                     "sum": int(events)}
                )  # fmt: skip
            found.append(look(k, rows, info=75 * k))
        return found

    assert answers(*lines(1.0))[-1]["verdict"] == "undecided"
    assert answers(*lines(3.0))[-1]["verdict"] == "fail"


MALFORMED = [
    ("type", {"type": "weather"}), ("alpha", plan(alpha=0)), ("alpha", plan(alpha="x")),
    ("info_total", plan(info_total=-1)),
    ("metric.kind", plan(metric={"kind": "median"})), ("metric.margin_rel", plan(metric={"margin_rel": "5%"})),
    ("info_steps", plan(metric={"margins": [1, 0.5]}, info_steps=[1.0])),
    ("info_steps", plan(metric={"margins": [1, 0.5]}, info_steps=[9.0, 5.0])),
    ("weights", plan(metric={"margins": [1, 0.5]}, weights=[0.01])),
]  # fmt: skip


@pytest.mark.parametrize(("field", "line"), MALFORMED, ids=[str(i) for i in range(len(MALFORMED))])
def test_a_malformed_plan_names_line_and_field(field: str, line: Line) -> None:
    with pytest.raises(MalformedLine, match=rf"line 1: .*{field}") as error:
        answers(line)
    assert error.value.exit_code == 2


@pytest.mark.parametrize(
    ("field", "rows"),
    [
        ("rows.0.arm", [row("blue", 1, 0)]),
        ("rows.1.n", [row("stable", 1, 0), row("candidate", "many", 0)]),  # type: ignore[arg-type]
        ("rows.0.stratum", [row("stable", 1, 0, stratum=None)]),
        ("sumsq, sumcube are missing", [{"stratum": 0, "weight": 0.5, "arm": "stable", "n": 1, "sum": 0}]),
        (
            "rows.1: .*weight is missing",
            [row("stable", 1, 0), {k: v for k, v in row("candidate", 1, 0).items() if k != "weight"}],
        ),
        ("rows.0.weight", [row("stable", 1, 0, weight=1.5)]),
        ("rows.1.weight", [row("stable", 1, 0), row("candidate", 1, 0, weight=float("nan"))]),
        ("rows.0.unit", [row("stable", 1, 0, unit="u1")]),
    ],
)
def test_a_malformed_look_names_line_and_field_and_nothing_of_it_is_judged(field: str, rows: list[Line]) -> None:
    found = replay(json.dumps(line) for line in (plan(), look(1, both(2, 2)), look(2, rows)))
    assert json.loads(next(found))["verdict"] == "undecided"
    with pytest.raises(MalformedLine, match=f"line 3: .*{field}"):
        next(found)


def test_looks_before_a_plan_and_looks_that_run_backwards_are_refused() -> None:
    with pytest.raises(MalformedLine, match="line 1: type"):
        answers(look(1, both(2, 2)))
    with pytest.raises(MalformedLine, match=r"line 3: info\.look"):
        answers(plan(), look(2, both(2, 2)), look(1, both(3, 3)))


def test_text_that_is_no_json_is_refused() -> None:
    with pytest.raises(MalformedLine, match="line 1"):
        list(replay(["{not json"]))


def test_blank_lines_are_passed_over() -> None:
    assert len(list(replay(["", json.dumps(plan()), "  ", json.dumps(look(1, both(2, 2)))]))) == 1


def test_the_command_reads_standard_input(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    text = "\n".join(json.dumps(line) for line in (plan(), look(1, both(2, 60))))
    monkeypatch.setattr("sys.stdin", io.StringIO(text))
    assert command() == 0
    assert json.loads(capsys.readouterr().out)["verdict"] == "fail"


def recorded() -> tuple[Plan, list[Look]]:
    plan = Plan.model_validate(
        {
            "model": "delays", "metrics": {"errors": {"source": "status"}}, "steps": [{"weight": 50}],
            "gates": [{"metric": "errors", "alpha": 0.03, "margin": "20%"}],
        }
    )  # fmt: skip
    rng, looks = np.random.default_rng(1), []
    n = 0
    events = {Arm.STABLE: 0, Arm.CANDIDATE: 0}
    for k in range(20):
        n += 100
        rows = []
        for arm in Arm:
            events[arm] += int(rng.binomial(100, 0.1))
            x = events[arm]
            tally = Tally(n=n, total=x, squares=x, cubes=x)
            rows.append(
                TallyRow(metric="errors", stratum=Stratum(epoch=1, bucket=0), weight=5000, arm=arm, tally=tally)
            )
        found = gate.next_look(
            rollout="r", plan=plan, gate=plan.gates[0], guardrail=False, step=0, looks=looks, rows=rows, watermark=k,
            at=datetime(2026, 1, 1, tzinfo=UTC),
        )  # fmt: skip
        looks += [found] if found else []
    return plan, looks


def test_a_record_judged_again_is_the_same() -> None:
    plan, looks = recorded()
    rejudged = list(rejudge(plan, lambda _: looks, gates_of(plan)))
    assert len(rejudged) == len(looks) > 5
    assert all(look.is_same for look in rejudged)
    line = json.loads(rejudged[-1].as_json())
    assert (line["same"], line["verdict"], line["k"]) == (True, looks[-1].verdict.answer, len(looks))


def test_a_record_that_was_tampered_with_is_found() -> None:
    plan, looks = recorded()
    changed = dataclasses.replace(looks[3], verdict=dataclasses.replace(looks[3].verdict, candidate_n=7))
    rejudged = list(rejudge(plan, lambda _: [*looks[:3], changed, *looks[4:]], gates_of(plan)))
    assert [look.is_same for look in rejudged].count(False) == 1
