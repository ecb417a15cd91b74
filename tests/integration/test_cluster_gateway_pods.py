"""Gateways of a cluster, with real Envoys as processes, while what is between them and their keeper fails."""

from __future__ import annotations

import dataclasses
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from sluicegate.registry.words.build import Endpoints
from sluicegate.registry.words.errors import Fenced, SluiceError, TimedOut
from sluicegate.registry.words.fencing import FencingToken
from sluicegate.registry.words.gateways import Confirmation
from sluicegate.services.cluster.kinds import CONFIG_MAP
from sluicegate.services.cluster.rights import RIGHTS, Role
from sluicegate.services.cluster.table_map import PLAIN, TABLE, table_map
from sluicegate.services.traffic.routes import routes
from sluicegate.services.traffic.sheet import write_sheet
from sluicegate.services.traffic.table import RouteTable
from tests import plain_http
from tests.doubles.api_server import ApiServer
from tests.integration.gateway_pods import NAMESPACE, Keeper, Line, Pod, cluster
from tests.integration.traffic_rig import build, eventually, standing, upstreams

pytestmark = [pytest.mark.slow, pytest.mark.chaos]
UNWATCHED = 8.0
"""Seconds. In good order six may pass between two times that a gateway hears of its keeper."""
UNITS = [f"unit-{number}" for number in range(40)]


@pytest.fixture(scope="module")
def endpoints() -> Iterator[Endpoints]:
    with upstreams(build("1"), build("2")) as running:
        yield {service.endpoint.build: (service.endpoint,) for service in running.values()}


@dataclasses.dataclass
class Stage:
    server: ApiServer
    pods: list[Pod]
    endpoints: Endpoints
    keepers: list[Keeper] = dataclasses.field(default_factory=list)

    def keeper(self, name: str = "keeper") -> Keeper:
        keeper = Keeper(self.server, self.pods, name, away=15.0, unwatched=UNWATCHED)
        self.keepers.append(keeper)
        running = sum(each.process is not None for each in self.pods)
        eventually(lambda: [each.silence() is not None for each in keeper.gateways.boxes()].count(True) >= running)
        keeper.follow()
        return keeper

    def table(self, weight: int, position: int, term: int = 1) -> RouteTable:
        made = routes([standing(weight=weight, epoch=position, timeout="20s")], self.endpoints)
        return dataclasses.replace(made, made_from=FencingToken(term=term, position=position))


@pytest.fixture
def stage(tmp_path: Path, endpoints: Endpoints) -> Iterator[Stage]:
    with cluster(tmp_path, 2, unwatched=UNWATCHED) as (server, pods):
        made = Stage(server, pods, endpoints)
        try:
            yield made
        finally:
            for each in made.keepers:
                each.end()


def served(pod: Pod) -> set[str]:
    """The builds that answer at a gateway."""
    with httpx.Client(base_url=pod.url, timeout=10) as client:
        answers = [client.post("/delays/predict", json={}, headers={"x-user-id": unit}) for unit in UNITS]
    assert {each.status_code for each in answers} == {200}
    return {each.headers["x-sluice-build"] for each in answers}


@contextmanager
def callers(*pods: Pod) -> Iterator[list[int]]:
    """Callers that ask again and again; what they got. None of it may be an error."""
    stop, statuses = threading.Event(), []

    def ask(pod: Pod) -> None:
        with httpx.Client(base_url=pod.url, timeout=30) as client:
            while not stop.wait(0.02):
                try:
                    statuses.append(client.post("/delays/predict", json={}).status_code)
                except httpx.TransportError:
                    statuses.append(0)

    threads = [threading.Thread(target=ask, args=(pod,)) for pod in pods]
    for each in threads:
        each.start()
    try:
        yield statuses
    finally:
        stop.set()
        for each in threads:
            each.join()
    assert statuses
    assert set(statuses) == {200}


def until_taken(act: Callable[[], object]) -> None:
    """What the keeper does at look after look."""

    def once() -> bool:
        try:
            act()
        except SluiceError:
            return False
        return True

    eventually(once)


