"""The report: what the ledger holds is what it tells, and the page needs nothing from outside."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from datetime import timedelta
from functools import partial
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
from pydantic_core import to_jsonable_python

from sluicegate.registry.ledger.reading import read_for_report
from sluicegate.registry.report.door import door
from sluicegate.registry.report.report import (
    ArmCounts,
    ArmLatency,
    Evidence,
    LatencyBin,
    OutcomeCoverage,
    Report,
    RequestsAtWeight,
    SampleRatio,
    rollout_report,
)
from sluicegate.registry.rollout.rollout import Ending, Phase
from sluicegate.registry.words.verdict import Answer
from sluicegate.services.report.latency_chart import latency_chart
from sluicegate.services.report.page import page, part_styles, picture, style_hash, styles
from sluicegate.services.report.scale import Scale, round_step
from sluicegate.services.report.sequence_chart import sequence_chart
from sluicegate.services.report.states import COLOURS, STATES, VERDICTS
from sluicegate.services.report.svg import WIDTHS
from sluicegate.services.report.weight_chart import weight_chart
from tests import giving as orders
from tests.acceptance.given import Given

EVIDENCE = Evidence(
    exposures=(
        RequestsAtWeight(epoch=0, stable=ArmCounts(requests=900)),
        RequestsAtWeight(
            epoch=1, stable=ArmCounts(requests=182, failed=1), candidate=ArmCounts(requests=18, failed=3, fallbacks=2)
        ),
    ),
    coverage=(OutcomeCoverage(metric="log_loss", exposures=200, labelled=150, pending=7),),
    latency=(
        ArmLatency(arm="stable", requests=2, p50=4, p95=5, p99=5, bins=(LatencyBin(low=4, high=5, requests=2),)),
        ArmLatency(
            arm="candidate",
            requests=321,
            p50=4.5,
            p95=17.2,
            p99=88.0,
            bins=(LatencyBin(low=4, high=5, requests=300), LatencyBin(low=80, high=90, requests=21)),
        ),
    ),
    sample_ratio=SampleRatio(answer="OK", p_value=0.41),
)


def told(given: Given, evidence: Evidence | None = EVIDENCE) -> Report:
    return rollout_report(read_for_report(given.ledger, given.rollout), given.now, evidence)


@pytest.fixture(scope="module")
def promoted() -> Report:
    given = Given().runs(30_000)
    assert given.rollout.phase is Phase.BAKING
    return told(given)


@pytest.fixture(scope="module")
def aborted() -> Report:
    given = Given(candidate=0.72).runs(30_000)
    assert given.rollout.ending is Ending.ABORTED
    return told(given)


def test_steps_are_told_as_planned_and_as_done(promoted: Report) -> None:
    assert [(step.weight, step.state, step.asks) for step in promoted.steps] == [
        (10, "done", ("log_loss at most 100 % worse",)),
        (25, "done", ("log_loss at most 30 % worse",)),
        (50, "done", ("log_loss at most 5 % worse",)),
    ]
    assert promoted.steps[0].why == "every gate passed at 10 %"
    assert all(step.seconds and step.observed_at and step.entered_at for step in promoted.steps)


def test_steps_that_were_not_reached_say_so(aborted: Report) -> None:
    assert [step.state for step in aborted.steps] == ["ended early", "not reached", "not reached"]
    assert aborted.steps[0].why.startswith("log_loss failed: log loss is 0.")
    assert aborted.steps[1].entered_at is None


def test_a_step_under_way_is_neither_done_nor_left() -> None:
    given = Given()
    given.ticks()
    assert [step.state for step in told(given).steps] == ["under way", "not reached", "not reached"]
    orders.pause(given.ledger, given.name, actor="ada", reason="wait", now=given.now)
    assert told(given).steps[0].state == "paused"


def test_every_look_is_there_with_its_interval_margin_and_alpha(promoted: Report) -> None:
    gate = promoted.gates[0]
    assert [look.k for look in gate.looks] == list(range(1, len(gate.looks) + 1))
    last = gate.looks[-1]
    assert last.low is not None
    assert last.high is not None
    assert last.bound is not None
    assert last.low < last.estimate < last.high <= last.bound * 1.001, (
        "a margin is ruled out when the interval is below"
    )
    assert gate.alpha_spent is not None
    assert 0 < gate.alpha_spent <= gate.alpha == 0.03


def test_the_decision_moment_is_the_look_at_which_it_was_decided(promoted: Report, aborted: Report) -> None:
    passed, failed = promoted.gates[0].decided, aborted.gates[0].decided
    assert passed is not None
    assert (passed.verdict, passed.step) == ("PASS", 3)
    assert promoted.gates[0].looks[passed.k - 1].verdict == "PASS"
    assert promoted.gates[0].looks[passed.k - 2].verdict == "UNDECIDED"
    assert failed is not None
    assert failed.verdict == "FAIL"
    assert promoted.gates[1].decided is None, "a guardrail that found nothing is not decided"


def test_weights_over_time_are_those_of_the_facts(promoted: Report) -> None:
    assert [point.weight for point in promoted.weights] == [0, 10, 25, 50, 100]
    assert [point.what for point in promoted.weights] == ["Requested", *["StepEntered"] * 3, "Promoted"]
    assert [point.observed_at is None for point in promoted.weights] == [True, False, False, False, True]


def test_the_timeline_tells_every_fact_with_actor_and_cause(aborted: Report) -> None:
    first, last = aborted.timeline[0], aborted.timeline[-1]
    assert [moment.seq for moment in aborted.timeline] == list(range(len(aborted.timeline)))
    assert (first.actor, first.why) == ("ada", "requested on the command line")
    assert (last.fact, last.actor, last.before, last.after, last.tone) == ("Aborted", "policy", 10, 0, "bad")


def test_exposures_are_told_by_weight(aborted: Report) -> None:
    (row,) = aborted.exposures
    assert (row.weight, row.observed_weight, row.candidate.failed, row.candidate.fallbacks) == (10, 9.0, 3, 2)


def test_latency_by_arm_is_on_the_page(aborted: Report) -> None:
    shown = page(aborted)
    assert all(f">{figure} ms</td>" in shown for name, figure in (("p50", "4.5"), ("p95", "17.2"), ("p99", "88")))


def test_the_report_is_json(promoted: Report) -> None:
    read = json.loads(json.dumps(to_jsonable_python(promoted), allow_nan=False))
    assert read["rollout"]["id"] == promoted.rollout.id
    assert read["gates"][0]["looks"][-1]["k"] == len(promoted.gates[0].looks)
    assert read["made_at"].endswith("Z")


class Parsed(HTMLParser):
    """Tags with their attributes."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))


