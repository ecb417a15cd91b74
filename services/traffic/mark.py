"""The mark of a gateway that nobody watches. A file beside its routes, since the ledger itself may be away."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

from sluicegate.registry.words.gateways import Unwatched
from sluicegate.services import durable

_FILE = "unwatched-since.json"


class Mark:
    """The mark of one gateway, in the folder of its files."""

    def __init__(self, folder: Path, gateway: str, wall: Callable[[], datetime]) -> None:
        self._path, self._gateway, self._wall = folder / _FILE, gateway, wall

    def put(self, why: str) -> None:
        """Note that its stable-only form is in force from now on. An earlier mark stays as it is."""
        if self.read() is None:
            note = {"since": self._wall().isoformat(), "why": why}
            durable.replace(self._path, json.dumps(note), mode=durable.PRIVATE)

    def clear(self) -> None:
        """Remove the mark: a keeper watches again."""
        self._path.unlink(missing_ok=True)

    def read(self) -> Unwatched | None:
        """The mark; None if a keeper watches, or the gateway never ran."""
        try:
            note = json.loads(self._path.read_text(encoding="utf-8"))
            return Unwatched(gateway=self._gateway, since=datetime.fromisoformat(note["since"]), why=str(note["why"]))
        except (OSError, ValueError, KeyError, TypeError):
            return None
