"""Audience files: Qwak's shape as it is and the short form; every error of every document at once, with its place."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sluicegate.registry.audience.audience import (
    AllOf,
    AnyOf,
    Audience,
    Condition,
    Match,
    Not,
    Operator,
    Present,
    Range,
)
from sluicegate.registry.audience.short_form import audience_recorded, audience_written
from sluicegate.registry.documents.documents import ReadDocument, document_from_values, read_document, read_documents
from sluicegate.registry.words.errors import InvalidDocument, Problem

QWAK = """\
api_version: v1
spec:
  audiences:
    - name: New-York
      description: Users from New York aged 10-30
      conditions:
        unary:
          - key: location
            operator: UNARY_OPERATOR_TYPE_EXACT_MATCH
            operand: new-york
        binary:
          - key: age
            operator: BINARY_OPERATOR_TYPE_RANGE_MATCH
            first_operand: 10
            second_operand: 30
    - name: ca
      id: 6c2d
      routes: [{variation_name: b, weight: 100, shadow: false}]
      conditions: {unary: [{key: State, operator: EXACT, operand: California}]}
"""


def read(folder: Path, *texts: str) -> tuple[ReadDocument, ...]:
    """The documents of files a.yaml, b.yaml, … in a folder."""
    for name, text in zip("abcdef", texts, strict=False):
        (folder / f"{name}.yaml").write_text(text, encoding="utf-8")
    return read_documents((folder,))


def exact(header: str, *operands: str) -> Match:
    return Match(header=header, operator=Operator.EXACT, operands=operands)


def when(text: str, tmp_path: Path) -> Condition:
    (document,) = read(tmp_path, f"kind: audience\nname: x\nwhen: {text}\n")
    assert isinstance(document.value, Audience)
    return document.value.condition


def unary(operator: str, tmp_path: Path, operand: str = "operand: x") -> Condition:
    conditions = f"{{unary: [{{key: k, operator: {operator}, {operand}}}]}}"
    text = f"api_version: v1\nspec: {{audiences: [{{name: x, conditions: {conditions}}}]}}"
    (document,) = read(tmp_path, text)
    assert isinstance(document.value, Audience)
    return document.value.condition


def problems(folder: Path, *texts: str) -> list[Problem]:
    with pytest.raises(InvalidDocument) as raised:
        read(folder, *texts)
    return list(raised.value.problems)


# --- Qwak's shape ----------------------------------------------------------------------------------------------------


def test_every_audience_of_a_qwak_file_is_read_not_only_the_first(tmp_path: Path) -> None:
    found = read(tmp_path, QWAK)
    assert [(each.kind, each.name, each.line) for each in found] == [
        ("audience", "New-York", 4),
        ("audience", "ca", 16),
    ]
    assert found[0].value == Audience(
        name="New-York",
        description="Users from New York aged 10-30",
        condition=AllOf(conditions=(exact("location", "new-york"), Range(header="age", low=10, high=30))),
    )
    assert found[1].value.condition == exact("state", "California")


@pytest.mark.parametrize(
    ("word", "operator"),
    [
        ("EXACT", Operator.EXACT), ("SAFE_REGEX", Operator.REGEX), ("PREFIX", Operator.PREFIX),
        ("SUFFIX", Operator.SUFFIX), ("CONTAINS", Operator.CONTAINS),
    ],
)  # fmt: skip
def test_an_operator_may_be_spelled_long_or_short_in_any_case(word: str, operator: Operator, tmp_path: Path) -> None:
    camel = "".join(part.capitalize() for part in word.split("_"))
    for spelled in (
        word, word.lower(), f"UNARY_OPERATOR_TYPE_{word}_MATCH", f"{word}_MATCH", f"unaryOperatorType{camel}Match",
    ):  # fmt: skip
        assert unary(spelled, tmp_path) == Match(header="k", operator=operator, operands=("x",)), spelled


def test_presence_needs_no_operand_and_a_doubtful_one_is_refused(tmp_path: Path) -> None:
    for operand in ("invert: false", "operand: ''", "operand: true", "operand: anything"):
        assert unary("UNARY_OPERATOR_TYPE_PRESENT_MATCH", tmp_path, operand) == Present(header="k")
    with pytest.raises(InvalidDocument, match="invert: true"):
        unary("PRESENT", tmp_path, "operand: false")


def test_invert_is_a_not(tmp_path: Path) -> None:
    assert unary("EXACT", tmp_path, "operand: x, invert: true") == Not(condition=exact("k", "x"))


def test_keys_may_be_in_camel_case(tmp_path: Path) -> None:
    text = """\
