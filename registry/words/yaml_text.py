"""YAML text to plain values, each with its place. Collects every problem; refuses tags, huge documents and cycles."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from sluicegate.registry.words.errors import Problem

MAX_CHARACTERS = 1 << 20
MAX_VALUES = 20_000
"""Values of one document after its aliases are expanded."""
MAX_DEPTH = 50

Path = tuple[str | int, ...]
_TAG = "tag:yaml.org,2002:"


@dataclass(kw_only=True)
class Text:
    """One document: its values, the place of each, and the problems so far."""

    where: str
    values: object = None
    line: int = 1
    problems: list[Problem] = field(default_factory=list)
    places: dict[Path, tuple[int, int]] = field(default_factory=dict)
    """Line and column, from 1, of each value."""
    is_key: dict[Path, tuple[int, int]] = field(default_factory=dict)
    written: dict[Path, str] = field(default_factory=dict)
    """Numbers and booleans as they were written, such as 01234: comparing texts must not lose a digit."""
    over: Text | None = None
    """The text whose values override these. Problems of such a value are reported there."""

    def add(self, at: Path, message: str, fix: str | None = None, *, on_value: bool = False) -> None:
        """Add a problem at a path, or at the nearest place above it."""
        home = self.home(at)
        line, column = home.place(at, on_value=on_value)
        path = ".".join(str(part) for part in at) or "document"
        self.problems.append(Problem(where=home.where, line=line, column=column, path=path, message=message, fix=fix))

    def home(self, at: Path) -> Text:
        """The text that holds a path's value, or the nearest place above it: this one or the one that overrides it."""
        if self.over is None:
            return self
        while at and at not in self.places and at not in self.over.places:
            at = at[:-1]
        return self.over if at and at in self.over.places else self

    def place(self, at: Path, *, on_value: bool = False) -> tuple[int, int]:
        """The place of a path's value or key; if it does not exist, where it should be."""
        places = self.places if on_value else {**self.places, **self.is_key}
        while at and at not in places:
            at = at[:-1]
        return places.get(at, (self.line, 1))


def read_texts(text: str, where: str) -> tuple[Text, ...]:
    """Every document of a YAML text. A text that is not YAML gives one document with the problem."""
    if len(text) > MAX_CHARACTERS:
        return (_broken(where, 1, 1, f"longer than {MAX_CHARACTERS:,} characters", "split it into several files"),)
    yaml = YAML(typ="safe", pure=True)
    try:
        nodes = [node for node in yaml.compose_all(text) if node is not None]
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line, column = (mark.line + 1, mark.column + 1) if mark else (1, 1)
        said = " ".join(filter(None, (error.problem, error.context)))
        return (_broken(where, line, column, f"not YAML: {said}", "check the indentation, quotes and brackets there"),)
    except (YAMLError, ValueError, RecursionError) as error:
        position = getattr(error, "position", 0)
        line = text[:position].count("\n") + 1 if isinstance(position, int) else 1
        return (_broken(where, line, 1, f"not YAML: {str(error).splitlines()[0]}", "write plain UTF-8 text"),)
    return tuple(_Reading(yaml, where, node).read() for node in nodes)


def _broken(where: str, line: int, column: int, message: str, fix: str) -> Text:
    text = Text(where=where, line=line)
    text.problems.append(Problem(where=where, line=line, column=column, path="document", message=message, fix=fix))
    return text


class _TooMuch(Exception):
    """The document is deeper or larger than any of ours should be."""


class _Reading:
    """Walks the nodes of one document."""

    def __init__(self, yaml: YAML, where: str, root: Node) -> None:
        self._constructor = yaml.constructor
        self._root = root
        self._count = 0
        self._text = Text(where=where, line=root.start_mark.line + 1)

    def read(self) -> Text:
        try:
            self._text.values = self._value(self._root, ())
        except _TooMuch as error:
            self._text.values = None
            self._text.add(
                (), str(error), "write out repeated parts instead of using aliases, and remove what is not needed"
            )
        return self._text

    def _value(self, node: Node, at: Path) -> object:
        self._count += 1
        if len(at) > MAX_DEPTH:
            raise _TooMuch(f"more than {MAX_DEPTH} levels deep")
        if self._count > MAX_VALUES:
            raise _TooMuch(f"more than {MAX_VALUES:,} values")
        self._text.places[at] = _mark(node)
        if isinstance(node, MappingNode):
            return dict(self._pairs(node, at))
        if isinstance(node, SequenceNode):
            return [self._value(item, (*at, position)) for position, item in enumerate(node.value)]
        return self._scalar(node, at) if isinstance(node, ScalarNode) else None

    def _pairs(self, node: MappingNode, at: Path) -> Iterator[tuple[str, object]]:
        lines: dict[str, int] = {}
        for key, value in node.value:
            name = key.value if isinstance(key, ScalarNode) else None
            line, column = _mark(key)
            if name is None:
                self._note(key, at, "a key must be a text", "write a name before the colon")
                continue
            path = (*at, name)
            if key.tag == f"{_TAG}merge":
                self._note(key, path, "merge keys (<<) are not supported", "write the keys out")
            elif name in lines:
                self._note(key, path, f"{name} is written twice, first in line {lines[name]}", "remove one of them")
            else:
                lines[name] = line
                self._text.is_key[path] = (line, column)
                yield name, self._value(value, path)

    def _scalar(self, node: ScalarNode, at: Path) -> object:
        try:
            match str(node.tag).removeprefix(_TAG):
                case "str" | "timestamp":
                    return node.value
                case "null":
                    return None
                case "bool" | "int" | "float" as kind:
                    self._text.written[at] = node.value
                    return getattr(self._constructor, f"construct_yaml_{kind}")(node)
                case tag:
                    self._note(node, at, f"the tag {tag} is not supported", "write the plain value")
        except (ValueError, OverflowError):
            self._note(node, at, "the number is too large or malformed", "write fewer digits")
        return None

    def _note(self, node: Node, at: Path, message: str, fix: str) -> None:
        line, column = _mark(node)
        path = ".".join(str(part) for part in at) or "document"
        where = self._text.where
        self._text.problems.append(Problem(where=where, line=line, column=column, path=path, message=message, fix=fix))


def _mark(node: Node) -> tuple[int, int]:
    return node.start_mark.line + 1, node.start_mark.column + 1