def test_the_page_asks_for_nothing_from_outside(promoted: Report) -> None:
    tags = Parsed(page(promoted)).tags
    assert not [tag for tag, _ in tags if tag in ("script", "link", "img", "iframe", "object", "embed", "video")]
    assert not [(tag, name) for tag, attributes in tags for name in attributes
                if name in ("src", "href", "style") or name.startswith("on")]  # fmt: skip
    assert not re.search(r"url\((?!#)|@import", page(promoted))
    policy = next(each["content"] for tag, each in tags if each.get("http-equiv") == "Content-Security-Policy")
    assert policy == f"default-src 'none'; style-src '{style_hash()}'"
    assert f"<style>{styles()}</style>" in page(promoted), "the hash is that of the styles as they stand there"


def test_charts_are_told_to_those_who_do_not_see_them(promoted: Report) -> None:
    charts = [sequence_chart(promoted.gates[0], "a"), weight_chart(promoted, "b")]
    for chart in charts:
        root = ET.fromstring(chart)
        names = {each.tag.rpartition("}")[2]: each.text for each in root[:2]}
        assert root.get("role") == "img"
        assert names["title"]
        assert names["desc"]
        assert root.get("aria-labelledby", "").split() == [each.get("id") for each in root[:2]]
    assert "PASS at look" in charts[0]
    assert "10 % after" in charts[1]
    assert ET.fromstring(picture(charts[0])).find("{http://www.w3.org/2000/svg}style") is not None


def test_weight_and_verdicts_are_on_one_time_axis(aborted: Report) -> None:
    chart = weight_chart(aborted, "w")
    about = ET.fromstring(chart)[1].text or ""
    assert re.search(r"log_loss: (?:NO DATA|UNDECIDED) after \S+, .*FAIL after", about)
    assert "errors: " in about
    assert not re.search("errors: [^.]*UNDECIDED", about), "a guardrail that has found nothing is OK"
    turns = [each.get("class", "").split()[1] for each in ET.fromstring(chart).iter() if is_turn(each)]
    assert len(turns) == sum(len(gate.turns) for gate in aborted.gates)
    assert {"bad", "good"} <= set(turns)


