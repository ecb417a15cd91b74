"""The mark of a gateway that nobody watches: a file beside its routes, as the ledger may be what is away."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

from sluicegate.registry.words.gateways import Unwatched
from sluicegate.services import durable

_FILE = "unwatched-since.json"


class Mark:
    """One gateway's, in the folder of its files."""

    def __init__(self, folder: Path, gateway: str, wall: Callable[[], datetime]) -> None:
        self._path, self._gateway, self._wall = folder / _FILE, gateway, wall

    def put(self, why: str) -> None:
        """Say that its stable-only form is in force from now on. Said before, it stays as it was."""
        if self.read() is None:
            note = {"since": self._wall().isoformat(), "why": why}
            durable.replace(self._path, json.dumps(note), mode=durable.PRIVATE)

    def clear(self) -> None:
        """A keeper watches again."""
        self._path.unlink(missing_ok=True)

    def read(self) -> Unwatched | None:
        """What it says; None where a keeper watches, or the gateway never ran."""
        try:
            note = json.loads(self._path.read_text(encoding="utf-8"))
            return Unwatched(gateway=self._gateway, since=datetime.fromisoformat(note["since"]), why=str(note["why"]))
        except (OSError, ValueError, KeyError, TypeError):
            return None
