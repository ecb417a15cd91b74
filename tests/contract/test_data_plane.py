"""What every DataPlane promises; see services/traffic/port.py. The Envoy is a real one, with real services."""

from __future__ import annotations

import contextlib
import dataclasses
import random
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol, TypeVar

import httpx
import pytest

from sluicegate.registry.audience.connections import Connections, Terms
from sluicegate.registry.plan.fields import Serve
from sluicegate.registry.words.build import Endpoint
from sluicegate.registry.words.errors import Fenced, Forbidden, NotFound, RoutesRejected, Unreachable
from sluicegate.registry.words.fencing import FencingToken
from sluicegate.services.traffic.envoy.plane import Envoy
from sluicegate.services.traffic.gateways import Gateways
from sluicegate.services.traffic.joined import Mailbox
from sluicegate.services.traffic.port import DataPlane
from sluicegate.services.traffic.routes import routes
from sluicegate.services.traffic.table import RouteTable, assign
from tests import plain_http
from tests.doubles.api_server import ApiServer
from tests.doubles.plane import MemoryDataPlane
from tests.integration.gateway_pods import Keeper, Pod, cluster
from tests.integration.joined_gateway import Edge, FirstHost, joined_gateway
from tests.integration.traffic_rig import Upstream, build, eventually, gateway, standing, upstreams

AnswerT = TypeVar("AnswerT")


class Subject(Protocol):
    """A data plane and the means to look at it from outside."""

    plane: DataPlane
    endpoints: dict
    more: tuple[Endpoint, ...]

    def another_writer(self) -> DataPlane:
        """What another process applies tables to."""
        ...

    def served(self, unit: str, model: str = "delays") -> str: ...
    def by_name(self, variation: str) -> str | int: ...
    def stop(self) -> None: ...
    def start(self) -> None: ...
    def holding(self, unit: str) -> contextlib.AbstractContextManager[None]: ...
    def reached(self) -> set[str]:
        """The addresses that requests for build 1 come to."""
        ...


@dataclass
class MemorySubject:
    plane: MemoryDataPlane
    endpoints: dict
    more: tuple[Endpoint, ...]
    """Further replicas of build 1."""

    def another_writer(self) -> DataPlane:
        return self.plane

    def reached(self) -> set[str]:
        return {each.address for each in self.plane.addresses(build("1"))}

    def served(self, unit: str, model: str = "delays") -> str:
        return self.plane.route(model, unit).build.version

    def by_name(self, variation: str) -> str | int:
        try:
            return self.plane.route_by_name("delays", variation).version
        except Forbidden:
            return 403
        except NotFound:
            return 404

    def stop(self) -> None:
        self.plane.stop()

    def start(self) -> None:
        self.plane.start()

    @contextlib.contextmanager
    def holding(self, unit: str) -> Iterator[None]:
        with self.plane.request("delays", unit):
            yield


class EnvoySubject:
    def __init__(self, running, services, more) -> None:
        self.running, self.services, self.replicas = running, services, more
        self.more = tuple(each.endpoint for each in more)
        self.plane, self.client = running.plane, running.client()
        self.endpoints = {service.endpoint.build: (service.endpoint,) for service in services.values()}

    def another_writer(self) -> DataPlane:
        return Envoy(self.plane.places.folder, port=self.plane.places.port)

    def _post(self, unit: str, model: str = "delays") -> httpx.Response:
        return self.client.post(f"/{model}/predict", json={}, headers={"x-user-id": unit})

    def served(self, unit: str, model: str = "delays") -> str:
        answer = self._post(unit, model)
        assert answer.status_code == 200, answer.text
        return answer.headers["x-sluice-build"]

    def reached(self) -> set[str]:
        every = {each.endpoint.address for each in (self.services["1"], *self.replicas)}
        before = {address: met(address) for address in every}
        for unit in UNITS[:20]:
            self.served(unit)
        return {address for address in every if met(address) > before[address]}

    def by_name(self, variation: str) -> str | int:
        answer = self.client.post(f"/delays/variations/{variation}/predict", json={})
        return answer.headers["x-sluice-build"] if answer.status_code == 200 else answer.status_code

    def stop(self) -> None:
        self.running.kill()

    def start(self) -> None:
        self.running.start()

    @contextlib.contextmanager
    def holding(self, unit: str) -> Iterator[None]:
        for service in self.services.values():
            service.mode("hold")
        with ThreadPoolExecutor(1) as pool:
            under_way = pool.submit(self._post, unit)
            try:
                yield
            finally:
                for service in self.services.values():
                    service.mode("ok")
            assert under_way.result().status_code == 200


