"""Values: an installation's options as people write them, in a file and in options of the command line. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sluicegate.registry.documents.reading import read_as
from sluicegate.registry.words.errors import InvalidDocument, UsageError
from sluicegate.registry.words.yaml_text import Text, read_texts
from sluicegate.services.cluster.install.installation import Installation

OPTIONS = "options"
"""The place of command-line options in messages."""
_DEFAULTS: Mapping[str, Any] = Installation(image="none").model_dump(exclude={"image"})


def read_installation(text: str, where: str, given: Mapping[str, str]) -> Installation:
    """The installation that a file of values describes; `given`, by option, overrides it.

    Raises InvalidDocument with every problem, UsageError if there is no image.
    """
    file = _mapping(text, where)
    options = Text(where=OPTIONS, values=dict(given), places={(name,): (1, 1) for name in given})
    file.values = {**_over(_DEFAULTS, file.values), **given} if isinstance(file.values, dict) else dict(given)
    file.over = options if given else None
    if "image" not in file.values and not file.problems:
        raise UsageError(
            "no image is given.",
            fix="name the one that you built: --image registry.example.com/sluicegate:1.0",
        )
    found = read_as(Installation)(file, where)
    if found is None or file.problems:
        raise InvalidDocument(tuple(file.problems))
    return found


def _over(below: Mapping[str, Any], values: Mapping[str, Any]) -> dict[str, Any]:
    """Values over defaults, key by key at every level, as Helm merges them."""
    merged = dict(below)
    for key, value in values.items():
        under = below.get(key)
        merged[key] = _over(under, value) if isinstance(under, Mapping) and isinstance(value, Mapping) else value
    return merged


def _mapping(text: str, where: str) -> Text:
    found = read_texts(text, where)
    if not found:
        return Text(where=where, values={})
    if len(found) > 1:
        found[0].add((), "it has several documents", "write one document")
    if not isinstance(found[0].values, dict) and not found[0].problems:
        found[0].add((), "it is not a mapping of options", "write options such as gateways: 3")
    return found[0]
