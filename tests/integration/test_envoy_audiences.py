"""What a condition answers in the real Envoy is what `audience.matches` answers, header by odd header."""

from __future__ import annotations

import random
import re
import socket
from collections.abc import Iterator, Sequence

import pytest

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
    headers,
    matches,
)
from sluicegate.registry.audience.connections import Connection, Connections, Weighted
from sluicegate.registry.audience.rules import MAX_DEPTH, faults
from sluicegate.registry.plan.fields import Serve
from sluicegate.registry.rollout.standing import Standing
from sluicegate.registry.words.build import BuildRef, Endpoint
from sluicegate.registry.words.errors import RoutesRejected
from sluicegate.services.traffic.envoy.audience_matchers import matchers
from sluicegate.services.traffic.routes import routes
from tests.audience_cases import CASES, Sent, match
from tests.integration.traffic_load import constant_services
from tests.integration.traffic_rig import Gateway, build, gateway

pytestmark = pytest.mark.slow
CASE = "x-case"
_TOLD = re.compile(rb"\r\nx-sluice-audience: (\S+)\r\n")


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Endpoint]:
    with constant_services(tmp_path_factory.mktemp("constant"), build("1")) as found:
        (endpoint,) = found[build("1")]
        yield endpoint


@pytest.fixture(scope="module")
def envoy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    with gateway(tmp_path_factory.mktemp("audiences"), patience=60.0) as running:
        yield running


@pytest.fixture(params=[20, 1], ids=["mixed in models", "a model each"])
def per_model(request: pytest.FixtureRequest) -> int:
    """Audiences of a model: alone, a plain one is compiled to header matchers; among others, to CEL."""
    return int(request.param)


def put(envoy: Gateway, service: Endpoint, conditions: Sequence[Condition], per_model: int = 20) -> None:
    """An audience for each condition; a request says which of them it asks."""
    standings, endpoints, connections = [], {}, {}
    for first in range(0, len(conditions), per_model):
        name = f"m{first // per_model}"
        ref = BuildRef(model=name, version="1")
        standings.append(Standing(model=name, variation="default", stable=ref, serve=Serve()))
        endpoints[ref] = (Endpoint(build=ref, host=service.host, port=service.port),)
        ordered = (_only(first + n, condition) for n, condition in enumerate(conditions[first : first + per_model]))
        connections[name] = Connections(model=name, ordered=tuple(ordered))
    envoy.plane.apply(routes(standings, endpoints, connections), endpoints)


def _only(number: int, condition: Condition) -> Connection:
    asked = match(Operator.EXACT, str(number), header=CASE)
    both = AllOf(conditions=(asked, condition))
    return Connection(audience=Audience(name=str(number), condition=both), weighted=(Weighted(variation="default"),))


def taken(envoy: Gateway, asked: Sequence[tuple[int, Sent]], per_model: int = 20) -> list[bool]:
    """Whether each request was taken by the audience that it asks."""
    found: list[bytes] = []
    with socket.create_connection((envoy.plane.places.host, envoy.plane.places.port), timeout=60) as link:
        for start in range(0, len(asked), 100):
            some = asked[start : start + 100]
            link.sendall(b"".join(_request(number, sent, per_model) for number, sent in some))
            answers = bytearray()
            while answers.count(b"\r\n\r\n{}") < len(some):
                part = link.recv(1 << 18)
                assert part, f"the gateway closed the connection after {bytes(answers[-400:])!r}"
                answers += part
            found += _TOLD.findall(answers)
    told = [(audience.decode(), str(number)) for audience, (number, _) in zip(found, asked, strict=True)]
    assert {audience for audience, number in told if audience != number} <= {"default"}
    return [audience == number for audience, number in told]


def _request(number: int, sent: Sent, per_model: int) -> bytes:
    asked = (*sent, (CASE, str(number)))
    lines = b"".join(f"{name}: {value}\r\n".encode("utf-8", "surrogateescape") for name, value in asked)
    model = number // per_model
    return b"POST /m%d/predict HTTP/1.1\r\nhost: g\r\n%scontent-length: 2\r\n\r\n{}" % (model, lines)


def test_the_truth_table(envoy: Gateway, service: Endpoint, per_model: int) -> None:
    conditions = list(dict.fromkeys(condition for condition, _, _ in CASES))
    put(envoy, service, conditions, per_model)
    answers = taken(envoy, [(conditions.index(condition), sent) for condition, sent, _ in CASES], per_model)
    wrong = [case for case, answer in zip(CASES, answers, strict=True) if answer is not case[2]]
    assert wrong == []