class ClusterSubject(EnvoySubject):
    """Gateways of a cluster, as the keeper has them through the API server."""

    def __init__(self, server: ApiServer, pods: Sequence[Pod], services, more) -> None:
        self.server, self.pods = server, pods
        self.services, self.replicas = services, more
        self.more = tuple(each.endpoint for each in more)
        self.endpoints = {service.endpoint.build: (service.endpoint,) for service in services.values()}
        self.writers: list[Keeper] = []
        self.plane = self.another_writer()
        self.clients = [httpx.Client(base_url=pod.url, timeout=60) for pod in pods]
        self.client = self.clients[0]

    def another_writer(self) -> Keeper:
        keeper = Keeper(self.server, self.pods, f"keeper-{len(self.writers) + 1}")
        self.writers.append(keeper)
        eventually(lambda: all(each.silence() is not None for each in keeper.gateways.boxes()))
        eventually(lambda: len(keeper.gateways.boxes()) == len(self.pods))
        keeper.follow()
        return keeper

    def served(self, unit: str, model: str = "delays") -> str:
        answers = {EnvoySubject.served(self, unit, model) for self.client in self.clients}
        assert len(answers) == 1, answers
        return answers.pop()

    def stop(self) -> None:
        for pod in self.pods:
            pod.kill()
        eventually(lambda: self.plane.several.observe() is None)

    def start(self) -> None:
        for pod in self.pods:
            pod.start()
        for pod in self.pods:
            pod.wait()
        self.plane.back()

    def end(self) -> None:
        for each in (*self.writers, *self.clients):
            each.end() if isinstance(each, Keeper) else each.close()


class JoinedSubject(EnvoySubject):
    """A gateway of another host, as the keeper has it through the console.

    Two promises are others' by design, who are played here: the first host's relay follows addresses
    (tests/integration/test_outside.py), and the guard beside the gateway goes to stable only.
    """

    def __init__(self, box: Mailbox, edge: Edge, services, more) -> None:
        self.box, self.edge = box, edge
        self.services, self.replicas = services, more
        self.more = tuple(each.endpoint for each in more)
        self.endpoints = {service.endpoint.build: (service.endpoint,) for service in services.values()}
        self.writers: list[FirstHost] = []
        self.plane = self.another_writer()
        self.client = httpx.Client(base_url=edge.url, timeout=60)

    def another_writer(self) -> FirstHost:
        self.writers.append(FirstHost(self.box, self.edge))
        return self.writers[-1]

    def stop(self) -> None:
        self.edge.kill()
        eventually(lambda: self.plane.observe() is None)

    def start(self) -> None:
        self.edge.start()

    def end(self) -> None:
        self.client.close()
        for each in self.writers:
            each.end()


class SeveralSubject:
    """Several gateways as one data plane: whoever asks any of them is to find the same."""

    def __init__(self, subjects: Sequence[Subject]) -> None:
        self.subjects = subjects
        self.endpoints, self.more = subjects[0].endpoints, subjects[0].more
        planes = {f"gateway-{number}": each.plane for number, each in enumerate(subjects, 1)}
        self.plane = Gateways(planes, lambda: datetime.now(UTC), patience=60)

    def another_writer(self) -> DataPlane:
        planes = {f"gateway-{number}": each.another_writer() for number, each in enumerate(self.subjects, 1)}
        return Gateways(planes, lambda: datetime.now(UTC), patience=60)

    def _same(self, question: Callable[[Subject], AnswerT]) -> AnswerT:
        answers = [question(each) for each in self.subjects]
        assert all(each == answers[0] for each in answers), answers
        return answers[0]

    def served(self, unit: str, model: str = "delays") -> str:
        return self._same(lambda each: each.served(unit, model))

    def by_name(self, variation: str) -> str | int:
        return self._same(lambda each: each.by_name(variation))

    def reached(self) -> set[str]:
        return self._same(lambda each: each.reached())

    def stop(self) -> None:
        for each in self.subjects:
            each.stop()

    def start(self) -> None:
        for each in self.subjects:
            each.start()

    def holding(self, unit: str) -> contextlib.AbstractContextManager[None]:
        return self.subjects[-1].holding(unit)


def memory_subject() -> MemorySubject:
    endpoints = {build(v): (Endpoint(build=build(v), host="127.0.0.1", port=9),) for v in "12"}
    more = tuple(Endpoint(build=build("1"), host="127.0.0.1", port=port) for port in (10, 11))
    return MemorySubject(MemoryDataPlane(random.Random(1).randrange), endpoints, more)


def met(address: str) -> int:
    return int(plain_http.post(f"http://{address}/-/mode", json={}).json()["predict"])