def is_turn(element: ET.Element) -> bool:
    return element.get("class", "").startswith("turn ")


def test_both_builds_waits_are_drawn_over_one_another() -> None:
    chart = latency_chart(EVIDENCE.latency, "l")
    about = ET.fromstring(chart)[1].text or ""
    assert about == "stable: half within 4 ms, 95 % within 5 ms; candidate: half within 4.5 ms, 95 % within 17.2 ms"
    assert all(f'class="times {arm}"' in chart for arm in ("stable", "candidate"))
    bare = tuple(replace(arm, bins=()) for arm in EVIDENCE.latency)
    assert latency_chart(bare, "l") == ""


@pytest.mark.parametrize("width", WIDTHS.values())
def test_what_charts_draw_is_styled_and_within_the_drawing(aborted: Report, width: int) -> None:
    limited = replace(aborted.gates[0], view=replace(aborted.gates[0].view, below=0.9),
                      looks=tuple(replace(look, limit=0.3) for look in aborted.gates[0].looks))  # fmt: skip
    charts = [sequence_chart(gate, "s", width) for gate in (*aborted.gates, limited)]
    for chart in (*charts, weight_chart(aborted, "w", width), latency_chart(EVIDENCE.latency, "l", width)):
        for each in ET.fromstring(chart).iter():
            kind = each.get("class", "").partition(" ")[0]
            assert kind in ("", "window") or re.search(rf"\.{kind}\b", part_styles()), f"nothing styles .{kind}"
            places = [float(each.get(name, "0%").removesuffix("%")) for name in ("x", "x1", "x2", "cx")]
            assert 0 <= min(places) <= max(places) <= 100


@pytest.mark.parametrize("width", WIDTHS.values())
def test_a_wider_place_stretches_a_chart_and_not_its_text(aborted: Report, width: int) -> None:
    chart = ET.fromstring(sequence_chart(aborted.gates[0], "s", width))
    texts = [each for each in chart if each.tag.endswith("text")]
    assert texts
    assert chart.get("viewBox") is None
    assert all((each.get("x") or "").endswith("%") for each in texts)
    stretched = [each for each in chart if each.tag.endswith("svg")]
    assert stretched
    assert all(inside.get("vector-effect") == "non-scaling-stroke" for each in stretched for inside in each)


@pytest.mark.parametrize("width", WIDTHS.values())
def test_no_line_is_drawn_over_the_decision_or_the_key(aborted: Report, width: int) -> None:
    chart = ET.fromstring(sequence_chart(aborted.gates[0], "s", width))
    top = min(float(each.get("y", "0")) for each in chart if each.get("class") == "plot")
    named = [each for each in chart if each.get("class", "").partition(" ")[0] in ("verdict", "label", "step")]
    assert {each.text for each in named} >= {"✕ FAIL", "margin"}
    assert all(float(each.get("y", "0")) < top for each in named)


def test_every_state_and_verdict_has_a_colour_and_a_mark_in_the_legend() -> None:
    assert set(STATES) == {*Phase, *Ending} - {Phase.ENDED}
    assert set(VERDICTS) == {each.name.replace("_", " ") for each in Answer} | {"OK"}
    for word, it in (STATES | VERDICTS).items():
        assert it.tone in COLOURS, word
        assert it.mark, word
        assert it.meaning, word
    by_colour = {(it.tone, it.mark) for it in STATES.values()}
    assert len(by_colour) == len({it.mark for it in STATES.values()}), "a mark alone tells the colour"


@pytest.mark.parametrize("theme", [0, 1], ids=["light", "dark"])
def test_every_colour_of_the_legend_is_readable_on_every_ground(theme: int) -> None:
    palette = dict(re.findall(r"--([a-z]+): #([0-9a-f]{6})", styles().split("@media")[theme]))
    palette["plain"] = palette["quiet"]
    for colour in ("stable", "candidate", *COLOURS):
        chip = [blended(palette[colour], palette["paper"], 0.11)] if colour in COLOURS else []
        for ground in (palette["paper"], palette["sunken"], *chip):
            assert contrast(palette[colour], ground) >= 4.5, (colour, ground)


def blended(colour: str, ground: str, share: float) -> str:
    """What a thin layer of a colour on a ground looks like, as a chip's ground."""
    pairs = [(int(colour[i : i + 2], 16), int(ground[i : i + 2], 16)) for i in (0, 2, 4)]
    return "".join(f"{round(share * one + (1 - share) * other):02x}" for one, other in pairs)


