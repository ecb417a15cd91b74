"""External gates in a plan: what is refused, where, and with which fix; and what takes the place of placeholders."""

from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sluicegate.flows.wiring.sources import source_findings
from sluicegate.registry.plan.external import Breaks, ExternalGate
from sluicegate.registry.plan.placeholders import bind_sql, fill_path, fill_promql, path_faults
from sluicegate.registry.plan.plan import Plan
from sluicegate.registry.words.errors import InvalidDocument
from sluicegate.services.host.doctor.finding import CheckStatus
from tests.plans import read_plan

GATE = "name: gpu, source: prom, promql: 'up', below: 0.9"
HEAD = "kind: plan\nmodel: m\nmetrics: {errors: {source: status}}\ngates: [{metric: errors, below: 1%}]\n"
STEPS = "steps: [{weight: 10}]\n"


def refusal(gate: str, rest: str = STEPS) -> str:
    with pytest.raises(InvalidDocument) as error:
        read_plan(f"{HEAD}external: [{{{gate}}}]\n{rest}", "plan.yaml")
    return str(error.value)


def test_a_plan_with_the_defaults() -> None:
    (gate,) = read_plan(f"{HEAD}external: [{{{GATE}}}]\n{STEPS}", "plan.yaml").external
    assert (gate.every, gate.max_age, gate.after, gate.fails) == (60, 300, 0, Breaks(broken=3, samples=5))
    assert (gate.limit, gate.guardrail, gate.then, gate.decides) == ("below 0.9", False, "abort", True)


@pytest.mark.parametrize(
    ("gate", "says"),
    [
        ("name: gpu, source: prom, below: 1", "it has no question for prom"),
        (
            "name: gpu, source: prom, promql: up, sql: SELECT 1, below: 1",
            "it has promql and sql, but a gate asks one question",
        ),
        ("name: gpu, source: prom, promql: up", "gpu has no limit"),
        ("name: gpu, source: prom, promql: up, below: 1%", "not a number: '1%'"),
        ("name: gpu, source: prom, promql: up, below: 300ms", "write it as the source gives it"),
        ("name: gpu, source: prom, promql: up, below: .nan", "finite number"),
        ("name: gpu, source: prom, promql: up, below: 1, above: 1", "no number is above 1 and also below 1"),
        ("name: errors, source: prom, promql: up, below: 1", "errors is the metric of a gate already"),
        (f"{GATE}}}, {{{GATE}", "2 external gates have the name gpu"),
        (f"{GATE}, fails: 6 of 5", "write such as 3 of 5"),
        (f"{GATE}, fails: 0 of 5", "write such as 3 of 5"),
        (f"{GATE}, fails: 3", "write such as 3 of 5"),
        (f"{GATE}, every: 1s", "5"),
        (
            f"{GATE}, every: 10m",
            "the source is asked every 10m, so each value would be too old before the next one comes",
        ),
        (f"{GATE}, then: pause, mode: watch", "nothing follows from a failure"),
        (f"{GATE}, guardrail: true, mode: watch", "it stops nothing, so it cannot be a guardrail"),
        (f"{GATE}, alpha: 0.01", "unknown key alpha"),
        (f"{GATE}, belwo: 1", "did you mean below?"),
        ("name: gpu, source: 'https://prom', promql: up, below: 1", "source"),
        ("name: gpu, source: prom, promql: 'up{v=\"{bild}\"}', below: 1", "there is no placeholder {bild}"),
        ("name: gpu, source: prom, promql: 'up{v={build}}', below: 1", "{build} stands outside of quotes"),
        ("name: gpu, source: prom, promql: 'up{v=`{build}`}', below: 1", "{build} stands outside of quotes"),
        ("name: gpu, source: prom, sql: DELETE FROM t, below: 1", "it is not a SELECT"),
        ("name: gpu, source: prom, sql: 'SELECT 1; SELECT 2', below: 1", "more than one statement"),
        ("name: gpu, source: prom, sql: \"SELECT 1; 'x'\", below: 1", "more than one statement"),
        ("name: gpu, source: prom, sql: \"SELECT a FROM t WHERE b = '{build}'\", below: 1", "without quotes"),
        ("name: gpu, source: prom, sql: 'SELECT {bild}', below: 1", "did you mean build?"),
        ("name: gpu, source: prom, http: {path: x, value: /a}, below: 1", "a path must begin with exactly one /"),
        (
            "name: gpu, source: prom, http: {path: //evil/x, value: /a}, below: 1",
            "a path must begin with exactly one /",
        ),
        ("name: gpu, source: prom, http: {path: /a/../b, value: /a}, below: 1", "a path must not contain .."),
        ("name: gpu, source: prom, http: {path: /a, value: a}, below: 1", "value"),
        ("name: gpu, source: prom, http: {path: /a}, below: 1", "value is missing"),
    ],
)
def test_what_is_inert_or_wrong_is_refused_with_its_fix(gate: str, says: str) -> None:
    said = refusal(gate)
    assert says in said
    assert "plan.yaml:5" in said