@pytest.fixture(scope="module")
def more() -> Iterator[list[Upstream]]:
    found = [Upstream(build("1")) for _ in range(2)]
    try:
        for each in found:
            each.start()
        for each in found:
            each.wait()
        yield found
    finally:
        for each in found:
            each.kill()


@pytest.fixture(scope="module")
def services() -> Iterator[dict]:
    with upstreams(build("1"), build("2")) as running:
        yield running


@pytest.fixture(
    params=[
        "memory",
        "memories",
        pytest.param("envoy", marks=pytest.mark.slow),
        pytest.param("envoys", marks=pytest.mark.slow),
        pytest.param("joined", marks=pytest.mark.slow),
        pytest.param("cluster", marks=pytest.mark.slow),
    ]
)
def subject(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Subject]:
    if request.param == "memory":
        yield memory_subject()
        return
    if request.param == "memories":
        yield SeveralSubject([memory_subject() for _ in range(3)])
        return
    with contextlib.ExitStack() as stack:
        if request.param == "joined":
            box, edge = stack.enter_context(joined_gateway(tmp_path))
            joined = JoinedSubject(box, edge, request.getfixturevalue("services"), request.getfixturevalue("more"))
            stack.callback(joined.end)
            yield joined
            return
        if request.param == "cluster":
            server, pods = stack.enter_context(cluster(tmp_path, 2, greeting=10.0))
            made = ClusterSubject(server, pods, request.getfixturevalue("services"), request.getfixturevalue("more"))
            stack.callback(made.end)
            yield made
            return
        subjects = []
        for number in range(2 if request.param == "envoys" else 1):
            running = stack.enter_context(gateway(tmp_path / str(number)))
            subject = EnvoySubject(running, request.getfixturevalue("services"), request.getfixturevalue("more"))
            stack.enter_context(subject.client)
            subjects.append(subject)
        yield subjects[0] if request.param == "envoy" else SeveralSubject(subjects)


def by_hand(table: RouteTable, model: str = "delays") -> Callable[[str], str]:
    route = table.model(model)
    return lambda unit: assign(route, route.audiences[-1], unit, random.Random(1).randrange).build.version


UNITS = [f"unit-{number}" for number in range(200)]


def test_a_table_that_was_applied_is_in_force(subject: Subject) -> None:
    table = routes([standing(weight=3000)], subject.endpoints)
    assert subject.plane.observe() != table.version
    subject.plane.apply(table, subject.endpoints)
    assert subject.plane.observe() == table.version


def test_units_get_the_arm_that_assign_computes(subject: Subject) -> None:
    table = routes([standing(weight=3000)], subject.endpoints)
    subject.plane.apply(table, subject.endpoints)
    answers = [subject.served(unit) for unit in UNITS]
    assert answers == [by_hand(table)(unit) for unit in UNITS]
    assert set(answers) == {"1", "2"}


def test_a_variation_that_allows_it_answers_by_its_name_with_its_stable_build(subject: Subject) -> None:
    """Whatever is tried there, and whoever is sent there: `dark` is nobody's."""
    there = [standing(weight=9000), dataclasses.replace(standing(stable="2"), variation="dark")]
    shut = Connections(model="delays")
    opened = shut.with_terms(Terms(variation="default", by_name=True)).with_terms(Terms(variation="dark", by_name=True))
    for terms, default, dark in ((shut, 403, 403), (opened, "1", "2"), (shut, 403, 403)):
        table = routes(there, subject.endpoints, {"delays": terms})
        subject.plane.apply(table, subject.endpoints)
        assert (subject.by_name("default"), subject.by_name("dark"), subject.by_name("darker")) == (default, dark, 404)
        assert [subject.served(unit) for unit in UNITS[:20]] == [by_hand(table)(unit) for unit in UNITS[:20]]


def test_a_refused_table_leaves_the_former_in_force_also_after_a_restart(subject: Subject) -> None:
    good = routes([standing(weight=3000)], subject.endpoints)
    subject.plane.apply(good, subject.endpoints)
    wrong = {ref: (dataclasses.replace(end, host="not-an-address"),) for ref, (end,) in subject.endpoints.items()}
    with pytest.raises(RoutesRejected, match="malformed IP address: not-an-address"):
        subject.plane.apply(routes([standing(weight=5000, epoch=2)], wrong), wrong)
    for _ in range(2):
        assert subject.plane.observe() == good.version
        assert [subject.served(unit) for unit in UNITS[:20]] == [by_hand(good)(unit) for unit in UNITS[:20]]
        subject.stop()
        subject.start()


