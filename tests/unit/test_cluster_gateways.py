"""The keeper and the gateways of a cluster: what each leaves for the other, and what follows from silence."""

from __future__ import annotations

import base64
import json
import random
import threading
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import cast

import pytest

from sluicegate.flows.wiring.in_namespace import heard_in
from sluicegate.registry.words.build import BuildRef
from sluicegate.registry.words.errors import Fenced, RoutesRejected, TimedOut, UsageError
from sluicegate.registry.words.fencing import FencingToken, made_from
from sluicegate.registry.words.gateway_report import sheet_name
from sluicegate.registry.words.gateways import Unwatched
from sluicegate.services.cluster.api import Api, Limits
from sluicegate.services.cluster.gateways import RENEW_EVERY, ClusterGateways
from sluicegate.services.cluster.kinds import CONFIG_MAP, LEASE
from sluicegate.services.cluster.lease import KEEPER, Owner, gateway_lease, read_gateway_lease, read_keeper_lease
from sluicegate.services.cluster.rights import RIGHTS, Role, Verb
from sluicegate.services.cluster.table_map import (
    LARGEST,
    PACKED,
    PLAIN,
    TABLE,
    mounted_sheet,
    sheet_of,
    table_map,
)
from sluicegate.services.traffic.routes import routes
from sluicegate.services.traffic.sheet import write_sheet
from sluicegate.services.traffic.table import refuse_older
from tests.doubles.api_server import ApiServer
from tests.integration.traffic_rig import standing

BUILDS = [BuildRef(model="delays", version=version) for version in "12"]
AT = datetime(2026, 11, 30, 9, tzinfo=UTC)
SPACE = "models"


def sheet(weight: int = 2000, position: int = 7, term: int = 2) -> str:
    table = routes([standing(weight=weight)], set(BUILDS), {})
    return write_sheet(replace(table, made_from=FencingToken(term=term, position=position)), BUILDS)


def noise(size: int) -> str:
    """A text that no compression makes smaller than three quarters."""
    return base64.b64encode(random.Random(1).randbytes(size)).decode()


@pytest.mark.parametrize("text", [sheet(), json.dumps({"long": "list of states " * 100_000}), noise(600_000)])
def test_a_sheet_comes_out_of_the_map_and_of_its_mount_as_it_went_in(text: str, tmp_path: Path) -> None:
    thing = table_map(text)
    assert sheet_of(thing) == text
    assert len(json.dumps(thing)) < 1_500_000, "what the cluster's store takes of one object"
    for name, value in (thing.get("data") or {}).items():
        (tmp_path / name).write_text(value)
    for name, value in (thing.get("binaryData") or {}).items():
        (tmp_path / name).write_bytes(base64.b64decode(value))
    assert mounted_sheet(tmp_path) == text


def test_a_small_sheet_can_be_read_by_people_and_a_large_one_is_compressed() -> None:
    assert table_map(sheet())["data"].keys() == {PLAIN}
    large = table_map(json.dumps({"long": "list of states " * 100_000}))
    assert "data" not in large
    assert large["binaryData"].keys() == {PACKED}


def test_a_sheet_that_no_map_holds_is_refused_with_a_way_out() -> None:
    with pytest.raises(RoutesRejected, match=r"compressed.*Fix: undeploy models") as raised:
        table_map(noise(LARGEST + 400_000))
    assert raised.value.models == frozenset()


def test_what_is_no_sheet_is_told_apart(tmp_path: Path) -> None:
    assert sheet_of({"metadata": {}}) is None
    assert mounted_sheet(tmp_path) is None
    whole = base64.b64decode(table_map("x" * 300_000)["binaryData"][PACKED])
    for broken in (b"no gzip", whole[:-20]):
        with pytest.raises(UsageError, match=TABLE):
            sheet_of({"metadata": {}, "binaryData": {PACKED: base64.b64encode(broken).decode()}})
    assert made_from(sheet(position=9)) == FencingToken(term=2, position=9)
    assert made_from("{}") == made_from("no sheet") == FencingToken()


def test_a_lease_says_what_the_gateway_says_and_goes_with_its_pod() -> None:
    said = {"has": "a", "serves": "v", "in_flight": {"delays:2": 3}, "refused": True, "odd": 1}
    said |= {"refused_models": ["fraud"]}
    lease = gateway_lease("pod-a", "b-1", said, AT, owner=Owner(name="pod-a", uid="u1"))
    gateway = read_gateway_lease(lease)
    assert (gateway.beat, gateway.retired) == ("b-1", False)
    assert (gateway.report.has, gateway.report.serves, gateway.report.in_flight) == ("a", "v", {"delays:2": 3})
    assert (list(gateway.report.refused_models), gateway.report.refused) == (["fraud"], True)
    assert lease["metadata"]["ownerReferences"][0]["uid"] == "u1"
    assert lease["spec"]["renewTime"] == "2026-11-30T09:00:00.000000Z"
    assert read_gateway_lease(gateway_lease("pod-a", "b-2", {}, AT, retired=True)).retired


