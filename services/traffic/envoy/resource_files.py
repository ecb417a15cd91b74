"""The files that Envoy watches: their canonical text, digests, and reading them back."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import orjson


def canonical(resource: object) -> str:
    """A value's canonical JSON text, with sorted keys."""
    return orjson.dumps(resource, option=orjson.OPT_SORT_KEYS).decode()


def digest(resource: object) -> str:
    """A short digest of a value's canonical JSON."""
    return hashlib.sha256(canonical(resource).encode()).hexdigest()[:16]


def keep(path: Path, copy: Path) -> None:
    """Keep the present content under another name by a hard link. Safe, as `durable.replace` never rewrites a file."""
    temporary = copy.with_name(f".{copy.name}.new")
    temporary.unlink(missing_ok=True)
    temporary.hardlink_to(path)
    temporary.rename(copy)


def read_text(path: Path) -> str | None:
    """The file's content; None if there is no such file."""
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return None


def read_resources(path: Path) -> dict[str, dict[str, object]]:
    """The resources of a discovery file by name, without their type; empty if it cannot be read."""
    try:
        rows = json.loads(path.read_text(encoding="utf-8"))["resources"]
        return {row["name"]: {key: value for key, value in row.items() if key != "@type"} for row in rows}
    except (OSError, ValueError, KeyError, TypeError):
        return {}