apiVersion: v1
spec:
  audiences:
    - name: x
      conditions: {binary: [{key: age, operator: range, firstOperand: "1.5", secondOperand: 3}]}
"""
    assert read(tmp_path, text)[0].value.condition == Range(header="age", low=1.5, high=3)


@pytest.mark.parametrize("conditions", ["", "conditions:", "conditions: {unary: []}", "conditions: {binary: }"])
def test_an_audience_without_conditions_is_everybody(conditions: str, tmp_path: Path) -> None:
    text = f"api_version: v1\nspec:\n  audiences:\n    - name: x\n      {conditions}\n"
    assert read(tmp_path, text)[0].value.condition == AllOf(conditions=())


def test_what_is_wrong_in_a_qwak_file_is_said_all_at_once_with_its_place(tmp_path: Path) -> None:
    text = """\
api_version: v2
spec:
  audiences:
    - name: a/b
      conditions:
        unary:
          - {key: "sta te", operator: EXACT, operand: x}
          - {key: state, operator: EXCAT, operand: x}
          - {key: state, operator: RANGE_MATCH, operand: x}
          - {key: state, operater: EXACT, operand: x}
          - {key: state, operator: SAFE_REGEX, operand: "(?=x)"}
        binary:
          - {key: age, operator: RANGE, first_operand: 30, second_operand: 10}
          - {key: age, operator: RANGE, first_operand: ten}
    - conditions: []
      routes: [{variation_name: a}]
"""
    found = {(each.line, each.column): f"{each.message} | {each.fix}" for each in problems(tmp_path, text)}
    expected = {
        (1, 14): "v2", (4, 13): "a/b", (7, 19): "sta te", (8, 36): "did you mean exact?", (9, 36): "under binary",
        (10, 26): "did you mean operator?", (11, 57): "RE2", (13, 56): "from 30 is above to 10", (14, 56): "'ten'",
        (15, 7): "name is missing", (16, 16): "weight",
    }  # fmt: skip
    for place, words in expected.items():
        assert words in found.get(place, ""), (place, found)


# --- the short form --------------------------------------------------------------------------------------------------


def test_the_short_form_of_the_docs(tmp_path: Path) -> None:
    text = """
  State: New York
  age: {from: 18, to: 65}
  plan: [gold, silver]
  email: {suffix: "@example.com"}
  beta: {present: true}
  city: {not: Boston}
  not: {test: {present: true}}
  any: [{a: x}, {b: {prefix: [y, z]}}]
