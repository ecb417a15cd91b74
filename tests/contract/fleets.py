"""Worlds in which services run: a machine's fleet, whose programs are threads here, and a cluster in memory."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from sluicegate.registry.rollout.facts import Packed
from sluicegate.services.bento.fleet import Fleet
from sluicegate.services.bento.readiness import EXAMPLE
from sluicegate.services.bento.store import BentoStore
from sluicegate.services.cluster.api import Api, Limits
from sluicegate.services.cluster.deployments import ClusterServices
from sluicegate.services.cluster.objects import Kit
from sluicegate.services.cluster.rights import Role
from tests.doubles.answering import Answering, Mode
from tests.doubles.answering_programs import AnsweringPrograms
from tests.doubles.api_server import ApiServer
from tests.doubles.controllers import Controllers

KIT = Kit(image="registry.example.com/sluicegate:1", connections="sluicegate-connections")
NAMESPACE = "models"
PATIENT = Limits(connect=30.0, whole=60.0)
"""A busy machine may take longer to answer than a cluster should."""


class World(Protocol):
    """Services, and what stands behind them."""

    def services(self) -> Fleet | ClusterServices:
        """As another process would hold them."""
        ...

    def pack(self, tag: str = "delays:v1-abc") -> Packed: ...

    def behave(self, mode: Mode) -> None:
        """How replicas behave that are started from now on."""
        ...

    def replica(self, address: str) -> Answering:
        """The one that answers there."""
        ...

    def away(self) -> None:
        """Whoever runs the replicas does not answer any more."""
        ...


@dataclass(frozen=True)
class Machine:
    """One machine."""

    home: Path
    programs: AnsweringPrograms

    def services(self) -> Fleet:
        return Fleet(self.home / "services", bentos=self.home / "bento", programs=self.programs)

    def pack(self, tag: str = "delays:v1-abc") -> Packed:
        store = BentoStore(self.home / "bento" / "store")
        files = (store.bento(tag) / "bento.yaml", store.model(tag) / EXAMPLE, store.model(tag).parent / "model.yaml")
        for path in files:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(f'{{"name": "{tag}"}}')
        bento, model = store.digests(tag)
        packed = Packed(bento=tag, env="project", bento_digest=bento, model_digest=model)
        store.record(packed)
        return packed

    def behave(self, mode: Mode) -> None:
        self.programs.mode = mode

    def replica(self, address: str) -> Answering:
        return self.programs.replica(address)

    def away(self) -> None:
        self.programs.is_away = True


@dataclass(frozen=True)
class InCluster:
    """One namespace, asked with the rights of the control pods."""

    server: ApiServer
    controllers: Controllers

    def services(self) -> ClusterServices:
        api = Api(self.server.access("control"), NAMESPACE, limits=PATIENT)
        return ClusterServices(api, KIT, example=lambda _: b"{}")

    def pack(self, tag: str = "delays:v1-abc") -> Packed:
        return Packed(bento=tag, env="project", bento_digest="b" * 64, model_digest="m" * 64)

    def behave(self, mode: Mode) -> None:
        self.controllers.mode = mode

    def replica(self, address: str) -> Answering:
        return self.controllers.replica(address)

    def away(self) -> None:
        self.server.away()


@contextmanager
def machine(home: Path) -> Iterator[Machine]:
    programs = AnsweringPrograms()
    try:
        yield Machine(home, programs)
    finally:
        programs.close()


@contextmanager
def in_cluster() -> Iterator[InCluster]:
    with ApiServer() as server, Controllers(server, NAMESPACE) as controllers:
        server.tokens["control"] = Role.CONTROL
        yield InCluster(server, controllers)
