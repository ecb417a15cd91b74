"""Cells: every combination of one header's comparisons that some value satisfies, each with such a value. Pure."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache

from sluicegate.flows.prover.languages import Language, State, Undecided, language
from sluicegate.registry.audience.audience import Condition, Match, Present, Range, matches
from sluicegate.registry.audience.rules import parts

MOST_STATES = 20_000
"""Most states of a header's joint automaton. With more, its conditions count as undecided."""
_FIRST = "abcdefghijklmnopqrstuvwxyz0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ"
_EDGES = frozenset({0x20, 0x21, ord("a")})
"""Code points at which ranges of characters that a header can carry begin, and a readable one."""
_TRAVEL = ((0x09, 0x0A), (0x20, 0x7F), (0xA1, 0xD800), (0xE000, 0x110000))
"""Ranges of code points that a header can carry and that are text."""
BLANKS = (" ", "\t")
"""Characters that HTTP strips from both ends of a value."""
_HIGH = 0xA1
"""The first code point after those that are no text."""

Comparison = Match | Range


@dataclass(frozen=True, kw_only=True)
class Cell:
    """A combination of a header's comparisons, and a value that satisfies it; None if the header is not sent."""

    value: str | None
    met: frozenset[Comparison]


def comparisons_of(condition: Condition) -> Iterator[Comparison | Present]:
    """Every comparison in a condition."""
    if isinstance(condition, Match | Range | Present):
        yield condition
    for part in parts(condition):
        yield from comparisons_of(part)


@lru_cache(maxsize=256)
def cells(comparisons: tuple[Comparison, ...]) -> tuple[Cell, ...]:
    """The cells of one header's comparisons: first the missing header, then by length of value. Raises Undecided."""
    values: dict[frozenset[Comparison], str] = {}
    for value, answers in _walk(tuple(language(comparison) for comparison in comparisons)):
        met = frozenset(comparison for comparison, is_met in zip(comparisons, answers, strict=True) if is_met)
        values.setdefault(met, value)
    for met, value in values.items():
        _verify(comparisons, met, value)
    return (Cell(value=None, met=frozenset()), *(Cell(value=value, met=met) for met, value in values.items()))


def _walk(languages: tuple[Language, ...]) -> Iterator[tuple[str, tuple[bool, ...]]]:
    """A shortest value for every state of the joint automaton in which one can end, and which languages accept it."""
    signs = _signs(languages)
    start = tuple(each.start for each in languages)
    visited: set[tuple[bool, tuple[State, ...]]] = {(False, start)}
    queue: deque[tuple[str, tuple[State, ...]]] = deque([("", start)])
    while queue:
        value, states = queue.popleft()
        if not value.endswith(BLANKS):
            yield value, tuple(each.accepts(state) for each, state in zip(languages, states, strict=True))
        for sign in signs:
            is_blank = sign in BLANKS
            if is_blank and not value:
                continue
            after = tuple(each.step(state, sign) for each, state in zip(languages, states, strict=True))
            if (is_blank, after) not in visited:
                visited.add((is_blank, after))
                queue.append((value + sign, after))
        if len(visited) > MOST_STATES:
            raise Undecided("the conditions of one header are too many to be decided together")


def _signs(languages: tuple[Language, ...]) -> str:
    """One character of each class that the languages distinguish, letters and digits first, for readable values."""
    edges = _EDGES.union(*(each.signs for each in languages))
    edges |= {_HIGH} if any(0x7E < edge < _HIGH for edge in edges) else set()
    can_travel = [chr(edge) for edge in edges if any(low <= edge < high for low, high in _TRAVEL)]
    return "".join(sorted(can_travel, key=lambda sign: (_FIRST.find(sign) % 100, sign)))


def _verify(comparisons: tuple[Comparison, ...], met: frozenset[Comparison], value: str) -> None:
    """Check a value with the real evaluator before anybody sees it. Raises Undecided if the two disagree."""
    for comparison in comparisons:
        if matches(comparison, {comparison.header: value}) is not (comparison in met):
            raise Undecided(f"{value!r} is read differently by the data plane and by this prover")


def by_header(conditions: Iterable[Condition]) -> Mapping[str, tuple[Comparison, ...]]:
    """The comparisons of each header that the conditions name, in lower case."""
    headers: dict[str, dict[Comparison, None]] = {}
    for condition in conditions:
        for comparison in comparisons_of(condition):
            of_header = headers.setdefault(comparison.header.lower(), {})
            if not isinstance(comparison, Present):
                of_header[comparison] = None
    return {header: tuple(comparisons) for header, comparisons in headers.items()}
