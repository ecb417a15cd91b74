"""Placeholders in the queries of external gates, such as `{build}`: where they may stand, how they are filled. Pure.

No value becomes part of a query's syntax: in PromQL it is the inside of a quoted text, in SQL a bound parameter, in a
path one percent-encoded part.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from urllib.parse import quote

from sluicegate.registry.words.suggestions import suggestion

PLACEHOLDERS = ("build", "stable", "model", "variation", "step")
"""What a query may refer to."""
Fault = tuple[str, str]
"""What is wrong, and how to fix it."""

_PLACE = re.compile(r"\{([a-z_]+)\}")
_PROMQL_QUOTED = re.compile(r"""("(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*'|`[^`]*`|\#[^\n]*)""", re.DOTALL)
_SQL_QUOTED = re.compile(r"""('(?:''|[^'])*'|"(?:""|[^"])*"|--[^\n]*|/\*.*?\*/|\$(\w*)\$.*?\$\2\$)""", re.DOTALL)
_RE2_SPECIAL = re.compile(r"([\\.+*?()|\[\]{}^$-])")
Part = tuple[str, bool]
"""A part of a query, and whether it is quoted."""


def promql_faults(query: str) -> Iterator[Fault]:
    """What is wrong with the placeholders of a PromQL query. Each must be inside quotes."""
    for text, is_quoted in _parts(_PROMQL_QUOTED, query):
        for name in _PLACE.findall(text):
            if name not in PLACEHOLDERS:
                yield _unknown(name)
            elif not is_quoted or text[0] in "`#":
                yield (
                    f"{{{name}}} stands outside of quotes",
                    f'write it as a label\'s value, such as version="{{{name}}}"',
                )


def sql_faults(query: str) -> Iterator[Fault]:
    """What is wrong with an SQL query. It must be one SELECT with unquoted placeholders, which become parameters."""
    if not re.match(r"\s*(select|with)\b", query, re.IGNORECASE):
        yield "it is not a SELECT", "write one SELECT that gives one row with one number"
    bare = "".join("''" if is_quoted else text for text, is_quoted in _parts(_SQL_QUOTED, query))
    if ";" in bare.rstrip().rstrip(";"):
        yield "it contains more than one statement", "write one SELECT"
    for text, is_quoted in _parts(_SQL_QUOTED, query):
        for name in _PLACE.findall(text):
            if is_quoted and name in PLACEHOLDERS:
                yield f"{{{name}}} stands inside quotes", f"write {{{name}}} without quotes: it becomes a parameter"
            elif not is_quoted and name not in PLACEHOLDERS:
                yield _unknown(name)


def path_faults(path: str) -> Iterator[Fault]:
    """What is wrong with a path below a source's address. It must not leave that address."""
    if not path.startswith("/") or path.startswith("//"):
        yield (
            "a path must begin with exactly one /",
            "write it below the source's address, such as /queues/depth?model={model}",
        )
    if re.search(r"[\s#\\\x00-\x1f\x7f]", path):
        yield "a path must not contain spaces, # or \\", "write %20 for a space"
    if any(part in (".", "..") for part in re.split(r"[/?&=]|%2f", path.lower().replace("%2e", "."))):
        yield "a path must not contain ..", "write it below the source's address"
    for name in _PLACE.findall(path):
        if name not in PLACEHOLDERS:
            yield _unknown(name)


def fill_promql(query: str, values: Mapping[str, str]) -> str:
    """The query with values inserted into its quoted texts. In a regular expression they match literally."""
    filled, before = [], ""
    for text, is_quoted in _parts(_PROMQL_QUOTED, query):
        is_pattern = before.rstrip().endswith(("=~", "!~"))
        filled.append(_fill(text, values, _promql(text[:1], is_pattern=is_pattern)) if is_quoted else text)
        before = text
    return "".join(filled)


def bind_sql(query: str) -> tuple[str, frozenset[str]]:
    """The statement with `:name` for each placeholder and all other colons escaped, and the names that it binds."""
    names: set[str] = set()
    bound = []
    for text, is_quoted in _parts(_SQL_QUOTED, query.strip().rstrip(";")):
        plain = text.replace(":", "\\:")
        if is_quoted:
            bound.append(plain)
            continue
        names |= set(_PLACE.findall(plain)) & set(PLACEHOLDERS)
        bound.append(_PLACE.sub(lambda place: f":{place[1]}" if place[1] in PLACEHOLDERS else place[0], plain))
    return "".join(bound), frozenset(names)


def fill_path(path: str, values: Mapping[str, str]) -> str:
    """The path with values inserted as whole parts."""
    return _fill(path, values, lambda value: quote(value, safe=""))


def _fill(text: str, values: Mapping[str, str], written: Callable[[str], str]) -> str:
    return _PLACE.sub(lambda place: written(values[place[1]]) if place[1] in values else place[0], text)


def _promql(mark: str, *, is_pattern: bool) -> Callable[[str], str]:
    """How a value is escaped inside this kind of quotes."""

    def written(value: str) -> str:
        escaped = _RE2_SPECIAL.sub(r"\\\1", value) if is_pattern else value
        return escaped.replace("\\", "\\\\").replace("\n", "\\n").replace(mark, f"\\{mark}")

    return written


def _parts(quoted: re.Pattern[str], query: str) -> Iterator[Part]:
    at = 0
    for match in quoted.finditer(query):
        if match.start() > at:
            yield query[at : match.start()], False
        yield match[0], True
        at = match.end()
    if at < len(query):
        yield query[at:], False


def _unknown(name: str) -> Fault:
    return f"there is no placeholder {{{name}}}", suggestion(name, PLACEHOLDERS)