@pytest.mark.parametrize("text", ["", "[]", "{", '{"in_flight": {"a": -1}, "serves": 7, "beats": {"a": 1}}'])
def test_what_a_lease_says_in_another_form_is_not_said(text: str) -> None:
    annotations = {"sluicegate.dev/report": text, "sluicegate.dev/watching": text}
    assert read_gateway_lease({"metadata": {"annotations": annotations}}).report.serves is None
    assert not read_keeper_lease({"metadata": {"annotations": annotations}}).beats
    assert not read_keeper_lease({"metadata": {}}).beats


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class Rig:
    """The keeper's side over an API server in memory."""

    def __init__(self, server: ApiServer) -> None:
        server.tokens["control"] = Role.CONTROL
        self.server, self.clock = server, Clock()
        self.api = Api(server.access(), SPACE, limits=Limits(connect=0.5, whole=1.0))
        self.gateways = self.keeper("one")

    def keeper(self, name: str) -> ClusterGateways:
        return ClusterGateways(
            Api(self.server.access("control"), SPACE, limits=Limits(connect=0.5, whole=1.0)), keeper=name,
            unwatched=15.0, forgotten=22.0, refuse_older=refuse_older, wall=lambda: AT, elapsed=self.clock,
        )  # fmt: skip

    def leases(self, **beats: str) -> tuple[str, ...]:
        """The gateways' Leases are these now; those whose beat is `retired` ended in order."""
        return self.gateways.see(
            {
                name: {**gateway_lease(name, beat, {"serves": "v"}, AT, retired=beat == "retired")}
                for name, beat in beats.items()
            }
        )

    def names(self) -> list[str]:
        return [each.name for each in self.gateways.boxes()]

    def writes(self, kind: str) -> int:
        return sum(each.startswith("PATCH") and f"/{kind}/" in each for each in self.server.asked)

    def told(self) -> dict[str, str]:
        return dict(read_keeper_lease(self.api.get(LEASE, KEEPER)).beats)


@pytest.fixture
def rig() -> Iterator[Rig]:
    with ApiServer() as server:
        yield Rig(server)


def test_routes_are_written_when_they_change_and_not_for_each_gateway(rig: Rig) -> None:
    for text in (sheet(1000), sheet(1000), sheet(2000), sheet(2000)):
        for _ in range(10):
            assert rig.gateways.leave(text) == sheet_name(text)
    assert rig.writes("configmaps") == 2
    assert sheet_of(rig.api.get(CONFIG_MAP, TABLE)) == sheet(2000)


def test_a_map_that_somebody_deleted_or_labelled_is_written_again(rig: Rig) -> None:
    rig.gateways.leave(sheet(1000))
    rig.api.delete(CONFIG_MAP, TABLE)
    rig.clock.now += 31
    rig.gateways.leave(sheet(1000))
    assert sheet_of(rig.api.get(CONFIG_MAP, TABLE)) == sheet(1000)
    rig.api.apply(CONFIG_MAP, {"metadata": {"name": TABLE, "labels": {"team": "ml"}}}, manager="people")
    rig.gateways.leave(sheet(2000))
    there = rig.api.get(CONFIG_MAP, TABLE)
    assert (sheet_of(there), there["metadata"]["labels"]["team"]) == (sheet(2000), "ml")


@pytest.mark.parametrize(("term", "position"), [(2, 9), (1, 99)], ids=["knew less", "replaced"])
def test_a_keeper_that_was_replaced_does_not_write_over_what_its_successor_left(
    rig: Rig, term: int, position: int
) -> None:
    """It hung between looking at the ledger and writing."""
    rig.gateways.leave(sheet(1000, position=8))
    rig.keeper("two").leave(sheet(3000, term=2, position=10))
    with pytest.raises(Fenced, match="is older than the one"):
        rig.gateways.leave(sheet(9000, term=term, position=position))
    assert sheet_of(rig.api.get(CONFIG_MAP, TABLE)) == sheet(3000, term=2, position=10)


