"""Environments: a tree of documents, and below `environments/NAME` what is different there. Pure.

Laid over one another as RFC 7386 (JSON Merge Patch) says: mappings key by key, null takes a key away, and every other
value, lists too, replaces the one below it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from sluicegate.registry.audience.connections import FALLBACK
from sluicegate.registry.words.yaml_text import Path, Text

FOLDER = "environments"
"""The folder of a tree whose folders are environments."""
_NAMES = ("model", "variation", "name")
"""The keys by which two texts are about one document."""


def lay_over(base: Iterable[Text], own: Iterable[Text]) -> tuple[Text, ...]:
    """The texts of a tree as they are in an environment: its own ones over those of the same kind and name.

    An own text without one below it, a second one for instance, is a document by itself.
    """
    below = list(base)
    by_identity = {_identity(text): position for position, text in enumerate(below) if _identity(text) is not None}
    for text in own:
        position = by_identity.pop(_identity(text), None)
        if position is None:
            below.append(text)
        else:
            below[position] = _merged(below[position], text)
    return tuple(below)


def _identity(text: Text) -> tuple[object, ...] | None:
    """What a text is about; None for one that is no document of ours."""
    values = text.values
    if not isinstance(values, Mapping) or "kind" not in values:
        return None
    names = {"variation": FALLBACK, **values} if "model" in values else values
    return (values["kind"], *(str(names.get(key)) for key in _NAMES))


def _merged(base: Text, own: Text) -> Text:
    taken: list[Path] = []
    values = _laid(base.values, own.values, (), taken)
    left = {at: place for at, place in base.places.items() if not _is_below(at, taken)}
    written = {at: text for at, text in base.written.items() if not _is_below(at, taken)}
    return replace(
        base,
        values=values,
        places=left,
        written=written | own.written,
        problems=[*base.problems, *own.problems],
        over=own,
    )


def _laid(base: object, own: object, at: Path, taken: list[Path]) -> object:
    """The value of both; `taken` gets the paths at which nothing of the base is left."""
    if not isinstance(own, Mapping):
        taken.append(at)
        return own
    merged = dict(base) if isinstance(base, Mapping) else {}
    for key, value in own.items():
        if value is None:
            merged.pop(key, None)
            taken.append((*at, key))
        else:
            merged[key] = _laid(merged.get(key), value, (*at, key), taken)
    return merged


def _is_below(at: Path, taken: Sequence[Path]) -> bool:
    return any(at[: len(path)] == path for path in taken)
