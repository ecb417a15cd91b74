"""Plans from YAML: every error of every document at once, each with its place and its fix."""

from __future__ import annotations

import copy
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from sluicegate.flows.cli.documents import validate
from sluicegate.registry.documents.documents import read_documents
from sluicegate.registry.plan.against_build import check_against_build
from sluicegate.registry.plan.plan import Plan, written
from sluicegate.registry.plan.reading import json_schema
from sluicegate.registry.words.build import Build, BuildRef
from sluicegate.registry.words.errors import InvalidDocument, Problem, UsageError
from tests.plans import plan_from_values, read_plan

GOOD = """\
kind: plan
model: delays
trigger: {alias: candidate}
serve: {workers: 1, timeout: 5s, retry: true, env: project}
unit: X-User-Id
metrics:
  errors:   {source: status}
  p99:      {source: latency, quantile: 0.99}
  log_loss: {source: outcome, outcome: late, prediction: {column: probability, positive: 1}, matures_after: 3h}
gates:
  - {metric: log_loss, alpha: 0.03, margin: 5%}
  - {metric: p99, alpha: 0.01, margin: 20%}
guardrails:
  - {metric: errors, alpha: 0.01}
steps:
  - {weight: 1, margins: {log_loss: 100%}, min_requests: 500}
  - {weight: 10, margins: {log_loss: 30%}, soak: 10m}
  - {weight: 50, approval: true}
bake: 30m
deadline: {after: 3d, then: pause}
expect: {requests_per_day: 20000}
"""


def problems(text: str) -> list[Problem]:
    """What is wrong with a text."""
    with pytest.raises(InvalidDocument) as raised:
        read_plan(text, "plan.yaml")
    return list(raised.value.problems)


def said(text: str) -> list[str]:
    return [str(problem) for problem in problems(text)]


def changed(old: str, new: str) -> str:
    assert GOOD.count(old) == 1
    return GOOD.replace(old, new)


# --- what is good ----------------------------------------------------------------------------------------------------


def test_the_plan_of_the_design_is_read() -> None:
    plan = read_plan(GOOD, "plan.yaml")
    assert plan.unit == "x-user-id"
    assert plan.serve.timeout == 5.0
    assert [step.weight for step in plan.steps] == [100, 1_000, 5_000]
    assert plan.metrics["log_loss"].score == "log_loss"
    assert [plan.margin(plan.gates[0], step) for step in range(3)] == [1.0, 0.3, 0.05]


def test_a_plan_comes_back_from_its_document() -> None:
    plan = read_plan(GOOD, "plan.yaml")
    for again in (Plan.model_validate(plan.document()), Plan.recorded(json.loads(json.dumps(plan.document())))):
        assert again == plan
        assert again.digest == plan.digest


def test_two_spellings_of_one_plan_share_their_digest() -> None:
    spelled = GOOD.replace("X-User-Id", "x-user-id").replace("10m", "600s").replace("100%", "100.0%")
    explicit = spelled.replace("outcome: late,", "outcome: late, score: log_loss,")
    assert read_plan(explicit, "a").digest == read_plan(GOOD, "b").digest
    assert read_plan(changed("30m", "31m"), "b").digest != read_plan(GOOD, "b").digest


def test_json_is_yaml_too() -> None:
    document = read_plan(GOOD, "plan.yaml").document()
    assert read_plan(json.dumps(document, indent=1), "plan.json") == plan_from_values(document, "body")


def test_anchors_and_aliases_are_read() -> None:
    text = changed("  p99:      {source: latency, quantile: 0.99}", "  p99: &slow {source: latency, quantile: 0.99}\n"
                   "  p98: *slow").replace("guardrails:", "guardrails:\n  - {metric: p98, alpha: 0.01}")  # fmt: skip
    assert read_plan(text, "plan.yaml").metrics["p98"].quantile == 0.99