"""
    assert when(text, tmp_path) == AllOf(
        conditions=(
            exact("state", "New York"),
            Range(header="age", low=18, high=65),
            exact("plan", "gold", "silver"),
            Match(header="email", operator=Operator.SUFFIX, operands=("@example.com",)),
            Present(header="beta"),
            Not(condition=exact("city", "Boston")),
            Not(condition=Present(header="test")),
            AnyOf(conditions=(exact("a", "x"), Match(header="b", operator=Operator.PREFIX, operands=("y", "z")))),
        )
    )


@pytest.mark.parametrize(
    ("written", "operand"),
    [("01234", "01234"), ("1.10", "1.10"), ("0x1F", "0x1F"), ("true", "true"), ("True", "True"), ("1e3", "1e3")],
)
def test_numbers_are_compared_as_they_were_written(written: str, operand: str, tmp_path: Path) -> None:
    assert when(f"{{zip: {written}}}", tmp_path) == exact("zip", operand)
    assert when(f"{{zip: [a, {written}]}}", tmp_path) == exact("zip", "a", operand)


def test_a_range_may_have_one_end(tmp_path: Path) -> None:
    assert when("{age: {from: 18}}", tmp_path) == Range(header="age", low=18)
    assert when("{age: {to: 6.5}}", tmp_path) == Range(header="age", high=6.5)


def test_a_header_that_is_called_like_a_word_can_be_asked_for(tmp_path: Path) -> None:
    assert when("{header: {any: x, Header: y}}", tmp_path) == AllOf(
        conditions=(exact("any", "x"), exact("header", "y"))
    )


@pytest.mark.parametrize(
    ("text", "says", "fix"),
    [
        ("{age: {form: 18}}", "unknown operator form", "did you mean from?"),
        ("{age: {from: 65, to: 18}}", "from 65 is above to 18", ""),
        ("{age: {from: x}}", "'x' is not a number", "18"),
        ("{age: {from: .inf}}", "not a number", "18"),
        ("{state: }", "a text or a number is expected", '""'),
        ("{state: []}", "empty list", "at least one"),
        ("{state: {}}", "the condition is empty", ""),
        ("{state: [a, {b: c}]}", "a text or a number", ""),
        ("{'sta te': x}", "no header name", ""),
        ('{state: " x"}', "never matches", ""),
        ('{state: "a\\nb"}', "HTTP headers cannot hold", ""),
        ("{state: {prefix: ''}}", "matches every value", "present"),
        ("{state: {regex: '['}}", "RE2", ""),
        ("{not: x}", "expected a mapping from headers", ""),
        ("{any: {a: b}}", "a list of mappings", ""),
        ("{beta: {present: 1}}", "true or false", ""),
        ("7", "expected a mapping from headers", "state: New York"),
    ],
)
def test_what_is_wrong_in_the_short_form_is_said(text: str, says: str, fix: str, tmp_path: Path) -> None:
    (problem,) = problems(tmp_path, f"kind: audience\nname: x\nwhen: {text}\n")
    assert problem.line == 3
    assert says in problem.message
    assert fix in (problem.fix or "")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("kind: audience\nwhen: {a: b}\n", "name is missing"),
        ("kind: audience\nname: default\nwhen: {a: b}\n", "choose another name"),
        ("kind: audience\nname: 7\nwhen: {a: b}\n", "put it in quotes"),
        ("kind: audience\nname: x\n", "when: {} is everybody"),
        ("kind: audience\nname: x\nwhen: {}\nwehn: {}\n", "did you mean when?"),
    ],
)
def test_an_audience_has_a_name_and_conditions(text: str, says: str, tmp_path: Path) -> None:
    assert says in str(problems(tmp_path, text)[0])


# --- several documents -----------------------------------------------------------------------------------------------


def test_errors_of_all_files_and_documents_come_at_once(tmp_path: Path) -> None:
    first = "kind: audience\nname: a\nwhen: {x: }\n---\nkind: audience\nname: b\nwhen: {y: }\n"
    found = problems(tmp_path, first, QWAK.replace("EXACT,", "EXCAT,"))
    assert [(Path(each.where).name, each.line) for each in found] == [("a.yaml", 3), ("a.yaml", 7), ("b.yaml", 19)]


def test_one_name_may_be_given_once_whatever_its_spelling(tmp_path: Path) -> None:
    found = problems(tmp_path, QWAK, "kind: audience\nname: ca\nwhen: {state: Nevada}\n")
    assert [(Path(each.where).name, each.line) for each in found] == [("b.yaml", 2)]
    assert "a.yaml:16" in found[0].message


def test_where_one_document_is_expected_none_of_several_is_dropped() -> None:
    with pytest.raises(InvalidDocument, match="there are 2"):
        read_document(QWAK, "body")


# --- what is kept ----------------------------------------------------------------------------------------------------

_names = st.from_regex(r"[a-z][a-z0-9-]{0,8}", fullmatch=True) | st.sampled_from(["not", "any", "all", "header"])
_texts = st.text(st.characters(exclude_categories=["C"]), min_size=1, max_size=8).filter(
    lambda text: text == text.strip()
)
_leaves = st.one_of(
    st.builds(
        Match,
        header=_names,
        operator=st.sampled_from([each for each in Operator if each is not Operator.REGEX]),
        operands=st.lists(_texts, min_size=1, max_size=3, unique=True).map(tuple),
    ),
    st.builds(Match, header=_names, operator=st.just(Operator.REGEX), operands=st.just(("a+|b",))),
    st.builds(Present, header=_names),
    st.tuples(_names, st.floats(-1e6, 0), st.floats(0, 1e6)).map(lambda t: Range(header=t[0], low=t[1], high=t[2])),
)
_conditions = st.recursive(
    _leaves,
    lambda inner: st.one_of(
        st.builds(Not, condition=inner),
        st.builds(AllOf, conditions=st.lists(inner, max_size=3).map(tuple)),
        st.builds(AnyOf, conditions=st.lists(inner, max_size=3).map(tuple)),
    ),
    max_leaves=8,
)


@given(_conditions)
def test_an_audience_comes_back_from_its_document(condition: Condition) -> None:
    audience = Audience(name="New York", description="d", condition=condition)
    kept = json.loads(json.dumps(audience_written(audience)))
    assert audience_recorded(kept) == audience
    assert document_from_values(kept, "body").value == audience


def test_two_spellings_of_one_audience_are_one_document(tmp_path: Path) -> None:
    short = "kind: audience\nname: ca\nwhen: {state: California}\n"
    (ours,) = read(tmp_path, short)
    (_, theirs) = read(tmp_path, QWAK)
    assert ours.digest == theirs.digest