def test_a_refused_model_keeps_its_routes_and_holds_up_nobody_else(subject: Subject) -> None:
    """Three models: one changes well, one is refused, one goes away; then the refused one is put right."""
    endpoints = dict(subject.endpoints)
    for other in ("fraud", "churn"):
        for ref, (endpoint,) in subject.endpoints.items():
            there = build(ref.version, other)
            endpoints[there] = (dataclasses.replace(endpoint, build=there),)

    (fraud,) = endpoints[build("2", "fraud")]
    wrong = {**endpoints, fraud.build: (dataclasses.replace(fraud, host="not-an-address"),)}

    def table(delays: int, fraud: int, *more: str) -> RouteTable:
        wanted = {"delays": delays, "fraud": fraud} | dict.fromkeys(more, 3000)
        states = [standing(model=model, weight=weight, epoch=weight) for model, weight in wanted.items()]
        return routes(states, endpoints)

    def split(of: RouteTable, model: str) -> bool:
        return [subject.served(unit, model) for unit in UNITS[:20]] == [by_hand(of, model)(unit) for unit in UNITS[:20]]

    good, refused = table(3000, 3000, "churn"), table(6000, 7000)
    subject.plane.apply(good, endpoints)
    for _ in range(2):
        with pytest.raises(RoutesRejected, match="malformed IP address: not-an-address") as raised:
            subject.plane.apply(refused, wrong)
        assert raised.value.models == {"fraud"}
        assert subject.plane.observe() == raised.value.serving != refused.version
        assert split(refused, "delays")
        assert split(good, "fraud")
        subject.stop()
        subject.start()
    with pytest.raises(RoutesRejected):
        subject.plane.apply(table(0, 7000), wrong)
    assert {subject.served(unit) for unit in UNITS[:20]} == {"1"}, "another model's abort is served"
    righted = table(0, 7000)
    subject.plane.apply(righted, endpoints)
    assert subject.plane.observe() == righted.version
    assert split(righted, "fraud")


def test_applying_the_same_table_again_changes_nothing(subject: Subject) -> None:
    table = routes([standing(weight=3000)], subject.endpoints)
    for _ in range(2):
        subject.plane.apply(table, subject.endpoints)
        assert subject.plane.observe() == table.version
        assert subject.served("unit-1") == by_hand(table)("unit-1")


@pytest.mark.parametrize("replicas", [1, 3])
def test_addresses_are_followed_and_the_version_stays(subject: Subject, replicas: int) -> None:
    """One comes, one moves, one goes; also where the plan says one, as while a service is replaced."""
    table = routes([dataclasses.replace(standing(), serve=Serve(replicas=replicas))], subject.endpoints)
    one, (two, three) = subject.endpoints[build("1")][0], subject.more
    for there in ((one,), (one, two), (one, three), (three,), (one,)):
        subject.plane.apply(table, {build("1"): there})
        assert subject.plane.observe() == table.version
        assert subject.reached() == {each.address for each in there}


def test_a_refused_address_leaves_the_former_ones(subject: Subject) -> None:
    table = routes([dataclasses.replace(standing(), serve=Serve(replicas=3))], subject.endpoints)
    one = subject.endpoints[build("1")][0]
    subject.plane.apply(table, {build("1"): (one,)})
    with pytest.raises(RoutesRejected, match="malformed IP address: not-an-address"):
        subject.plane.apply(table, {build("1"): (one, dataclasses.replace(one, host="not-an-address"))})
    assert subject.plane.observe() == table.version
    assert subject.reached() == {one.address}


def test_a_stopped_data_plane_cannot_be_asked_and_starts_with_the_last_table(subject: Subject) -> None:
    first = routes([standing(weight=3000)], subject.endpoints)
    last = routes([standing(weight=6000, epoch=2)], subject.endpoints)
    subject.plane.apply(first, subject.endpoints)
    subject.stop()
    assert subject.plane.observe() is None
    assert subject.plane.in_flight(build("1")) is None
    with pytest.raises(Unreachable):
        subject.plane.apply(last, subject.endpoints)
    subject.start()
    assert eventually(lambda: subject.plane.observe() == last.version)
    assert [subject.served(unit) for unit in UNITS[:20]] == [by_hand(last)(unit) for unit in UNITS[:20]]


@pytest.mark.parametrize("weight", [3000, 0])
def test_requests_under_way_are_counted_for_their_build(subject: Subject, weight: int) -> None:
    table = routes([standing(weight=weight)], subject.endpoints)
    subject.plane.apply(table, subject.endpoints)
    for version in sorted({by_hand(table)(unit) for unit in UNITS}):
        unit = next(unit for unit in UNITS if by_hand(table)(unit) == version)
        assert subject.plane.in_flight(build(version)) == 0
        with subject.holding(unit):
            assert eventually(lambda version=version: subject.plane.in_flight(build(version)) == 1)
        assert eventually(lambda version=version: subject.plane.in_flight(build(version)) == 0)


