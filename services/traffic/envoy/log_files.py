"""Envoy's own log and the names of its access logs."""

from __future__ import annotations

import re
from pathlib import Path

_REASON = re.compile(r"rejected: (.*)|(?:update failed|[Uu]nable to|error).*?: (.*)", re.DOTALL)
_INVALID = re.compile(r"error `(.*?)` initializing config|error initializing configuration '[^']*': (.*)", re.DOTALL)
_LONGEST = 1_000
_ENTRY = re.compile(r"^\[\d{4}-\d\d-\d\d[^\n]*?\] ", re.MULTILINE)


def rejection(log: Path, mark: int) -> str | None:
    """Envoy's reason for a refused configuration, from its log after position `mark`; None if there is none yet."""
    try:
        with log.open("rb") as file:
            file.seek(mark)
            text = file.read(64 * 1024).decode("utf-8", "replace")
    except OSError:
        return None
    entries = [entry.strip() for entry in _ENTRY.split(text) if entry.strip()]
    for entry in reversed(entries):
        match = _REASON.search(entry)
        if match:
            return (match.group(1) or match.group(2)).strip()
    return None


def refusal(output: str) -> str:
    """The reason that `envoy --mode validate` gave for a refused configuration, without the configuration itself."""
    match = _INVALID.search(output)
    reason = match.group(1) or match.group(2) if match else output.strip().rpartition("\n")[2]
    return reason.rpartition("Proto constraint validation failed ")[2].strip()[:_LONGEST] or "it gives no reason."


def next_rotated(path: Path) -> Path:
    """The name that a log file gets when it is rotated: `live.jsonl` -> `live.000001.jsonl`, counting up."""
    numbers = (other.name.split(".")[1] for other in path.parent.glob(f"{path.stem}.*{path.suffix}"))
    last = max((int(number) for number in numbers if number.isdigit()), default=0)
    return path.with_name(f"{path.stem}.{last + 1:06d}{path.suffix}")