# --- single errors ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("old", "new", "expected", "fix"),
    [
        ("deadline:", "dedline:", "20:1 dedline: unknown key dedline", "did you mean deadline?"),
        ("timeout: 5s", "timeuot: 5s", "4:21 serve.timeuot: unknown key timeuot", "did you mean timeout?"),
        ("timeout: 5s", "timeout: 5", "4:30 serve.timeout: not a duration: 5", "such as 30s, 10m, 3h or 2d"),
        ("env: project", "env: isolate", "4:52 serve.env: 'isolate' is not allowed here", "did you mean isolated?"),
        (
            "then: pause",
            "then: promote",
            "20:29 deadline.then: 'promote' is not allowed here",
            "known are abort, pause",
        ),
        (
            "retry: true",
            "retry: perhaps",
            "4:41 serve.retry: input should be a valid boolean, unable to interpret input",
            "write true or false",
        ),
        (
            "margin: 5%",
            "margin: 5",
            "11:45 gates.0.margin: not a percentage: 5",
            "write it with its sign, such as 5% or 0.5%",
        ),
        ("weight: 10,", "weight: 1000,", "17:14 steps.1.weight: not a weight: 1000", "between 0.01 and 100"),
        (
            "model: delays",
            "model: a/b",
            "2:8 model: 'a/b' is not a valid name",
            "write at most 200 characters, without / and :",
        ),
        (
            "  errors:   {",
            "  er rors:  {",
            "7:3 metrics.er rors: 'er rors' is not a valid name",
            "start with a letter; then letters, digits, _,",
        ),
        ("kind: plan", "kind: plna", "1:7 kind: there is no kind 'plna'", "known are plan"),
        ("kind: plan\n", "", "1:1 document: kind is missing", "write kind: one of plan"),
        (
            "{weight: 50, approval: true}",
            "{approval: true}",
            "18:5 steps.2.weight: weight is missing",
            "write weight: …",
        ),
        (
            "bake: 30m",
            "bake: 30m\nbake: 40m",
            "20:1 bake: bake is written twice, first in line 19",
            "remove one of them",
        ),
        (
            "bake: 30m",
            "bake: !!python/object:os.system 30m",
            "19:7 bake: the tag python/object:os.system is not supported",
            "write the plain value",
        ),
        ("bake: 30m", "? [a, b]\n: 1", "19:3 document: a key must be a text", "write a name before the colon"),
    ],
)
def test_an_error_says_where_and_how_to_mend_it(old: str, new: str, expected: str, fix: str) -> None:
    found = said(changed(old, new))
    assert any(each.startswith(f"plan.yaml:{expected} (") and fix in each for each in found), found


