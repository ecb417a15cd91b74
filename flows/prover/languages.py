"""Languages: the values of a header that satisfy one comparison, as automata that read character by character. Pure.

`step` gives the next state; a state is any hashable value. All comparisons of a header run side by side over a set of
characters that distinguishes them, so whether some value satisfies any combination of them is decided, not guessed.
"""

from __future__ import annotations

import functools
import operator
import re
from collections.abc import Hashable, Iterable
from dataclasses import dataclass, replace
from decimal import Decimal
from functools import cached_property, lru_cache
from typing import Protocol

from sluicegate.registry.audience.audience import Match, Operator, Range

State = Hashable


class Undecided(Exception):
    """A question about conditions cannot be answered; the message says why."""


class Language(Protocol):
    """The values that one comparison accepts."""

    @property
    def start(self) -> State: ...

    @property
    def signs(self) -> frozenset[int]:
        """Code points at which the behaviour may change: each range of characters that behave alike begins at one."""
        ...

    def step(self, state: State, sign: str) -> State: ...

    def accepts(self, state: State) -> bool: ...


@lru_cache(maxsize=1024)
def language(condition: Match | Range) -> Language:
    """The language of a comparison. Raises Undecided for a comparison that this prover cannot read."""
    match condition:
        case Range(low=low, high=high):
            return Numbers(low, high)
        case Match(operator=Operator.REGEX, operands=operands):
            return Patterns(operands)
        case Match(operator=Operator.EXACT, operands=operands):
            return Words(operands)
        case Match(operator=operator, operands=operands):
            return Parts(operator, operands)


def _bounds(words: Iterable[str]) -> frozenset[int]:
    letters = {ord(sign) for word in words for sign in word}
    return frozenset(letters | {letter + 1 for letter in letters})


class Words:
    """Accepts exactly the given words. The state is the text read so far if it begins a word, else None."""

    def __init__(self, words: Iterable[str]) -> None:
        self._words = frozenset(words)
        self._begun = {word[:length] for word in self._words for length in range(len(word) + 1)}
        self.start: State = ""
        self.signs = _bounds(self._words)

    def step(self, state: State, sign: str) -> State:
        read = f"{state}{sign}" if state is not None else None
        return read if read in self._begun else None

    def accepts(self, state: State) -> bool:
        return state in self._words


class Parts:
    """Values that begin with, end with or contain one of the given texts.

    The state is the longest suffix of the input that begins a text; True once the value is accepted for good, None once
    it is rejected for good.
    """

    def __init__(self, operator: Operator, texts: Iterable[str]) -> None:
        self._operator = operator
        self._texts = frozenset(texts)
        self._begun = {text[:length] for text in self._texts for length in range(len(text) + 1)}
        self.signs = _bounds(self._texts)

    @property
    def start(self) -> State:
        return self._settled("")

    def step(self, state: State, sign: str) -> State:
        if state is True or state is None:
            return state
        read = f"{state}{sign}"
        if self._operator is Operator.PREFIX:
            return self._settled(read) if read in self._begun else None
        while read not in self._begun:
            read = read[1:]
        return self._settled(read)

    def _settled(self, read: str) -> State:
        return True if self._operator is not Operator.SUFFIX and self._is_met(read) else read

    def accepts(self, state: State) -> bool:
        return state is True or (self._operator is Operator.SUFFIX and self._is_met(str(state)))

    def _is_met(self, read: str) -> bool:
        return any(read.endswith(text) for text in self._texts)


DIGITS = frozenset("0123456789")


@dataclass(frozen=True)
class _Size:
    """How the magnitude of the number read so far compares with an end of the range."""

    read: int = 0
    """Digits read of this part, without leading zeros. One more than the end has stands for any larger count."""
    order: int = 0
    """-1, 0 or 1: below, equal or above so far."""


@dataclass(frozen=True)
class _Number:
    """The state after reading part of a number."""

    part: str = "start"
    is_negative: bool = False
    is_zero: bool = True
    sizes: tuple[_Size, ...] = ()


