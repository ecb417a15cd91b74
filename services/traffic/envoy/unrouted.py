"""Clusters that no route names any more, and whether a request may still reach one."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field


@dataclass
class Unrouted:
    """Remembers since when clusters have had no routes. An unknown cluster counts as having lost its routes just now.

    Envoy routes a request when its headers arrive, but sends it to its cluster only when the whole body has arrived.
    The routes may have changed by then.
    """

    clock: Callable[[], float]
    """Gives seconds from an arbitrary start."""
    upload_seconds: float
    """The longest time that a caller may take to send its body."""
    _routed: frozenset[str] = frozenset()
    _since: dict[str, float] = field(default_factory=dict)
    _drained: set[str] = field(default_factory=set)

    def note(self, routed: Iterable[str]) -> None:
        """Record which clusters the routes in force name."""
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
        """Whether a request for this cluster may still arrive. `under_way`: open requests of all models.

        Once no request at all is open, those of the former routes have certainly ended.
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