@pytest.mark.parametrize(
    ("old", "new", "at", "fix"),
    [
        ("{alias: candidate}", "{alias: champion}", "trigger.alias", "use another"),
        ("{alias: candidate}", "{alias: champion-b}", "trigger.alias", "use another"),
        ("- {metric: errors, alpha: 0.01}", "- {metric: erors, alpha: 0.01}", "guardrails.0.metric", "mean errors?"),
        ("  - {metric: errors, alpha: 0.01}", "  []", "metrics.errors", "add a gate or a guardrail"),
        ("quantile: 0.99", "worse: higher", "metrics.p99", "write quantile: 0.99"),
        ("quantile: 0.99", "quantile: 0.99, cap: 3", "metrics.p99.cap", "remove cap"),
        ("quantile: 0.99", "quantile: 0.99, worse: lower", "metrics.p99.worse", "remove worse"),
        ("{source: status}", "{source: status, outcome: x}", "metrics.errors.outcome", "remove it"),
        ("{source: status}", "{source: status, matures_after: 1h}", "metrics.errors.matures_after", "remove it"),
        ("outcome: late, ", "", "metrics.log_loss", "write outcome: NAME"),
        (", positive: 1", "", "metrics.log_loss.prediction", "positive: 1"),
        ("outcome: late, ", "outcome: late, score: outcome, ", "metrics.log_loss.prediction", "remove prediction"),
        ("outcome: late, ", "outcome: late, cap: -1, ", "metrics.log_loss.cap", "largest value"),
        ("margins: {log_loss: 30%}", "margins: {log_los: 30%}", "steps.1.margins.log_los", "mean log_loss?"),
        ("margins: {log_loss: 30%}", "margins: {errors: 30%}", "steps.1.margins.errors", "known are"),
        ("margins: {log_loss: 30%}", "margins: {log_loss: 200%}", "steps.1.margins.log_loss", "let margins fall"),
        ("errors, alpha: 0.01", "errors, alpha: 0.01, margin: 5%", "guardrails.0.margin", "move it to gates"),
        ("errors, alpha: 0.01", "errors, alpha: 0.01, beta: 0.1", "guardrails.0.beta", "move it to gates"),
        ("{metric: p99, alpha: 0.01, margin: 20%}", "{metric: p99, alpha: 0.01}", "gates.1", "write margin: 5%"),
        ("- {metric: p99,", "- {metric: log_loss,", "gates.1.metric", "keep one"),
        ("log_loss, alpha: 0.03", "log_loss, alpha: 0.09", "gates", "add up to 0.1"),
        ("weight: 10,", "weight: 1,", "steps.1.weight", "write a weight above 1"),
        ("weight: 50,", "weight: 100,", "steps.2.weight", "smaller weight"),
        ("soak: 10m", "soak: 10m, max_time: 10m", "steps.1.max_time", "above 10m"),
        ("after: 3d", "after: 10m", "deadline.after", "more than 10m"),
    ],
)
def test_a_broken_rule_says_where_and_how_to_mend_it(old: str, new: str, at: str, fix: str) -> None:
    found = [problem for problem in problems(changed(old, new)) if problem.path == at]
    assert found, said(changed(old, new))
    assert fix in (found[0].fix or "")
    line = changed(old, new).splitlines()[found[0].line - 1]
    assert found[0].column <= len(line)


def test_an_unnamed_score_that_is_none_is_asked_for() -> None:
    text = GOOD.replace("log_loss:", "loss:").replace("log_loss,", "loss,")
    assert any(p.path == "metrics.loss" and "write score: one of" in (p.fix or "") for p in problems(text))


@pytest.mark.parametrize(
    "wrong", ["alpha: 0", "alpha: 0.00001", "alpha: 0.5", "alpha: .nan", "alpha: .inf", "margin: -5%", "margin: 2000%"]
)
def test_absurd_numbers_are_refused(wrong: str) -> None:
    text = changed("{metric: log_loss, alpha: 0.03, margin: 5%}", f"{{metric: log_loss, {wrong}}}")
    assert any(problem.path.startswith("gates.0") for problem in problems(text))


# --- all at once -----------------------------------------------------------------------------------------------------


def test_all_errors_come_at_once_and_in_order() -> None:
    text = (
        changed("timeout: 5s", "timeuot: 5")
        .replace("source: status", "source: statuss")
        .replace("metric: p99", "metric: p98")
        .replace("weight: 10,", "weight: 1,")
        .replace("then: pause", "then: promote")
    )
    found = problems(text)
    assert [(p.line, p.path) for p in found] == [
        (4, "serve.timeuot"),
        (7, "metrics.errors.source"),
        (8, "metrics.p99"),
        (12, "gates.1.metric"),
        (17, "steps.1.weight"),
        (20, "deadline.then"),
    ]


def test_a_rule_is_not_reported_for_what_was_not_read() -> None:
    paths = {problem.path for problem in problems(changed("quantile: 0.99", "quantile: 9"))}
    assert paths == {"metrics.p99.quantile"}
    paths = {problem.path for problem in problems(changed("weight: 1,", "weight: no,"))}
    assert paths == {"steps.0.weight"}