@pytest.mark.parametrize("trouble", ["hangs", "away"])
def test_the_api_is_away_in_mid_ramp_and_comes_back(stage: Stage, trouble: str) -> None:
    """Requests go on; stable alone answers when nobody watches any more; then the ramp goes on."""
    keeper = stage.keeper()
    keeper.apply(stage.table(5000, 1), stage.endpoints)
    with callers(*stage.pods):
        if trouble == "hangs":
            stage.server.is_hanging = True
        else:
            stage.server.away()
        with pytest.raises(TimedOut, match="cannot be left in the cluster"):
            keeper.several.apply(stage.table(6000, 2), stage.endpoints)
        assert served(stage.pods[0]) == {"1", "2"}, "its last routes are in force"
        for pod in stage.pods:
            eventually(lambda pod=pod: served(pod) == {"1"})
        if trouble == "hangs":
            stage.server.is_hanging = False
        else:
            stage.server.back()
        until_taken(lambda: keeper.apply(stage.table(6000, 2), stage.endpoints))
        for pod in stage.pods:  # nobody waits for one that was long not heard: it serves stable alone
            eventually(lambda pod=pod: served(pod) == {"1", "2"})
    assert eventually(lambda: keeper.observe() == stage.table(6000, 2).version)
    used = {(place, verb) for role, place, verb in stage.server.used if role is Role.GATEWAY}
    granted = {(f"{kind.plural}.{kind.group}".rstrip("."), verb)
               for kind, verbs in RIGHTS[Role.GATEWAY].items() for verb in verbs}  # fmt: skip
    assert used == granted, "a gateway has the rights for what it does, and no other"


def test_pods_of_builds_come_and_go_while_no_keeper_watches_and_stable_alone_answers(stage: Stage) -> None:
    keeper, table = stage.keeper(), stage.table(5000, 1)
    keeper.apply(table, stage.endpoints)
    eventually(lambda: {pod.envoy.observe() for pod in stage.pods} == {table.version})  # pods begin with stable alone
    keeper.watches = False
    eventually(lambda: {pod.envoy.observe() for pod in stage.pods} == {table.stable_only.version})
    stable, other = stage.endpoints[build("1")][0], stage.endpoints[build("2")][0]
    moved = dataclasses.replace(other, build=build("1"))
    with callers(*stage.pods):
        for place in (moved, stable):
            keeper.place({build("1"): (place,), build("2"): (other,)})
            keeper.settle()
            for pod in stage.pods:
                eventually(lambda pod=pod, place=place: f'"port_value":{place.port}' in _clusters(pod))
                assert pod.envoy.observe() == table.stable_only.version, "nobody said that the candidate may answer"


def _clusters(pod: Pod) -> str:
    return pod.envoy.places.clusters.read_text().replace(" ", "")


def test_a_gateway_that_is_killed_holds_up_until_it_is_back_or_cannot_serve_a_candidate(stage: Stage) -> None:
    keeper, (one, two) = stage.keeper(), stage.pods
    keeper.apply(stage.table(3000, 1), stage.endpoints)
    with callers(one):
        two.kill()
        with pytest.raises(TimedOut, match="gateway-2"):
            keeper.several.apply(stage.table(6000, 2), stage.endpoints)
        assert one.envoy.observe() == stage.table(6000, 2).version, "the others have it all the same"
        until_taken(lambda: keeper.several.apply(stage.table(6000, 2), stage.endpoints))
        assert {each.name: each.confirmation for each in keeper.several.states()} == {
            "gateway-1": Confirmation.CONFIRMED, "gateway-2": Confirmation.AWAY
        }  # fmt: skip
        two.start()
        two.wait()
        until_taken(lambda: keeper.apply(stage.table(7000, 3), stage.endpoints))
    assert two.envoy.observe() == stage.table(7000, 3).version
    assert {each.confirmation for each in keeper.several.states()} == {Confirmation.CONFIRMED}


def test_an_abort_while_one_gateway_is_cut_off(stage: Stage, tmp_path: Path) -> None:
    """It is in force at once where the API is reached, and by its own switch where it is not, before the keeper takes
    it to be in force."""
    line = Line(stage.server.port)
    far = Pod(stage.server, tmp_path, "gateway-far", unwatched=UNWATCHED)
    far.api_url = line.url
    far.start()
    stage.pods.append(far)
    try:
        far.wait()
        keeper = stage.keeper()
        until_taken(lambda: keeper.apply(stage.table(5000, 1), stage.endpoints))
        with callers(*stage.pods):
            line.cut()
            with pytest.raises(TimedOut, match="gateway-far"):
                keeper.several.apply(stage.table(0, 2), stage.endpoints)
            assert all(served(pod) == {"1"} for pod in stage.pods if pod is not far)
            until_taken(lambda: keeper.several.apply(stage.table(0, 2), stage.endpoints))
            assert served(far) == {"1"}
            assert far.envoy.observe() == stage.table(5000, 1).stable_only.version
            line.mend()
            eventually(lambda: far.envoy.observe() == stage.table(0, 2).version)
        states = {each.name: each.confirmation for each in keeper.several.states()}
        assert states["gateway-far"] in (Confirmation.AWAY, Confirmation.CONFIRMED)
        until_taken(lambda: keeper.several.apply(stage.table(0, 2), stage.endpoints))
        eventually(lambda: keeper.observe() == stage.table(0, 2).version)
    finally:
        stage.pods.remove(far)
        far.kill()
        line.end()


