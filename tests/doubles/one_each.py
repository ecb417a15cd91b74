"""OneEach: what Services have to say of replicas where every build has one. A base for doubles."""

from __future__ import annotations

from collections.abc import Collection

from sluicegate.registry.words.build import BuildRef, Endpoint


class OneEach:
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