def test_documents_of_files_and_folders_are_read_together(tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    (tmp_path / "a.yaml").write_text(GOOD + "---\n" + GOOD.replace("model: delays", "model: fares"))
    (tmp_path / "deep" / "b.yml").write_text(GOOD.replace("model: delays", "model: delays\nvariation: b"))
    (tmp_path / "notes.txt").write_text("not ours")
    found = read_documents([tmp_path, tmp_path / "a.yaml"])
    assert [document.name for document in found] == ["delays/default", "fares/default", "delays/b"]
    assert [document.line for document in found] == [1, GOOD.count("\n") + 2, 1]


def test_errors_of_all_documents_come_together(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("kind: plan\nmodel: 7\n---\nkind: zebra\n---\n- 1\n")
    (tmp_path / "b.yaml").write_text("kind: plan\n  model: x: y\n")
    (tmp_path / "c.yaml").write_text(GOOD)
    with pytest.raises(InvalidDocument) as raised:
        read_documents([tmp_path])
    found = [(Path(p.where).name, p.line, p.path) for p in raised.value.problems]
    assert found == [
        ("a.yaml", 1, "steps"),
        ("a.yaml", 2, "model"),
        ("a.yaml", 4, "kind"),
        ("a.yaml", 6, "document"),
        ("b.yaml", 2, "document"),
    ]
    assert raised.value.exit_code == 2


def test_one_target_has_one_plan(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(GOOD + "---\n" + GOOD)
    with pytest.raises(InvalidDocument, match=r"the plan delays/default is declared twice; first in .*a\.yaml:1"):
        read_documents([tmp_path])


def test_what_cannot_be_read_is_said(tmp_path: Path) -> None:
    (tmp_path / "latin.yaml").write_bytes("model: délais".encode("latin-1"))
    for path, why in ((tmp_path / "none.yaml", "cannot be read"), (tmp_path / "latin.yaml", "not UTF-8")):
        with pytest.raises(UsageError, match=why):
            read_documents([path])
    (tmp_path / "latin.yaml").unlink()
    with pytest.raises(UsageError, match="no document"):
        read_documents([tmp_path])
    with pytest.raises(InvalidDocument, match="one document is expected here, and there are 2"):
        read_plan(GOOD + "---\n" + GOOD, "plan.yaml")


def test_problems_of_json_name_their_paths() -> None:
    with pytest.raises(InvalidDocument, match=r"body:1:1 serve\.workers"):
        plan_from_values({"kind": "plan", "model": "m", "serve": {"workers": 0}, "steps": [{"weight": 1}]}, "body")
    for wrong in (None, [], "plan", 7):
        with pytest.raises(InvalidDocument, match="a mapping of keys and values"):
            plan_from_values(wrong, "body")


# --- hostile texts ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("a: &a [x, x, x]\n" + "".join(f"{c}: &{c} [*{p}, *{p}, *{p}, *{p}]\n" for p, c in
                                       zip("abcdefghij", "bcdefghijk", strict=True)), "more than 20,000 values"),
        ("a: &a [*a]\n", "levels deep"),
        ("a: " + "[" * 60 + "]" * 60, "levels deep"),
        ("a: " + "[" * 5_000, "not YAML"),
        ("a: " + "9" * 5_000, "the number is too large"),
        ("x" * ((1 << 20) + 1), "longer than"),
        ("kind: plan\nmodel: \x00", "not YAML"),
        ("kind: plan\n<<: {model: m}\n", "merge keys"),
        ("kind: 'plan", "not YAML"),
        ("kind: plan\n\tmodel: m", "not YAML"),
        ("a: *nobody", "not YAML"),
        ("%YAML 9.9\n---\nkind: plan", ""),
    ],
    ids=lambda text: text[:12],
)  # fmt: skip
def test_a_hostile_text_is_refused_with_its_place(text: str, why: str) -> None:
    assert any(why in each for each in said(text))


@given(st.text(max_size=200))
def test_any_text_is_a_plan_or_a_list_of_problems(text: str) -> None:
    found: tuple[Problem, ...] | None = None
    try:
        read_plan(text, "any")
    except InvalidDocument as invalid:
        found = invalid.problems
    assert found is None or all(problem.line >= 1 and problem.column >= 1 for problem in found)
    assert found != ()