def test_a_shadow_alone_and_an_experiment_have_none() -> None:
    shadow = "strategy: shadow\nshadow: {sample: 20, max_time: 1h, gates: [{metric: errors, margin: 50%}]}\n"
    text = f"{HEAD.replace('gates: [{metric: errors, below: 1%}]', '')}external: [{{{GATE}}}]\n{shadow}"
    with pytest.raises(InvalidDocument, match="external gates judge a canary"):
        read_plan(text, "plan.yaml")


def test_a_plan_is_read_back_to_an_equal_one() -> None:
    plan = read_plan(f"{HEAD}external: [{{{GATE}, fails: 2 of 4, after: 5m, above: 0.1}}]\n{STEPS}", "plan.yaml")
    assert Plan.model_validate(plan.document()) == plan
    assert plan.document()["external"][0]["fails"] == "2 of 4"  # type: ignore[index]


@pytest.mark.parametrize("path", ["/a/%2e%2e/b", "/%2E./b", "/a/..", "/..%2fb", "/a?x=../b#c", "/a b", "/a\\b", "/a\n"])
def test_a_path_stays_below_its_source(path: str) -> None:
    assert list(path_faults(path))


TEXTS = st.text(st.characters(exclude_categories=("Cs", "Cc")), max_size=30)


def unquoted(text: str, mark: str) -> str:
    """What Go's rules make of the inside of a quoted text; fails where it ends before its end."""
    assert re.fullmatch(rf"(?:\\.|[^\\{mark}\n])*", text, re.DOTALL)
    return re.sub(r"\\(.)", r"\1", text)


@given(TEXTS, st.sampled_from("'\""))
def test_any_value_stays_inside_its_quotes_in_promql(value: str, mark: str) -> None:
    inside = fill_promql(f"a{{b={mark}{{model}}{mark}}}", {"model": value})
    assert unquoted(inside[5:-2], mark) == value


@given(TEXTS)
def test_any_value_means_itself_in_a_regular_expression(value: str) -> None:
    import re2

    inside = fill_promql('a{b=~"{model}"}', {"model": value})
    assert re2.fullmatch(unquoted(inside[6:-2], '"'), value)


@given(TEXTS)
def test_any_value_is_one_part_of_a_path(value: str) -> None:
    assert not re.search(r"[/?&#=\\\s]", fill_path("{model}", {"model": value}))


def test_sql_keeps_what_is_quoted_and_binds_the_rest() -> None:
    query = "SELECT a::int, '{build}:x', $$ {build} $$ FROM t -- {step}\nWHERE b = {build} AND c = {step}"
    bound, names = bind_sql(query)
    assert names == {"build", "step"}
    assert bound.count(":build") == 1
    assert bound.endswith("WHERE b = :build AND c = :step")


def test_a_limit_that_is_met_exactly_is_broken() -> None:
    fields: dict[str, Any] = {"name": "g", "source": "s", "promql": "up"}
    assert not ExternalGate(**fields, below=0.9).keeps(0.9)
    assert not ExternalGate(**fields, above=0.9).keeps(0.9)


@pytest.mark.parametrize("section", ["shadow", "ab"])
def test_external_gates_of_a_shadow_or_an_experiment_are_refused_with_what_to_do(section: str) -> None:
    spec = {"shadow": "{sample: 20, max_time: 1h, external: []}",
            "ab": "{variations: {default: 1, b: 1}, goal: {metric: e}, max_time: 1d, external: []}"}  # fmt: skip
    text = (
        "kind: plan\nmodel: m\nmetrics: {e: {source: status}}\ngates: [{metric: e, margin: 5%}]\n"
        f"steps: [{{weight: 10}}]\n{section}: {spec[section]}\n"
    )
    with pytest.raises(
        InvalidDocument, match=r"external gates judge a canary, beside its steps .write external at the top"
    ):
        read_plan(text, "plan.yaml")


# --- what the doctor says ---------------------------------------------------------------------------------------------

ASKING = Plan.model_validate({
    "model": "m", "steps": [{"weight": 10}],
    "external": [{"name": "memory", "source": "prometheus", "promql": "up", "below": 1}],
})  # fmt: skip


def test_a_source_that_a_plan_names_and_the_settings_do_not_is_a_finding() -> None:
    (finding,) = source_findings([ASKING], {})
    assert (finding.status, "SLUICE_SOURCE_PROMETHEUS is not set" in finding.found) == (CheckStatus.FAIL, True)
    assert "the plan of m/default asks prometheus" in finding.found
    (odd,) = source_findings([ASKING], {"SLUICE_SOURCE_PROMETHEUS": "nonsense s3cret"})
    assert (odd.status, "s3cret" in odd.found) == (CheckStatus.FAIL, False)
    (well,) = source_findings([ASKING], {"SLUICE_SOURCE_PROMETHEUS": "http://127.0.0.1:9"})
    assert well.status is CheckStatus.PASS
    assert source_findings([Plan.model_validate({"model": "m", "steps": [{"weight": 10}]})], {}) == ()
