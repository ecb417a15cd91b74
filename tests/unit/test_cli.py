"""The command line: quick to answer, one line for an error, exit codes that stay."""

from __future__ import annotations

import json
import os
import re
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from sluicegate.flows.cli import models, rollouts
from sluicegate.flows.cli.gate import _step
from sluicegate.flows.cli.home import describe
from sluicegate.flows.cli.models import _refusal
from sluicegate.flows.cli.output import columns
from sluicegate.flows.cli.rollouts import _exit_code
from sluicegate.flows.cli.tree import bar, head, tree
from sluicegate.flows.rehearsal.forecast import StepForecast
from sluicegate.registry.ledger.sql import SqlLedger
from tests.acceptance.given import Given
from tests.unit.commands import sluice

HEAVY = ("mlflow", "prefect", "bentoml", "pandas", "scipy", "numpy", "sqlalchemy")
PLAN = """\
kind: plan
model: delays
metrics: {log_loss: {source: outcome, outcome: late, prediction: {column: probability, positive: 1}}}
gates: [{metric: log_loss, margin: 5%}]
steps: [{weight: 10}, {weight: 50}]
"""
_RUN = """
import sys
sys.argv = ["sluice", *sys.argv[1:]]
from sluicegate.flows.cli.app import main
code = 0
try:
    main()
except SystemExit as end:
    code = end.code
import resource
used = resource.getrusage(resource.RUSAGE_SELF)
loaded = [name for name in {heavy!r} if name in sys.modules]
print(file=sys.stderr)
import json
seen = {{"code": code, "loaded": loaded, "cpu": used.ru_utime + used.ru_stime}}
print(json.dumps(seen), file=sys.stderr)
"""

_INTERRUPTIBLE = "import signal, sys\nsignal.signal(signal.SIGINT, signal.default_int_handler)\n"
_PLAN_LINE = '{"type": "plan", "alpha": 0.05, "metric": {"kind": "binary", "margin_rel": 0.5}, "info_total": 2500}'
_LOOK_LINE = '{"type": "look", "rows": []}'


def run(state: Path, *words: str) -> tuple[dict, str, str]:
    env = {k: v for k, v in os.environ.items() if not k.startswith(("SLUICE_", "MLFLOW_", "PREFECT_"))}
    done = subprocess.run(
        [sys.executable, "-c", _RUN.format(heavy=HEAVY), *words],
        env=env | {"SLUICE_STATE": str(state)}, capture_output=True, text=True, timeout=60, check=True,
    )  # fmt: skip
    lines = done.stderr.splitlines()
    return json.loads(lines[-1]), done.stdout, "\n".join(lines[:-1])


@pytest.fixture
def plan(tmp_path: Path) -> Path:
    path = tmp_path / "plan.yaml"
    path.write_text(PLAN)
    return path


@pytest.mark.parametrize(
    "words",
    [
        ("--help",),
        ("rollout", "--help"),
        ("rollout", "start", "--help"),
        ("validate", "-f", "PLAN"),
        ("validate", "PLAN"),
        ("schema", "plan"),
    ],
    ids=" ".join,
)
def test_it_answers_without_the_heavy_packages(tmp_path: Path, plan: Path, words: tuple[str, ...]) -> None:
    seen, out, _ = run(tmp_path, *(str(plan) if word == "PLAN" else word for word in words))
    assert (seen["code"], seen["loaded"]) == (0, [])
    assert out


def test_status_asks_no_heavy_package_either(tmp_path: Path) -> None:
    seen, _, _ = run(tmp_path, "status")
    assert seen["loaded"] == []


def test_every_error_of_a_plan_is_told_at_once_with_its_place(tmp_path: Path) -> None:
    path = tmp_path / "bad.yaml"
    path.write_text(PLAN.replace("weight: 10", "wait: 10").replace("margin: 5%", "margin: 5"))
    seen, _, said = run(tmp_path, "validate", "-f", str(path))
    assert seen["code"] == 2
    assert f"{path}:4:" in said
    assert f"{path}:5:" in said
    assert "Traceback" not in said


def test_a_command_that_is_not_there_is_bad_usage(tmp_path: Path) -> None:
    seen, _, said = run(tmp_path, "rolout")
    assert seen["code"] == 2
    assert "rollout" in said, "the nearest command is named"


