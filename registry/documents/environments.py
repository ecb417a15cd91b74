"""Environments: a tree of documents, with differences for an environment below `environments/NAME`. Pure.

Overrides follow RFC 7386 (JSON Merge Patch): mappings are merged key by key, null removes a key, and every other value,
including a list, replaces the one below it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from sluicegate.registry.audience.connections import FALLBACK
from sluicegate.registry.words.yaml_text import Path, Text

FOLDER = "environments"
"""The folder of a tree that contains the environments' folders."""
_NAMES = ("model", "variation", "name")
"""The keys that identify the document that a text is about."""


def lay_over(base: Iterable[Text], own: Iterable[Text]) -> tuple[Text, ...]:
    """The texts of a tree in an environment: its own texts override those of the same kind and name.

    An own text that overrides nothing, such as a second one for the same document, becomes a document itself.
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
    """Identifies the document that a text is about; None if it is not one of our documents."""
    values = text.values
    if not isinstance(values, Mapping) or "kind" not in values:
        return None
    names = {"variation": FALLBACK, **values} if "model" in values else values
    return (values["kind"], *(str(names.get(key)) for key in _NAMES))


def _merged(base: Text, own: Text) -> Text:
    replaced: list[Path] = []
    values = _laid(base.values, own.values, (), replaced)
    places = {at: place for at, place in base.places.items() if not _is_below(at, replaced)}
    written = {at: text for at, text in base.written.items() if not _is_below(at, replaced)}
    return replace(
        base,
        values=values,
        places=places,
        written=written | own.written,
        problems=[*base.problems, *own.problems],
        over=own,
    )


def _laid(base: object, own: object, at: Path, replaced: list[Path]) -> object:
    """The merged value. `replaced` collects the paths at which nothing of the base remains."""
    if not isinstance(own, Mapping):
        replaced.append(at)
        return own
    merged = dict(base) if isinstance(base, Mapping) else {}
    for key, value in own.items():
        if value is None:
            merged.pop(key, None)
            replaced.append((*at, key))
        else:
            merged[key] = _laid(merged.get(key), value, (*at, key), replaced)
    return merged


def _is_below(at: Path, replaced: Sequence[Path]) -> bool:
    return any(at[: len(path)] == path for path in replaced)