@dataclass(frozen=True)
class _End:
    """One end of a range, as digits."""

    digits: str
    """The digits before the point, without leading zeros."""
    places: str
    is_negative: bool

    @classmethod
    def from_number(cls, end: float) -> _End:
        digits, _, places = f"{abs(Decimal(str(float(end)))):f}".partition(".")
        return cls(digits=digits.lstrip("0"), places=places.rstrip("0"), is_negative=end < 0)

    def whole(self, size: _Size, digit: str) -> _Size:
        """Read one more digit before the point."""
        if size.read == 0 and digit == "0":
            return size
        if size.read >= len(self.digits):
            return _Size(read=len(self.digits) + 1, order=1)
        return _Size(read=size.read + 1, order=size.order or _order(digit, self.digits[size.read]))

    def whole_read(self, size: _Size) -> _Size:
        """End the part before the point. Fewer digits mean a smaller number."""
        return _Size(order=-1 if size.read < len(self.digits) else size.order)

    def place(self, size: _Size, digit: str) -> _Size:
        """Read one more digit after the point."""
        end_digit = self.places[size.read] if size.read < len(self.places) else "0"
        return _Size(read=min(size.read + 1, len(self.places)), order=size.order or _order(digit, end_digit))

    def compared(self, number: _Number, size: _Size) -> int:
        """-1, 0 or 1 if the number is below, equal to or above this end."""
        ended = self.whole_read(size) if number.part == "whole" else size
        is_short = ended.order == 0 and bool(self.places[ended.read :])
        order = -1 if is_short else ended.order
        is_below_zero = number.is_negative and not number.is_zero
        if is_below_zero != self.is_negative:
            return -1 if is_below_zero else 1
        return -order if is_below_zero else order


def _order(digit: str, other: str) -> int:
    return (digit > other) - (digit < other)


class Numbers:
    """Decimal numbers between two ends, compared digit by digit."""

    start: State = _Number()
    signs = frozenset({ord("0") + digit for digit in range(11)} | {ord(sign) for sign in "-./"})

    def __init__(self, low: float | None, high: float | None) -> None:
        self._low, self._high = (None if end is None else _End.from_number(end) for end in (low, high))
        self._ends = [end for end in (self._low, self._high) if end is not None]

    def step(self, state: State, sign: str) -> State:
        if not isinstance(state, _Number):
            return None
        match state.part, sign:
            case "start", "-":
                return replace(state, part="minus", is_negative=True)
            case "whole", ".":
                sizes = tuple(end.whole_read(size) for end, size in zip(self._ends, self._sizes(state), strict=True))
                return replace(state, part="point", sizes=sizes)
            case (("start" | "minus" | "whole"), digit) if digit in DIGITS:
                sizes = tuple(end.whole(size, digit) for end, size in zip(self._ends, self._sizes(state), strict=True))
                return replace(state, part="whole", sizes=sizes, is_zero=state.is_zero and digit == "0")
            case (("point" | "places"), digit) if digit in DIGITS:
                sizes = tuple(end.place(size, digit) for end, size in zip(self._ends, self._sizes(state), strict=True))
                return replace(state, part="places", sizes=sizes, is_zero=state.is_zero and digit == "0")
            case _:
                return None

    def accepts(self, state: State) -> bool:
        if not isinstance(state, _Number) or state.part not in ("whole", "places"):
            return False
        sizes = dict(zip(self._ends, self._sizes(state), strict=True))
        if self._low is not None and self._low.compared(state, sizes[self._low]) < 0:
            return False
        return self._high is None or self._high.compared(state, sizes[self._high]) <= 0

    def _sizes(self, state: _Number) -> tuple[_Size, ...]:
        return state.sizes or (_Size(),) * len(self._ends)


class Patterns:
    """Regular expressions, as greenery reads them: without flags, anchors and named classes."""

    def __init__(self, patterns: Iterable[str]) -> None:
        self._patterns = tuple(patterns)

    @cached_property
    def _automaton(self):  # type: ignore[no-untyped-def]
        import greenery

        try:
            automata = [greenery.parse(_readable(pattern)).to_fsm() for pattern in self._patterns]
        except Exception as error:
            raise Undecided(f"the regular expression {self._patterns[0]!r} is beyond this prover") from error
        return functools.reduce(operator.or_, automata).reduce()

    @property
    def start(self) -> State:
        return int(self._automaton.initial)

    @cached_property
    def signs(self) -> frozenset[int]:
        ranges = [pair for group in self._automaton.alphabet for pair in group.ord_ranges]
        return frozenset({low for low, _ in ranges} | {high + 1 for _, high in ranges})

    def step(self, state: State, sign: str) -> State:
        if state is None:
            return None
        for group, target in self._automaton.map.get(state, {}).items():
            if group.accepts(sign):
                return int(target)
        return None

    def accepts(self, state: State) -> bool:
        return state in self._automaton.finals


def _readable(pattern: str) -> str:
    """The pattern without anchors at its ends, which have no effect since the whole value must match."""
    bare = pattern.removeprefix("^")
    bare = bare[:-1] if bare.endswith("$") and not bare.endswith("\\$") else bare
    outside = _outside_escapes(bare)
    if any(construct in outside for construct in ("^", "$", "(?i", "(?s", "(?m", "(?U", "[[:")):
        raise Undecided(f"the regular expression {pattern!r} is beyond this prover")
    return bare


def _outside_escapes(pattern: str) -> str:
    """The pattern without escaped characters and without `[^`, which opens a negated class."""
    return re.sub(r"\\.|\[\^", "", pattern, flags=re.DOTALL)