def test_what_cannot_be_reached_is_exit_code_6_and_names_the_fix(tmp_path: Path) -> None:
    seen, _, said = run(tmp_path, "status")
    assert seen["code"] in (1, 6)
    assert "sluice up" in said


QUIET: dict[str, object] = {"served": [], "decisions": [], "silences": {}}
"""An overview in which nothing is served and nothing needs anybody."""
VIEW = {
    "id": "m-v2-1", "model": "m", "strategy": "canary", "stable": "1", "candidate": "2", "phase": "running",
    "ending": None, "reason": "every gate passed at 5 %", "actor": "policy", "needs_person": False,
    "no_driver": None,
    "held_up": None,
    "blind": None,
    "errors": {},
    "offline": [],
    "external": [],
    "hooks": [],
    "launch": None,
    "waits_for": "98 of 200 candidate requests served at this step",
    "step": 1, "steps": 2, "weight": 10.0, "observed": True,
    "observed_weight": 9.8, "candidate_requests": 98, "stable_requests": 902, "elapsed": 62.0, "settled": False,
    "gates": [
        {"metric": "errors", "guardrail": True, "verdict": "UNDECIDED", "reason": "no harm found"},
        {"metric": "log_loss", "guardrail": False, "verdict": "PASS", "reason": "5% worse ruled out"},
    ],
}  # fmt: skip


def test_the_tree_says_arms_gates_and_what_it_waits_for() -> None:
    assert tree(VIEW).splitlines() == [
        "m  CANARY RUNNING  step 1/2  weight 10 %, 9.8 % observed  1m2s elapsed  [m-v2-1]",
        "+- [##..................] 10 % v2, 90 % v1",
        "+- stable     v1     902 requests at this weight",
        "+- candidate  v2     98 requests at this weight",
        "|  +- guard errors       UNDECIDED  no harm found",
        "|  `- gate log_loss     PASS       5% worse ruled out",
        "+- every gate passed at 5 %  (by policy)",
        "`- next: 98 of 200 candidate requests served at this step",
    ]


def test_the_tree_shows_a_launch_by_its_stages() -> None:
    launching = VIEW | {"phase": "launching", "launch": "packing", "waits_for": "packing, for 12s now", "weight": 0.0}
    lines = tree(launching).splitlines()
    assert lines[1] == "+- launch [###...] fetching > environment > [packing] > starting > probing"
    assert lines[-1] == "`- now: packing, for 12s now"
    getting = "+- launch [####...] fetching > environment > packing > [getting] > starting > probing"
    assert tree(launching | {"launch": "getting"}).splitlines()[1] == getting, "only where bentos are shared"
    assert "launch [......] fetching" in tree(launching | {"launch": "waiting"})
    assert "launch" not in tree(VIEW)


@pytest.mark.parametrize("width", [40, 60, 80])
def test_on_a_narrow_terminal_no_line_is_too_long_and_no_word_is_lost(width: int) -> None:
    long = VIEW["gates"][1] | {
        "reason": "log loss is 0.01 lower (better) than v1's, 92 % CI -0.12 to 0.15, after 2,900 labels"
    }  # type: ignore[index]
    view = VIEW | {"gates": [VIEW["gates"][0], long]}  # type: ignore[index]
    folded = tree(view, width)
    assert max(map(len, folded.splitlines())) <= width
    assert set(tree(view).split()) <= set(folded.split())


def test_a_bar_shows_any_share_and_that_it_is_not_all() -> None:
    assert [bar(weight, 4) for weight in (0, 0.01, 50, 99.99, 100)] == [
        "[....]",
        "[#...]",
        "[##..]",
        "[###.]",
        "[####]",
    ]


def test_alone_it_says_first_what_needs_somebody_and_how_to_answer() -> None:
    paused = VIEW | {"id": "m-v3-2", "phase": "paused", "needs_person": True, "waits_for": "paused: let me look"}
    ended = VIEW | {"id": "m-v1-0", "ending": "promoted"}
    served = [{"model": "m", "build": "1", "arm": "stable", "desired": 90.0, "audience": "default"}]
    lines = list(describe([VIEW, paused, ended], QUIET | {"served": served}))
    assert lines[0] == "Needs you: 1"
    assert {"    sluice rollout resume m-v3-2", "    sluice rollout abort m-v3-2"} <= set(lines[:6])
    assert any("m-v2-1" in line for line in lines)
    assert not any("m-v1-0" in line for line in lines)
    assert "  m  v1 (stable) answers 90 % of all requests" in lines
    assert lines[-1].endswith("sluice COMMAND --help explains one.")