def test_the_largest_conditions_that_the_rules_let_through_are_taken(envoy: Gateway, service: Endpoint) -> None:
    deep: Condition = match(Operator.EXACT, "a")
    for level in range(MAX_DEPTH - 1):
        present = Present(header="x-age")
        deep = (AllOf, AnyOf)[level % 2](conditions=(deep, present)) if level % 3 else Not(condition=deep)
    wide = match(Operator.CONTAINS, *(f"value {number}" for number in range(500)))
    long = match(Operator.EXACT, "x" * 1024)
    large = match(Operator.REGEX, "a{98}", "a{97}")
    conditions = [deep, wide, long, large]
    assert [list(faults(condition)) for condition in conditions] == [[], [], [], []]
    put(envoy, service, conditions)
    assert taken(envoy, [(1, (("x-state", "a value 499"),)), (3, (("x-state", "a" * 98),))]) == [True, True]


def test_what_the_rules_refuse_as_too_large_envoy_refuses(envoy: Gateway, service: Endpoint) -> None:
    too_large = match(Operator.REGEX, "a{99}")
    assert "too large" in next(faults(too_large))
    with pytest.raises(RoutesRejected, match="regular expression exceeds max allowed size"):
        put(envoy, service, [too_large])


def test_random_conditions_answer_random_requests_as_python_does(
    envoy: Gateway, service: Endpoint, per_model: int
) -> None:
    draw = random.Random(20261122)
    conditions = [condition for condition in (_condition(draw) for _ in range(900)) if not list(faults(condition))]
    conditions = conditions[:400]
    assert len(conditions) == 400
    if per_model == 1:
        conditions = [condition for condition in conditions if matchers(condition) is not None]
    put(envoy, service, conditions, per_model)
    asked = [(number, _sent(draw)) for number in range(len(conditions)) for _ in range(12)]
    answers = taken(envoy, asked, per_model)
    expected = [matches(conditions[model], headers(sent)) for model, sent in asked]
    wrong = [
        (conditions[model], sent, answer)
        for (model, sent), answer, wanted in zip(asked, answers, expected, strict=True)
        if answer is not wanted
    ]
    assert wrong == []
    assert len(expected) / 10 < sum(expected) < len(expected) * 9 / 10
    assert len(conditions) > 40


_HEADERS = ("x-state", "X-Age", "plan_name")
_WORDS = (
    "",
    "a",
    "ab",
    "a,b",
    "A",
    "é",
    "日本",
    "a b",
    "50%",
    "'",
    '"',
    "\\",
    "{}",
    "(a)",
    "0",
    "18",
    "-3.5",
    "007",
    "1e3",
)
_NUMBERS = (
    "0",
    "-0",
    "17.99",
    "18",
    "018",
    "65.5",
    "-3",
    "1e3",
    "+5",
    "NaN",
    "inf",
    "9" * 330,
    ".5",
    "5.",
    "0x1",
    "1,2",
)
_PATTERNS = (
    "a.*",
    "[a-z]+",
    ".",
    "",
    "(?i)A|B",
    "\\d+",
    "[^,]*",
    ".*\\.5",
    "\\p{Greek}?é",
    "a|",
    "\\x{65e5}.",
    "^a$",
    "(a)(b)?",
)


def _condition(draw: random.Random, depth: int = 1) -> Condition:
    kind = draw.randrange(8 if depth < 4 else 5)
    header = draw.choice(_HEADERS)
    match kind:
        case 0 | 1:
            operator = draw.choice([Operator.EXACT, Operator.PREFIX, Operator.SUFFIX, Operator.CONTAINS])
            return Match(header=header, operator=operator, operands=tuple(draw.sample(_WORDS, draw.randint(1, 4))))
        case 2:
            return Match(header=header, operator=Operator.REGEX, operands=tuple(draw.sample(_PATTERNS, 2)))
        case 3:
            ends = sorted(draw.choice([-3.5, 0, 17.99, 18, 65.5, 1e300]) for _ in range(2))
            low, high = (end if draw.random() < 0.7 else None for end in ends)
            return Range(header=header, low=low, high=high)
        case 4:
            return Present(header=header)
        case 5:
            return Not(condition=_condition(draw, depth + 1))
        case _:
            parts = tuple(_condition(draw, depth + 1) for _ in range(draw.randint(0, 3)))
            return AllOf(conditions=parts) if kind == 6 else AnyOf(conditions=parts)


def _sent(draw: random.Random) -> Sent:
    names = [name for name in _HEADERS for _ in range(draw.choice([0, 1, 1, 1, 2]))]
    draw.shuffle(names)
    return tuple((draw.choice([name, name.upper(), name.lower()]), _value(draw)) for name in names)


def _value(draw: random.Random) -> str:
    text = draw.choice(_WORDS + _NUMBERS + ("\udcff", "a\udcc3b"))
    blanks = draw.choice(["", "", " ", " \t "])
    return f"{blanks}{text}{blanks}"