def test_one_that_hears_nothing_new_but_that_a_keeper_watches_asks_for_the_routes(stage: Stage) -> None:
    """Watches that hang say nothing; each ends in time, and the keeper's Lease names the routes."""
    keeper = stage.keeper()
    keeper.apply(stage.table(5000, 1), stage.endpoints)
    stage.server.watches_are_silent = True
    until_taken(lambda: keeper.several.apply(stage.table(0, 2), stage.endpoints))
    assert all(served(pod) == {"1"} for pod in stage.pods)
    stage.server.watches_are_silent = False
    until_taken(lambda: keeper.several.apply(stage.table(4000, 3), stage.endpoints))


def test_a_keeper_that_follows_another_goes_on_and_the_former_one_is_refused(stage: Stage) -> None:
    former = stage.keeper("former")
    former.apply(stage.table(5000, 1, term=1), stage.endpoints)
    with callers(*stage.pods):
        former.watches = False
        successor = stage.keeper("successor")
        successor.apply(stage.table(6000, 2, term=2), stage.endpoints)
        with pytest.raises(Fenced):
            former.several.apply(stage.table(9000, 3, term=1), stage.endpoints)
        time.sleep(UNWATCHED + 2)
        assert all(served(pod) == {"1", "2"} for pod in stage.pods), "the successor watches"
    assert successor.observe() == stage.table(6000, 2, term=2).version


def test_an_older_sheet_in_the_map_is_refused_also_after_a_restart(stage: Stage) -> None:
    """Somebody brought it back by hand: each gateway says so, and the keeper writes its own again."""
    keeper = stage.keeper()
    keeper.apply(stage.table(3000, 5), stage.endpoints)
    older = table_map(write_sheet(stage.table(9000, 4), stage.endpoints.keys()))
    place = stage.server.place(CONFIG_MAP, NAMESPACE)
    stage.server.objects.apply(place, TABLE, older, "somebody", force=True)
    eventually(lambda: all("is older than the one" in box.report().why for box in keeper.gateways.boxes()))
    assert {pod.envoy.observe() for pod in stage.pods} == {stage.table(3000, 5).version}
    for pod in stage.pods:
        pod.kill()
        pod.start()
        pod.wait()
    assert all(served(pod) <= {"1", "2"} for pod in stage.pods)
    assert {pod.envoy.observe() for pod in stage.pods} <= {
        stage.table(3000, 5).version, stage.table(3000, 5).stable_only.version
    }  # fmt: skip
    until_taken(lambda: keeper.apply(stage.table(2000, 6), stage.endpoints))
    assert {pod.envoy.observe() for pod in stage.pods} == {stage.table(2000, 6).version}


def test_without_the_api_one_starts_with_what_it_has_or_with_what_is_mounted_and_stable_alone(
    stage: Stage, tmp_path: Path
) -> None:
    keeper, (one, _) = stage.keeper(), stage.pods
    keeper.apply(stage.table(5000, 5), stage.endpoints)
    for pod, position in ((one, 4), (Pod(stage.server, tmp_path, "fresh", unwatched=UNWATCHED), 6)):
        (pod.mounted / PLAIN).write_text(write_sheet(stage.table(9000, position), stage.endpoints.keys()))
        stage.pods.append(pod)
    fresh = stage.pods[-1]
    one.kill()
    stage.server.away()
    one.start()
    fresh.start()
    try:
        one.wait()
        assert served(one) == {"1"}
        assert one.envoy.observe() == stage.table(5000, 5).stable_only.version, "the mounted one is older"
        eventually(lambda: plain_http.get(f"{fresh.url}/-/ready").status_code == 200)
        assert fresh.envoy.observe() == stage.table(9000, 6).stable_only.version
        stage.server.back()
        until_taken(lambda: keeper.apply(stage.table(4000, 7), stage.endpoints))
        for pod in (one, fresh):
            eventually(lambda pod=pod: pod.envoy.observe() == stage.table(4000, 7).version)
            assert served(pod) == {"1", "2"}
    finally:
        fresh.kill()


def test_one_without_routes_is_not_ready(tmp_path: Path) -> None:
    with cluster(tmp_path, 1) as (_, (pod,)):
        pod.wait()
        assert plain_http.get(f"{pod.url}/-/ready").status_code == 503