def test_alone_it_says_what_is_held_up_and_offers_only_what_is_possible() -> None:
    late = VIEW | {"phase": "launching", "held_up": "packing for 21m. To find out why: sluice logs m-v2-1"}
    lines = list(describe([late], QUIET))
    assert lines[0] == "Needs you: 1"
    assert "    packing for 21m. To find out why: sluice logs m-v2-1" in lines
    assert "    sluice rollout abort m-v2-1" in lines
    assert not any("approve" in line for line in lines)
    harmed = VIEW | {"phase": "confirming", "needs_person": True}
    assert not any("approve" in line for line in describe([harmed], QUIET))


def test_alone_it_says_that_requests_have_stopped_and_that_a_goal_is_reached() -> None:
    silence = "No request has come to m for 12 minutes, so there is nothing new to judge."
    goal = {"experiment": "m-exp-1", "model": "m", "control": "default", "is_over": False, "variation": "b",
            "build": "3", "rollout": "m-b-v3-1", "reason": "cost is 5 % lower (better)"}  # fmt: skip
    lines = list(describe([VIEW], QUIET | {"decisions": [goal], "silences": {"m-v2-1": silence}}))
    assert lines[:7] == [
        "Needs you: 1",
        "  m: b (v3) reached the goal of m-exp-1",
        "    cost is 5 % lower (better)",
        "    to give default the build of b:",
        "    sluice rollout promote m-b-v3-1",
        "    to end it without a change:",
        "    sluice experiment end m-exp-1",
    ]
    assert f"    {silence}" in lines
    over = list(describe([], QUIET | {"decisions": [goal | {"is_over": True}]}))
    assert not any("experiment end" in line for line in over)


def test_a_gate_of_an_earlier_step_says_so_in_the_tree() -> None:
    earlier = VIEW["gates"][1] | {"must_pass_again": True, "step": 1}  # type: ignore[index]
    assert "PASS       at step 1, not judged at this step yet: 5% worse" in tree(VIEW | {"gates": [earlier]})