def contrast(one: str, other: str) -> float:
    """The contrast of two colours as WCAG defines it."""
    low, high = sorted(luminance(each) for each in (one, other))
    return (high + 0.05) / (low + 0.05)


def luminance(colour: str) -> float:
    parts = [int(colour[i : i + 2], 16) / 255 for i in (0, 2, 4)]
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def test_every_chart_has_its_table(promoted: Report) -> None:
    text = page(promoted)
    assert text.count("<table") == 5 + len(promoted.gates)
    for look in promoted.gates[0].looks:
        assert f'<td class="n">{look.k}</td>' in text


def test_ids_are_once_on_the_page(promoted: Report) -> None:
    ids = [each["id"] for _, each in Parsed(page(promoted)).tags if "id" in each]
    assert len(ids) == len(set(ids)) > 6


def test_what_people_write_is_text_and_not_markup() -> None:
    given = Given()
    given.ticks()
    orders.abort(
        given.ledger, given.name, actor="<b>eve</b>", reason="</style><script>alert(1)</script>", now=given.now
    )
    tags = [tag for tag, _ in Parsed(page(told(given))).tags]
    assert "script" not in tags
    assert "b" not in tags


def test_a_rollout_without_anything_yet_has_a_report(promoted: Report) -> None:
    given = Given()
    text = page(rollout_report(read_for_report(given.ledger, given.rollout), given.now))
    assert 'data-mark="▸" title="the candidate is being packed and started">launching</span>' in text
    assert "<svg" not in text


def test_the_same_report_is_the_same_page(promoted: Report) -> None:
    assert page(promoted) == page(promoted)


def test_the_report_of_a_first_build_tells_of_no_steps() -> None:
    given = Given()
    first = given.ledger.rollouts()[0]
    text = page(rollout_report(read_for_report(given.ledger, first), given.now + timedelta(hours=1)))
    assert "v1 is the first stable build" in text
    assert "Every step of the plan" not in text


@pytest.mark.parametrize(("least", "step"), [(0.0, 1.0), (0.9, 1.0), (0.02, 0.02), (0.021, 0.05), (70, 100)])
def test_axes_are_divided_by_round_steps(least: float, step: float) -> None:
    assert round_step(least) == pytest.approx(step)


def test_ticks_lie_between_the_ends() -> None:
    scale = Scale(low=-0.13, high=0.31, start=0, end=440)
    assert scale.ticks() == (-0.1, 0.0, 0.1, 0.2, 0.3)
    assert (scale.at(0.31), scale.clamped(9.0)) == (440, 440)


def test_the_command_writes_the_page_the_json_and_a_text(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from sluicegate.flows.cli.app import app
    from sluicegate.flows.wiring import runtime as wiring

    monkeypatch.setenv("SLUICE_LEDGER", f"sqlite:///{tmp_path}/ledger.db")
    monkeypatch.setenv("SLUICE_STATE", str(tmp_path / "state"))
    wiring.current_runtime.cache_clear()
    try:
        given, ledger = Given(), wiring.current_runtime().ledger
        for entry in given.ledger.entries(given.name):
            if entry.seq == 0:
                ledger.open(given.name, entry.fact, entry.at)
            else:
                ledger.append(given.name, entry.seq, entry.fact, entry.at)
        file = tmp_path / "report.html"
        run = partial(app, exit_on_error=False, result_action="return_value")
        run(["report", "delays", "--html", str(file)])
        run(["report", given.name, "-o", "json"])
        said = json.loads(capsys.readouterr().out)
        run(["report", given.name])
        assert "v2 is running and passed its readiness checks" in capsys.readouterr().out
    finally:
        wiring.current_runtime.cache_clear()
    assert file.read_text().startswith("<!doctype html>")
    assert (said["rollout"]["id"], [step["state"] for step in said["steps"]]) == (given.name, ["not reached"] * 3)


@pytest.mark.parametrize(
    ("cause", "words"),
    [
        ("cli", "on the command line"),
        ("console", "in the console or through the API"),
        ("mlflow: alias candidate", "in MLflow (alias candidate)"),
        ("shadow:delays-v2-26abae", "by the shadow delays-v2-26abae, whose gates passed"),
        ("retry of r1: once more", "as another try of r1: once more"),
        ("cron", "by cron"),
    ],
)
def test_how_a_rollout_was_asked_for_is_said_in_words(cause: str, words: str) -> None:
    assert door(cause) == words