def test_routes_that_cannot_be_written_are_late_and_each_gateway_does_not_wait_in_turn(rig: Rig) -> None:
    rig.server.away()
    rig.clock.now += 1
    errors = []

    def leave() -> None:
        try:
            rig.gateways.leave(sheet())
        except TimedOut as error:
            errors.append(error)

    threads = [threading.Thread(target=leave) for _ in range(10)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert len(errors) == 10
    rig.server.back()
    rig.clock.now += 1
    rig.gateways.leave(sheet())
    assert sheet_of(rig.api.get(CONFIG_MAP, TABLE)) == sheet()


def test_what_a_lease_said_before_this_keeper_came_counts_for_nothing_until_the_gateway_speaks(rig: Rig) -> None:
    rig.leases(a="1")
    (box,) = rig.gateways.boxes()
    assert (box.silence(), box.report().serves) == (None, None)
    box.renew()
    rig.gateways.renew_lease()
    assert rig.writes("leases") == 0
    rig.leases(a="2")
    assert (box.silence(), box.report().serves) == (0.0, "v")
    rig.clock.now += 4
    rig.leases(a="2")
    assert box.silence() == 4.0


def test_all_gateways_hear_by_one_write_every_few_seconds_that_they_are_watched(rig: Rig) -> None:
    names = [f"pod-{number}" for number in range(10)]
    rig.leases(**dict.fromkeys(names, "0"))
    for second in range(31):
        rig.leases(**dict.fromkeys(names, f"{second + 1}"))
        for box in rig.gateways.boxes():
            box.renew()
        rig.gateways.renew_lease()
        rig.clock.now += 1
    assert rig.writes("leases") == 31 // RENEW_EVERY + 1
    assert rig.told().keys() == set(names)


def test_one_is_told_what_was_heard_when_the_keeper_looked_and_nothing_while_it_does_not_look(rig: Rig) -> None:
    rig.leases(a="0")
    rig.leases(a="1")
    (box,) = rig.gateways.boxes()
    box.renew()
    rig.leases(a="2")
    rig.gateways.renew_lease()
    assert rig.told() == {"a": "1"}, "2 came after its last look at the ledger"
    for beat in "3456":
        rig.clock.now += RENEW_EVERY
        rig.leases(a=beat)
        rig.gateways.renew_lease()
    assert (rig.told(), rig.writes("leases")) == ({"a": "1"}, 1)


def test_one_that_ended_in_order_is_forgotten_at_once_and_one_that_is_gone_when_its_switch_has_acted(rig: Rig) -> None:
    rig.leases(a="0", b="0", c="0")
    rig.leases(a="1", b="1", c="1")
    assert rig.leases(a="retired", b="2", c="2") == ("a",)
    assert rig.names() == ["b", "c"]
    rig.leases(c="3")
    rig.clock.now += 21
    assert rig.names() == ["b", "c"], "its node may be cut off: it may serve a candidate still"
    assert rig.gateways.lost() == ()
    rig.clock.now += 2
    rig.leases(c="4")
    assert rig.names() == ["c"]
    (said,) = rig.gateways.lost()
    assert said.serves == "v"
    assert rig.gateways.lost() == (said,), "nobody has seen to it"
    rig.gateways.forget(said)
    assert rig.gateways.lost() == ()


def test_doctor_and_console_read_which_gateways_serve_stable_builds_alone(rig: Rig) -> None:
    alone = {"stable_only": {"since": AT.isoformat(), "why": "no keeper was heard for 15 s"}}
    for name, said, retired in (("a", {}, False), ("b", alone, False), ("c", alone, True)):
        rig.api.apply(LEASE, gateway_lease(name, "1", said, AT, retired=retired))
    api = Api(rig.server.access("control"), SPACE)
    assert heard_in(api) == {"a": None, "b": Unwatched(gateway="b", since=AT, why="no keeper was heard for 15 s")}
    rig.server.away()
    assert heard_in(api) == {}


def test_the_keeper_deletes_the_lease_of_one_that_ended_in_order_and_has_no_right_that_it_does_not_use(
    rig: Rig,
) -> None:
    rig.gateways.leave(sheet())
    rig.leases(b="1")
    rig.leases(b="2")
    rig.gateways.note_watching("b")
    rig.gateways.renew_lease()
    rig.api.apply(LEASE, gateway_lease("a", "1", {}, AT, retired=True))
    stop = threading.Event()
    thread = threading.Thread(target=rig.gateways.hear, args=(cast("threading.Event", stop),), daemon=True)
    thread.start()
    until = threading.Event()
    for _ in range(500):
        if (
            len(rig.api.select(LEASE, {}).items) == 1
            and (Role.CONTROL, f"{LEASE.plural}.{LEASE.group}", Verb.WATCH) in rig.server.used
        ):
            break
        until.wait(0.01)
    stop.set()
    assert [each["metadata"]["name"] for each in rig.api.select(LEASE, {}).items] == [KEEPER]
    assert rig.server.used == {
        (Role.CONTROL, f"{kind.plural}.{kind.group}".rstrip("."), verb)
        for kind in (CONFIG_MAP, LEASE)
        for verb in RIGHTS[Role.CONTROL][kind]
    }
