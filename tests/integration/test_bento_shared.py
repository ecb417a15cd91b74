"""A bento is packed by a worker in one folder and served by a host in another, through each kind of store, for real."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from uuid import uuid4

import pytest

from sluicegate.registry.plan.fields import Serve
from sluicegate.registry.rollout.facts import Packed
from sluicegate.registry.words.build import Build, BuildRef
from sluicegate.registry.words.errors import NotFound
from sluicegate.services.bento.asking import ask
from sluicegate.services.bento.fleet import Fleet
from sluicegate.services.bento.packer import Packer
from sluicegate.services.bento.stores.shared import SharedStore
from sluicegate.services.keeper.fleet_pass import FleetPass, Need
from tests.contract.bento_stores import PATIENT, Place, bucket
from tests.contract.mlflow_server import mlflow_server
from tests.direct_programs import DirectPrograms
from tests.integration.bento_models import logged_models
from tests.integration.traffic_rig import eventually

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]
REF = BuildRef(model="delays", version="1")
SERVE = Serve.model_validate({"timeout": "30s"})
BODY = json.dumps({"inputs": [{"carrier": "AA", "distance": 700, "hour": 6}]}).encode()


@pytest.fixture(params=["folder", "s3", "mlflow"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Place]:
    with ExitStack() as running:
        match request.param:
            case "folder":
                yield Place(str(tmp_path / "mounted"))
            case "s3":
                running.enter_context(bucket("models"))
                yield Place(f"s3://models/{uuid4().hex}")
            case _:
                (tmp_path / "mlflow").mkdir()
                server = running.enter_context(mlflow_server(tmp_path / "mlflow"))
                yield Place("mlflow-artifacts:/bentos", server)


def shared(place: Place, home: Path) -> SharedStore:
    return SharedStore(place.objects(PATIENT), home=home, owner=lambda: "ours")


def pack(place: Place, home: Path, model: Path) -> Packed:
    """On a worker, whose folder is gone afterwards."""
    packer = Packer(home, clock=lambda: datetime.now(UTC), shared=shared(place, home))
    packed = packer.pack(Build(ref=REF, source="models:/delays/1"), model, serve=SERVE)
    shutil.rmtree(home)
    return packed


class Plane:
    """A data plane through which nobody asks."""

    def in_flight(self, build: BuildRef) -> int | None:
        return 0


def test_a_host_with_an_empty_folder_serves_what_a_worker_packed(
    place: Place, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    model = logged_models(tmp_path_factory.getbasetemp())["delays"]
    packed = pack(place, tmp_path / "worker", model)
    programs, pool = DirectPrograms(), ThreadPoolExecutor(2)
    home = tmp_path / "host" / "bento"
    fleet = Fleet(tmp_path / "host" / "services", bentos=home, programs=programs, shared=shared(place, home))
    keeper = FleetPass(ledger=None, services=fleet, plane=Plane(), pool=pool)  # type: ignore[arg-type]

    def is_ready() -> bool:
        keeper.start((Need(build=REF, packed=packed, serve=SERVE),), (), datetime.now(UTC))
        return fleet.probe(REF) is None

    try:
        eventually(is_ready, seconds=300)
        (endpoint,) = fleet.endpoints()[REF]
        status, headers, answer = ask(endpoint, "POST", "/predict", BODY, 30.0)
        assert status == 200
        assert headers["x-sluice-build"] == "delays/1"
        assert sum(json.loads(answer)[0]) == pytest.approx(1.0)
        with pytest.raises(NotFound, match="is not in the store"):
            fleet.fetch(replace(packed, model_digest=packed.bento_digest))
    finally:
        programs.close()
        pool.shutdown()