def made(weight: int, subject: Subject, **token: int) -> RouteTable:
    table = routes([standing(weight=weight, epoch=weight)], subject.endpoints)
    return dataclasses.replace(table, made_from=FencingToken(**token))


@pytest.mark.parametrize(
    "older",
    [{"position": 9, "term": 2}, {"position": 10, "term": 1}, {"position": 99, "term": 1}, {"position": 9, "term": 3}],
    ids=["earlier", "replaced", "replaced, later", "successor, earlier"],
)
def test_an_older_table_is_refused_and_changes_nothing_also_after_a_restart(subject: Subject, older: dict) -> None:
    """Whoever brings it: the keeper that was replaced, or the one that replaced it and saw less."""
    newer = made(6000, subject, position=10, term=2)
    subject.plane.apply(newer, subject.endpoints)
    for _ in range(2):
        for writer in (subject.plane, subject.another_writer()):
            with pytest.raises(Fenced, match="is older than the one"):
                writer.apply(made(3000, subject, **older), {build("1"): subject.endpoints[build("1")]})
        assert subject.plane.observe() == newer.version
        assert [subject.served(unit) for unit in UNITS[:20]] == [by_hand(newer)(unit) for unit in UNITS[:20]]
        subject.stop()
        subject.start()
    subject.another_writer().apply(newer, subject.endpoints)
    later = made(0, subject, position=11, term=2)
    subject.plane.apply(later, subject.endpoints)
    assert subject.plane.observe() == later.version


def test_a_newer_state_that_asks_for_the_same_keeps_older_ones_away(subject: Subject) -> None:
    subject.plane.apply(made(3000, subject, position=10), subject.endpoints)
    subject.plane.apply(made(3000, subject, position=12), subject.endpoints)
    with pytest.raises(Fenced):
        subject.plane.apply(made(6000, subject, position=11), subject.endpoints)


def test_a_restored_ledger_is_refused_with_a_way_out_until_somebody_says_so(subject: Subject) -> None:
    subject.plane.apply(made(6000, subject, position=500, term=7), subject.endpoints)
    with pytest.raises(Fenced, match="sluice restored"):
        subject.plane.apply(made(3000, subject, position=300, term=8), subject.endpoints)
    restored = made(3000, subject, position=301, term=3, restored=1)
    subject.plane.apply(restored, subject.endpoints)
    assert subject.plane.observe() == restored.version
    with pytest.raises(Fenced):
        subject.another_writer().apply(made(6000, subject, position=999, term=9), subject.endpoints)


@pytest.mark.parametrize("weight", [3000, 10_000])
def test_while_nobody_watches_stable_answers_alone_also_after_a_restart_until_the_table_comes_again(
    subject: Subject, weight: int
) -> None:
    """The other model, where nobody tries anything, is as it was: two variations share it."""
    other = build("1", "churn")
    endpoints = {**subject.endpoints, other: (dataclasses.replace(subject.endpoints[build("1")][0], build=other),)}
    table = routes([standing(weight=weight), standing(model="churn")], endpoints)
    subject.plane.apply(table, endpoints)
    assert subject.plane.go_stable_only()
    for _ in range(2):
        assert subject.plane.observe() == table.stable_only.version != table.version
        assert {subject.served(unit) for unit in UNITS[:40]} == {"1"}
        assert not subject.plane.go_stable_only()
        subject.stop()
        subject.start()
    subject.another_writer().apply(table, endpoints)
    assert subject.plane.observe() == table.version
    assert [subject.served(unit) for unit in UNITS[:40]] == [by_hand(table)(unit) for unit in UNITS[:40]]


def test_where_nobody_is_tried_nothing_changes_while_nobody_watches(subject: Subject) -> None:
    table = routes([standing()], subject.endpoints)
    subject.plane.apply(table, subject.endpoints)
    assert not subject.plane.go_stable_only()
    assert subject.plane.observe() == table.version


def test_who_watches_is_noted_by_whoever_was_let_through_last(subject: Subject) -> None:
    assert subject.plane.renewed_at() is None
    subject.plane.apply(made(3000, subject, position=1, term=1), subject.endpoints)
    subject.plane.renew()
    first = subject.plane.renewed_at()
    subject.plane.renew()
    assert first is not None
    assert subject.another_writer().renewed_at() > first
