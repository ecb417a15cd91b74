"""Services that a keeper can change only while it leads. Reading is always allowed."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping

from sluicegate.registry.plan.fields import Serve
from sluicegate.registry.rollout.facts import Packed
from sluicegate.registry.words.build import BuildRef, Endpoint, Endpoints
from sluicegate.services.keeper.ports import Services


class LeadingServices:
    """Calls `check`, which may raise NotLeading, before each change."""

    def __init__(self, services: Services, check: Callable[[], None]) -> None:
        self._services, self._check = services, check

    def lacks(self, packed: Packed) -> bool:
        return self._services.lacks(packed)

    def fetch(self, packed: Packed) -> None:
        """Needs no check: fetching a bento does not affect running services."""
        self._services.fetch(packed)

    def start(self, build: BuildRef, packed: Packed, serve: Serve) -> None:
        self._check()
        self._services.start(build, packed, serve)

    def retire(self, build: BuildRef, keep: int) -> None:
        self._check()
        self._services.retire(build, keep)

    def dismiss(self, build: BuildRef) -> None:
        self._check()
        self._services.dismiss(build)

    def mend(self, build: BuildRef, hanging: Collection[Endpoint] = ()) -> None:
        self._check()
        self._services.mend(build, hanging)

    def stop(self, build: BuildRef) -> None:
        self._check()
        self._services.stop(build)

    def leaving(self) -> frozenset[BuildRef]:
        return self._services.leaving()

    def endpoints(self) -> Endpoints:
        return self._services.endpoints()

    def running(self) -> Mapping[BuildRef, int]:
        return self._services.running()

    def probe(self, build: BuildRef) -> str | None:
        return self._services.probe(build)

    def hanging(self, build: BuildRef) -> Collection[Endpoint]:
        return self._services.hanging(build)

    def ready(self, build: BuildRef) -> Collection[Endpoint]:
        return self._services.ready(build)

    def gave_up(self, build: BuildRef) -> str | None:
        return self._services.gave_up(build)
