"""The truth table of conditions: what each answers to each odd header. Python and the real Envoy are held to it."""

from __future__ import annotations

from sluicegate.registry.audience.audience import AllOf, AnyOf, Condition, Match, Not, Operator, Present, Range

Sent = tuple[tuple[str, str], ...]
"""Headers as a caller sends them."""


def match(operator: Operator, *operands: str, header: str = "x-state") -> Match:
    return Match(header=header, operator=operator, operands=operands)


def sent(*values: str, name: str = "x-state") -> Sent:
    return tuple((name, value) for value in values)


EXACT = match(Operator.EXACT, "New York")
IN = match(Operator.EXACT, "New York", "California", "")
PREFIX = match(Operator.PREFIX, "New", "Cal")
SUFFIX = match(Operator.SUFFIX, "York", "é")
CONTAINS = match(Operator.CONTAINS, "w Y", "日")
REGEX = match(Operator.REGEX, "[A-Z][a-z]+ York", "日.", "(?i)cal.*", "a|bc")
QUOTES = match(Operator.EXACT, "a'b", 'a"b', "a\\b", "50%", "%REQ(x)%", "a)%", "{{a}}", "\\u0041", "a;b")
ADULT = Range(header="X-Age", low=18, high=65.5)
OLD = Range(header="x-age", low=65)
YOUNG = Range(header="x-age", high=-0.5)
PRESENT = Present(header="X-State")
NEITHER = Not(condition=AnyOf(conditions=(EXACT, match(Operator.EXACT, "California"))))
BOTH = AllOf(conditions=(EXACT, ADULT))
_AGE = "x-age"

CASES: tuple[tuple[Condition, Sent, bool], ...] = (
    # exact: with regard to case, to the last byte; names without
    (EXACT, sent("New York"), True),
    (EXACT, sent("new york"), False),
    (EXACT, sent("New York", name="X-STATE"), True),
    (EXACT, sent("New York "), True),
    (EXACT, sent("  New York\t"), True),
    (EXACT, sent("New  York"), False),
    (EXACT, sent("New York!"), False),
    (EXACT, sent(), False),
    (EXACT, sent(""), False),
    (EXACT, sent("New York", "New York"), False),
    (match(Operator.EXACT, "a,b"), sent("a", "b"), True),
    (match(Operator.EXACT, "a,b"), (("x-state", "a"), ("x-age", "1"), ("X-State", "b")), True),
    (match(Operator.EXACT, "a,b"), sent("a,b"), True),
    (match(Operator.EXACT, "a,"), sent("a", ""), True),
    (match(Operator.EXACT, ",a"), sent("", "a"), True),
    (match(Operator.EXACT, "日本"), sent("日本"), True),
    (match(Operator.EXACT, "é"), sent("e\u0301"), False),
    # in
    (IN, sent("California"), True),
    (IN, sent(""), True),
    (IN, sent(), False),
    (IN, sent("Cal"), False),
    # prefix, suffix, contains
    (PREFIX, sent("New Jersey"), True),
    (PREFIX, sent("A New"), False),
    (PREFIX, sent("new"), False),
    (PREFIX, sent(), False),
    (PREFIX, sent("New", "x"), True),
    (SUFFIX, sent("New York"), True),
    (SUFFIX, sent("York, NY"), False),
    (SUFFIX, sent("caf\u00e9"), True),
    (SUFFIX, sent("x", "York"), True),
    (CONTAINS, sent("New York"), True),
    (CONTAINS, sent("五日"), True),
    (CONTAINS, sent("New, York"), False),
    (CONTAINS, sent(""), False),
    # regex: RE2, the whole value
    (REGEX, sent("New York"), True),
    (REGEX, sent("Newer York"), True),
    (match(Operator.REGEX, "[A-Z][a-z]+ York"), sent("New York"), True),
    (match(Operator.REGEX, "[A-Z][a-z]+ York"), sent("A New York"), False),
    (match(Operator.REGEX, "[A-Z][a-z]+ York"), sent("New York City"), False),
    (REGEX, sent("日本"), True),
    (REGEX, sent("日"), False),
    (REGEX, sent("CALIFORNIA"), True),
    (REGEX, sent("ab"), False),
    (REGEX, sent("bc"), True),
    (match(Operator.REGEX, ".*"), sent(""), True),
    (match(Operator.REGEX, ".*"), sent(), False),
    (match(Operator.REGEX, ".."), sent("\udcff\udcfe"), False),
    (match(Operator.REGEX, "\\d+(?:\\.\\d{2})?"), sent("12.50"), True),
    (match(Operator.REGEX, "a,b"), sent("a", "b"), True),
    # text that means something to CEL, to Envoy's format strings or to JSON is text
    *((QUOTES, sent(text), True) for text in QUOTES.operands),
    (QUOTES, sent("A"), False),
    (QUOTES, sent("50"), False),
    # range: decimal numbers, both ends included
    *((ADULT, sent(age, name=_AGE), True) for age in ("18", "18.0", "65.5", "65.50", "0030", " 20 ")),
    *((ADULT, sent(age, name=_AGE), False) for age in ("17.999", "65.51", "7", "007", "", "-20", "+20", "2e1", "20.")),
    *((ADULT, sent(age, name=_AGE), False) for age in (".5", "NaN", "inf", "0x14", "20,5", "2 0", "20a", "٢٠")),
    (ADULT, sent("20", "20", name=_AGE), False),
    (ADULT, sent("20", name="X-AGE"), True),
    (ADULT, sent(), False),
    (OLD, sent("9" * 400, name=_AGE), True),
    (OLD, sent("65." + "0" * 300 + "1", name=_AGE), True),
    (OLD, sent("64." + "9" * 300, name=_AGE), True),
    (OLD, sent("64.99", name=_AGE), False),
    (YOUNG, sent("-0.5", name=_AGE), True),
    (YOUNG, sent("-9999999999999999999999", name=_AGE), True),
    (YOUNG, sent("-0", name=_AGE), False),
    (Range(header="x-age", low=0, high=0), sent("-0.0", name=_AGE), True),
    (Range(header="x-age", low=9007199254740993), sent("9007199254740992", name=_AGE), True),
    (Range(header="x-age", low=1e22), sent("1" + "0" * 22, name=_AGE), True),
    # present
    (PRESENT, sent("x"), True),
    (PRESENT, sent(""), True),
    (PRESENT, sent(), False),
    (PRESENT, sent("x", name="x-states"), False),
    # not, all, any
    (Not(condition=EXACT), sent(), True),
    (Not(condition=EXACT), sent("New York"), False),
    (Not(condition=ADULT), sent("NaN", name=_AGE), True),
    (Not(condition=PRESENT), sent(""), False),
    (NEITHER, sent("Texas"), True),
    (NEITHER, sent("California"), False),
    (NEITHER, sent(), True),
    (BOTH, (("x-state", "New York"), ("x-age", "30")), True),
    (BOTH, (("x-state", "New York"), ("x-age", "70")), False),
    (BOTH, sent("New York"), False),
    (AllOf(conditions=()), sent(), True),
    (AnyOf(conditions=()), sent("x"), False),
    (Not(condition=Not(condition=AllOf(conditions=(PRESENT, Not(condition=EXACT))))), sent("x"), True),
    (AnyOf(conditions=(EXACT, ADULT)), sent("30", name=_AGE), True),
)  # fmt: skip