ANY: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)
PATHS = [
    ("model",), ("trigger",), ("trigger", "alias"), ("serve",), ("serve", "workers"), ("unit",), ("metrics",),
    ("metrics", "p99"), ("metrics", "p99", "quantile"), ("metrics", "log_loss", "prediction"), ("gates",), ("gates", 0),
    ("gates", 0, "metric"), ("gates", 0, "alpha"), ("gates", 1, "margin"), ("guardrails",), ("steps",), ("steps", 1),
    ("steps", 1, "weight"), ("steps", 0, "margins"), ("deadline",), ("expect",), ("bake",), ("strategy",),
]  # fmt: skip


@given(st.lists(st.tuples(st.sampled_from(PATHS), ANY), min_size=1, max_size=4))
def test_any_value_anywhere_is_a_plan_or_a_list_of_problems(changes: list[tuple[tuple[Any, ...], Any]]) -> None:
    values: Any = copy.deepcopy(read_plan(GOOD, "good").document())
    for path, value in changes:
        holder = values
        try:
            for part in path[:-1]:
                holder = holder[part]
            holder[path[-1]] = value
        except (KeyError, IndexError, TypeError):
            continue
    try:
        plan = plan_from_values(values, "body")
    except InvalidDocument:
        return
    assert Plan.model_validate(plan.document()) == plan


# --- schema, build, cost ---------------------------------------------------------------------------------------------


def _defaults(schema: dict[str, Any]) -> dict[str, Any]:
    return {name: each["default"] for name, each in schema["properties"].items() if each.get("default") is not None}


def test_the_schema_knows_every_key_and_refuses_others() -> None:
    schema = json_schema(Plan, "plan")
    assert schema["additionalProperties"] is False
    assert set(schema["properties"]) == set(Plan.model_fields)
    assert schema["required"] == ["model"]
    assert schema["properties"]["bake"]["type"] == "string"
    assert Draft202012Validator({"$defs": schema["$defs"], "properties": schema["properties"]}).is_valid(
        _defaults(schema)
    )
    assert schema["$defs"]["Serve"]["properties"]["timeout"]["default"] == "5s"
    assert schema["$defs"]["Capture"]["properties"]["share"]["default"] == "1%"
    assert schema["properties"]["unit"]["description"].startswith("The request header")
    json.dumps(schema)


def test_the_schema_asks_for_steps_unless_the_strategy_is_shadow() -> None:
    check = Draft202012Validator(json_schema(Plan, "plan")).is_valid
    shadow = {"strategy": "shadow", "shadow": {"sample": 20, "max_time": "2h"}}
    assert check({"model": "m", "steps": [{"weight": 10}]})
    assert check({"model": "m", **shadow})
    assert not check({"model": "m"})
    assert not check({"model": "m", **shadow, "strategy": "canary"})


def test_a_plan_of_the_past_is_read_whatever_rules_came_since() -> None:
    document: dict[str, object] = {"model": "m", "steps": [{"weight": 10}, {"weight": 10}]}
    with pytest.raises(ValueError, match="is not above"):
        Plan.model_validate(document)
    assert len(Plan.recorded(document).steps) == 2


def build(*outputs: dict[str, object]) -> Build:
    ref = BuildRef(model="delays", version="3")
    return Build(ref=ref, source="s", signature={"inputs": [], "outputs": list(outputs)} if outputs else None)


def column(name: str, kind: str) -> dict[str, object]:
    return {"type": kind, "name": name, "required": True}


def array(dtype: str, *shape: int) -> dict[str, object]:
    return {"type": "tensor", "tensor-spec": {"dtype": dtype, "shape": list(shape)}}


def scored(text: str, prediction: str) -> Plan:
    old = "prediction: {column: probability, positive: 1}, "
    return read_plan(changed(old, f"score: {text}, {prediction}"), "plan.yaml")


PROBABILITY = "prediction: {column: probability, positive: 1}, "


