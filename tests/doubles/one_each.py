"""Bases for doubles of Services: every bento is on this machine, every build has one replica."""

from __future__ import annotations

from collections.abc import Collection

from sluicegate.registry.rollout.facts import Packed
from sluicegate.registry.words.build import BuildRef, Endpoint, Endpoints


class AllHere:
    """Services whose bentos were packed on this machine."""

    def lacks(self, packed: Packed) -> bool:
        return False

    def fetch(self, packed: Packed) -> None:
        raise AssertionError(f"{packed.bento} is here")

    def ready(self, build: BuildRef) -> Collection[Endpoint]:
        return self.endpoints().get(build, ())

    def endpoints(self) -> Endpoints:
        raise NotImplementedError


class OneEach(AllHere):
    """Services of one replica each."""

    def stop(self, build: BuildRef) -> None:
        raise NotImplementedError

    def retire(self, build: BuildRef, keep: int) -> None:
        raise AssertionError(f"{build} has no replica to spare")

    def leaving(self) -> frozenset[BuildRef]:
        return frozenset()

    def dismiss(self, build: BuildRef) -> None:
        raise AssertionError(f"no replica of {build} leaves")

    def mend(self, build: BuildRef, hanging: Collection[Endpoint] = ()) -> None:
        self.stop(build)

    def hanging(self, build: BuildRef) -> Collection[Endpoint]:
        return ()