def test_the_overview_names_those_whom_no_audience_matches_and_says_whose_time_it_is(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    row = {"variation": "default", "build": "1", "arm": "stable", "desired": 100.0, "observed": None, "verdict": None,
           "requests_per_second": None, "error_rate": None, "p95": None, "rollout": None,
           "since": "2026-11-30T17:05:57.123456+00:00"}  # fmt: skip
    whose = [("m", "default"), ("n", "ny"), ("n", "default")]
    served = [row | {"model": model, "audience": audience} for model, audience in whose]
    monkeypatch.setattr(models, "call", lambda *_, **__: {"served": served, "unread": None, "next_after": None})
    models.overview()
    head, *rows = capsys.readouterr().out.splitlines()
    assert "SINCE (UTC)" in head
    assert [re.split(r"  +", line)[1] for line in rows] == ["everybody", "ny", "everybody else"]
    assert all("2026-11-30 17:05:57 " in line for line in rows)


def test_alone_after_down_it_does_not_say_that_anything_serves() -> None:
    served = [{"model": "m", "build": "1", "arm": "stable", "desired": 100.0, "audience": "default"}]
    stopped = "\n".join(describe([], QUIET | {"served": served}, is_stopped=True))
    assert stopped.startswith("Nothing runs here now, so nobody is answered. To start everything: sluice up")
    assert ("Serving as soon as it runs:" in stopped, "Serving:" in stopped) == (True, False)


def test_alone_where_nothing_runs_it_says_how_to_begin(tmp_path: Path) -> None:
    seen, out, _ = run(tmp_path)
    assert (seen["code"], seen["loaded"]) == (0, [])
    assert "sluice up" in out
    assert "sluice --help" in out


def test_a_weight_that_is_not_served_yet_says_so() -> None:
    assert "not yet in force" in head(VIEW | {"observed": False})


@pytest.mark.parametrize(
    ("ending", "phase", "code"),
    [
        (None, "running", None), (None, "baking", None), (None, "paused", 4), ("aborted", "ended", 3),
        ("failed", "ended", 1), ("superseded", "ended", 1), ("promoted", "ended", 0), ("concluded", "ended", 0),
    ],
)  # fmt: skip
def test_watching_ends_with_a_stable_exit_code(ending: str | None, phase: str, code: int | None) -> None:
    assert _exit_code({"ending": ending, "phase": phase, "needs_person": phase == "paused"}) == code


def test_the_history_tells_what_happened_who_did_it_and_why(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    moments = [
        {"at": "2026-11-30T10:00:00.5+00:00", "actor": "ada", "text": "canary of m v2 requested", "why": "by hand"},
        {"at": "2026-11-30T10:00:09+00:00", "actor": "driver", "text": "packed as m:v2", "why": ""},
    ]
    told = {"facts": [{"seq": 0, "fact": "Requested"}], "timeline": moments}
    monkeypatch.setattr(rollouts, "call", lambda *_, **__: told)
    rollouts.history("r")
    assert capsys.readouterr().out.splitlines() == [
        "AT (UTC)             BY      WHAT HAPPENED",
        "2026-11-30 10:00:00  ada     canary of m v2 requested: by hand",
        "2026-11-30 10:00:09  driver  packed as m:v2",
    ]
    rollouts.history("r", output=rollouts.Format.JSON)
    assert json.loads(capsys.readouterr().out) == told["facts"]


@pytest.mark.parametrize("in_force_at", [1, 3])
def test_watching_ends_once_the_last_weight_is_in_force(monkeypatch: pytest.MonkeyPatch, in_force_at: int) -> None:
    aborted = VIEW | {"ending": "aborted", "phase": "ended", "weight": 0.0}
    views = iter([VIEW, *(aborted | {"observed": look >= in_force_at} for look in range(1, 5))])
    seen: list[bool] = []

    def asked(*_: object) -> Mapping[str, Any]:
        view = next(views)
        seen.append(bool(view["observed"]))
        return view

    monkeypatch.setattr(rollouts, "call", asked)
    monkeypatch.setattr(rollouts, "LOOK_SECONDS", 0.0)
    assert rollouts._watch("r", None, rollouts.Format.TABLE) == 3
    assert (len(seen), seen[-1]) == (1 + in_force_at, True)


def test_watching_ends_although_the_gateway_is_away(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rollouts, "call", lambda *_: VIEW | {"ending": "aborted", "phase": "ended", "observed": False})
    monkeypatch.setattr(rollouts, "LOOK_SECONDS", 0.0)
    monkeypatch.setattr(rollouts, "IN_FORCE_SECONDS", 0.05)
    assert rollouts._watch("r", None, rollouts.Format.TABLE) == 3


def test_watching_ends_where_a_running_step_waits_for_approval() -> None:
    assert _exit_code(VIEW | {"needs_person": True}) == 4
    assert "waits for a person" in tree(VIEW | {"needs_person": True})


def test_a_first_build_shows_no_empty_arm_and_no_counts() -> None:
    shown = tree(VIEW | {"stable": None, "stable_requests": 0, "candidate_requests": 0, "waits_for": None})
    assert "none" not in shown
    assert "0 requests" not in shown


def test_columns_align_and_show_nothing_as_a_dash() -> None:
    assert columns(("A", "BB"), [(1, None), (100, "x")]) == "A    BB\n1    -\n100  x"


def test_a_dry_run_tells_what_would_happen_and_nothing_happens(tmp_path: Path, plan: Path) -> None:
    state = tmp_path / "state"
    state.mkdir()
    ledger = SqlLedger(f"sqlite:///{state / 'ledger.db'}")
    given = Given(ledger=ledger)
    given.ticks()
    before = ledger.position()
    code, out, _ = sluice(state, "rollout", "abort", given.name, "--reason", "seen enough", "--dry-run")
    assert code == 0
    assert out.startswith(f"would append to {given.name}: Aborted actor=")
    assert "reason=seen enough" in out
    assert ledger.position() == before
    code, _, err = sluice(state, "--dry-run", "apply", "-f", str(plan))
    assert (code, "sluice diff" in err) == (2, True)


def test_completion_offers_the_names_that_are_there_and_nothing_where_nothing_answers(tmp_path: Path) -> None:
    state = tmp_path / "state"
    state.mkdir()
    given = Given(ledger=SqlLedger(f"sqlite:///{state / 'ledger.db'}"))
    _, out, _ = sluice(state, "__complete", "rollout", "abort", "del")
    assert given.name in out.split()
    assert "delays" in out.split()
    code, out, err = sluice(tmp_path / "nothing", "__complete", "rollout", "abort", "del")
    assert (code, "delays" in out, "Traceback" in err) == (0, False, False)


def test_a_refused_prediction_tells_what_is_wrong_and_each_fix() -> None:
    problems = [{"where": "inputs[0].cals", "what": "unknown column", "fix": "Did you mean 'calls'?"}]
    told = _refusal("churn", 400, json.dumps({"error": "inputs[0].cals: unknown column", "problems": problems}))
    assert (told.exit_code, told.message) == (2, "churn answered 400: inputs[0].cals: unknown column")
    assert told.fix == "Did you mean 'calls'?"
    assert "sluice overview" in (_refusal("chrn", 404, json.dumps({"error": "no route"})).fix or "")
    broken = _refusal("churn", 500, "not JSON\n")
    assert (broken.exit_code, broken.message, broken.fix) == (1, "churn answered 500: not JSON", None)


def test_a_file_of_data_that_is_not_there_is_named(tmp_path: Path) -> None:
    code, _, told = sluice(tmp_path / "s", "predict", "churn", "--data", f"@{tmp_path}/none.json")
    assert code == 2
    assert f"{tmp_path}/none.json cannot be read: No such file" in told
    assert "not JSON" not in told


def test_a_gate_with_a_cap_is_not_said_to_have_no_margin() -> None:
    step = StepForecast(step=0, weight=1000, margin=None, requests=24_516.0, seconds=None)
    assert (
        _step(step)
        == "  10 %, rate below its limit: a candidate that is as good as stable passes after 24,516 requests"
    )


def test_ctrl_c_says_that_what_was_begun_goes_on(tmp_path: Path) -> None:
    command = [
        sys.executable,
        "-c",
        _RUN.format(heavy=HEAVY).replace("import sys\n", _INTERRUPTIBLE, 1),
        "gate",
        "replay",
    ]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, bufsize=1
    ) as begun:
        assert begun.stdin is not None
        assert begun.stdout is not None
        begun.stdin.write(_PLAN_LINE + "\n" + _LOOK_LINE + "\n")
        assert json.loads(begun.stdout.readline())
        begun.send_signal(signal.SIGINT)
        told = begun.communicate()[1].splitlines()
    assert told[0] == "sluice: interrupted; a rollout or a start under way continues."
    assert json.loads(told[-1])["code"] == 130


def test_verify_tells_of_a_changed_fact_and_of_a_head_that_is_gone(tmp_path: Path) -> None:
    code, _, said = sluice(tmp_path, "verify")
    assert (code, "there is no ledger" in said) == (1, True)
    ledger = SqlLedger(f"sqlite:///{tmp_path / 'ledger.db'}")
    Given(ledger=ledger)
    ledger.close()
    code, out, _ = sluice(tmp_path, "verify", "-o", "json")
    told = json.loads(out)
    assert (code, told["intact"], told["faults"]) == (0, True, [])
    assert sluice(tmp_path, "verify", "--head", told["head"]).code == 0
    assert sluice(tmp_path, "verify", "--head", "yesterday's").code == 2
    with sqlite3.connect(tmp_path / "ledger.db") as raw:
        raw.execute("UPDATE entries SET at = '2020' || substr(at, 5) WHERE seq = 0")
    raw.close()
    code, out, _ = sluice(tmp_path, "verify")
    assert (code, "was changed" in out) == (1, True)


def test_a_replay_where_nothing_was_ever_started_makes_no_ledger(tmp_path: Path) -> None:
    code, _, said = sluice(tmp_path / "mistyped", "gate", "replay", "--rollout", "m-v1-1")
    assert (code, "there is no ledger in" in said) == (1, True)
    assert not (tmp_path / "mistyped").exists()
