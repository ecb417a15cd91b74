"""Reads a deployment file of Qwak's, or reports each of its errors with its place and fix."""

from __future__ import annotations

from pathlib import Path

from sluicegate.registry.audience.qwak_deployment import QwakDeployment, read_deployment
from sluicegate.registry.words.errors import InvalidDocument, UsageError
from sluicegate.registry.words.yaml_text import read_texts


def read_deployment_file(file: Path) -> QwakDeployment:
    """The deployment in a file. Raises InvalidDocument, and UsageError for a file that cannot be read."""
    try:
        texts = read_texts(file.read_text(encoding="utf-8"), str(file))
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(
            f"{file} cannot be read: {error}.",
            fix="check that it exists, that you may read it and that it is UTF-8 text",
        ) from error
    if len(texts) != 1:
        raise UsageError(
            f"{file}: one document is expected, and there are {len(texts)}.", fix="write each into a file of its own"
        )
    deployment = read_deployment(texts[0])
    if texts[0].problems:
        raise InvalidDocument(tuple(sorted(texts[0].problems, key=lambda each: (each.line, each.column))))
    return deployment
