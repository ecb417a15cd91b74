"""Clusters that no route names any more, and whether a request may still come to one."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field


@dataclass
class Unrouted:
    """Remembers since when clusters have been without routes; what it does not know left just now.

    A request is routed when its headers came, but reaches its cluster only when its whole body has come: by then the
    routes may be others.
    """

    clock: Callable[[], float]
    """Seconds, from any beginning."""
    upload_seconds: float
    """The longest time that a caller has for sending its body."""
    _routed: frozenset[str] = frozenset()
    _since: dict[str, float] = field(default_factory=dict)
    _drained: set[str] = field(default_factory=set)

    def note(self, routed: Iterable[str]) -> None:
        """Say which clusters the routes in force name."""
        before, self._routed = self._routed, frozenset(routed)
        for name in before - self._routed:
            self._since[name] = self.clock()
        for name in self._routed:
            self._since.pop(name, None)
            self._drained.discard(name)

    def is_routed(self, name: str) -> bool:
        """Whether the routes in force name the cluster."""
        return name in self._routed

    def may_get_more(self, name: str, under_way: int) -> bool:
        """Whether a request for this cluster may still be on its way; `under_way` counts all requests of all models.

        None at all under way, once, is the proof that those of the former routes have ended.
        """
        if self.is_routed(name):
            return True
        if name in self._drained:
            return False
        since = self._since.setdefault(name, self.clock())
        if under_way and self.clock() - since < self.upload_seconds:
            return True
        self._drained.add(name)
        return False