@pytest.mark.parametrize(
    ("score", "prediction", "outputs"),
    [
        ("log_loss", PROBABILITY, []),
        ("log_loss", PROBABILITY, [column("probability", "double"), column("label", "long")]),
        ("brier", PROBABILITY, [column("probability", "float")]),
        ("log_loss", "prediction: {column: 1, positive: 1}, ", [array("float64", -1, 2)]),
        ("log_loss", "prediction: {positive: 1}, ", [array("float64", -1)]),
        ("zero_one", "", [array("int64", -1)]),
        ("zero_one", "", [column("label", "string")]),
        ("absolute_error", "", [array("float32", -1)]),
    ],
)
def test_a_build_that_answers_what_is_scored_fits(
    score: str, prediction: str, outputs: list[dict[str, object]]
) -> None:
    assert check_against_build(scored(score, prediction), build(*outputs)) == ()


@pytest.mark.parametrize(
    ("score", "prediction", "outputs", "expected"),
    [
        (
            "log_loss",
            "prediction: {positive: 1}, ",
            [array("int64", -1)],
            "answers with labels only (type int64); log the",
        ),
        ("brier", "prediction: {column: label, positive: 1}, ", [column("label", "string")], "use score: zero_one"),
        ("log_loss", PROBABILITY, [column("probabilty", "double")], "did you mean probabilty?"),
        (
            "log_loss",
            PROBABILITY,
            [column("a", "double"), column("b", "double")],
            "answers with a, b, but not with a column",
        ),
        ("log_loss", "prediction: {column: 2, positive: 1}, ", [array("float64", -1, 2)], "not with a column 2"),
        ("log_loss", PROBABILITY, [array("float64", -1, 2)], "not with a column probability"),
        ("zero_one", "", [column("a", "long"), column("b", "long")], "not with a column prediction"),
    ],
)
def test_a_build_that_does_not_is_refused_with_the_fix(
    score: str, prediction: str, outputs: list[dict[str, object]], expected: str
) -> None:
    [problem] = check_against_build(scored(score, prediction), build(*outputs))
    assert problem.startswith("metric log_loss: ")
    assert expected in problem


def test_validating_imports_nothing_heavy() -> None:
    script = (
        "import sys, sluicegate.registry.documents.documents as f; f.read_document(sys.stdin.read(), 'p'); "
        "heavy = {'mlflow', 'prefect', 'bentoml', 'pandas', 'numpy', 'scipy', 'sqlalchemy', 'httpx'}; "
        "assert not heavy & set(sys.modules)"
    )
    root = Path(__file__).parents[2]
    subprocess.run([sys.executable, "-c", script], input=GOOD, text=True, check=True, cwd=root, timeout=60)


def test_no_plan_starts_by_the_alias_that_sluice_sets_itself() -> None:
    values: dict[str, Any] = {"model": "m", "steps": [{"weight": 10}]}
    for alias, champion_alias in (("champion", "live"), ("live", "champion")):
        assert Plan.model_validate(values | {"trigger": {"alias": alias}}, context=written(champion_alias)).trigger
    for alias, champion_alias in (("live", "live"), ("live-b", "live"), ("champion", "champion")):
        with pytest.raises(ValueError, match=f"the alias {alias} is set by sluice itself"):
            Plan.model_validate(values | {"trigger": {"alias": alias}}, context=written(champion_alias))
    with pytest.raises(ValueError, match="the alias champion is set by sluice itself"):
        Plan.model_validate(values | {"trigger": {"alias": "champion"}})


def test_validate_takes_the_alias_of_the_setting_and_tells_of_it_with_all_other_errors(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SLUICE_CHAMPION_ALIAS", "live")
    file = tmp_path / "plan.yaml"
    file.write_text("kind: plan\nmodel: m\ntrigger:\n  alias: live\nsteps:\n- weight: 200\n")
    with pytest.raises(InvalidDocument) as refused:
        validate((file,))
    assert [(problem.line, problem.path) for problem in refused.value.problems] == [
        (4, "trigger.alias"), (6, "steps.0.weight"),
    ]  # fmt: skip


def test_a_value_where_keys_are_wanted_names_the_keys() -> None:
    [told] = said(changed("deadline: {after: 3d, then: pause}", "deadline: 3d"))
    assert "'3d' must be a mapping of keys to values (known keys are after, then)" in told
