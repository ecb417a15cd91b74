"""Leadership: a keeper acts while its lease holds, stands by while another leads, and ends once it was replaced."""

from __future__ import annotations

import subprocess
import sys
from datetime import datetime, timedelta

import pytest

from sluicegate.flows.wiring import keeper_names
from sluicegate.registry.words.build import BuildRef, Endpoint
from sluicegate.registry.words.errors import NotLeading, Unreachable
from sluicegate.services.keeper.leadership import LASTS, RENEWED, Leadership
from tests.doubles.ledger import MemoryLedger
from tests.unit.test_keeper import START, V1, V2, World


class Hosts:
    """Two keepers of one ledger. Time passes for all of them, and whoever is stopped does not look."""

    def __init__(self) -> None:
        self.ledger, self.seconds = MemoryLedger(), 100.0
        self.gone: set[str] = set()
        self.one, self.other = self.keeper("one"), self.keeper("other")

    def keeper(self, name: str) -> Leadership:
        return Leadership(
            self.ledger, name, clock=self.now, elapsed=lambda: self.seconds, is_gone=self.gone.__contains__
        )

    def now(self) -> datetime:
        return START + timedelta(seconds=self.seconds)

    def passes(self, seconds: int, *who: Leadership) -> list[bool]:
        """Every second each of these looks; what the last looks said."""
        said = [True]
        for _ in range(seconds):
            self.seconds += 1
            said = [each.look() for each in who]
        return said


def test_one_leads_for_as_long_as_it_looks_and_the_other_stands_by() -> None:
    hosts = Hosts()
    for _ in range(60):
        assert hosts.passes(1, hosts.one, hosts.other) == [True, True]
        assert (hosts.one.leads(), hosts.other.leads()) == (True, False)
    assert (hosts.one.term, hosts.other.term) == (1, 0)


def test_who_is_stopped_is_replaced_and_does_not_act_once_it_wakes() -> None:
    hosts = Hosts()
    hosts.passes(5, hosts.one, hosts.other)
    lasts = int(LASTS.total_seconds())
    hosts.passes(lasts + 1, hosts.other)
    assert (hosts.one.leads(), hosts.other.leads(), hosts.other.term) == (False, True, 2)
    with pytest.raises(NotLeading, match="sluice status"):
        hosts.one.check()
    assert not hosts.one.look(), "its process ends"
    assert not hosts.one.leads()
    hosts.passes(1, hosts.other)
    assert hosts.other.leads()


def test_never_do_two_lead_at_once_whoever_is_stopped_for_however_long() -> None:
    """Every pattern of looks of two keepers, second by second; one that was replaced is started again."""
    for pattern in range(3**7):
        hosts = Hosts()
        keepers = {"one": hosts.one, "other": hosts.other}
        for step in range(7):
            kind = pattern // 3**step % 3
            for name in ([], ["one"], ["other"])[kind] or ["one", "other"]:
                if not keepers[name].look():
                    keepers[name] = hosts.keeper(f"{name}{step}")
            hosts.seconds += (1, 4, 8)[kind]
            assert not (keepers["one"].leads() and keepers["other"].leads()), (pattern, step)


def test_one_that_was_replaced_unseen_ends_too() -> None:
    """The successor has gone again before the first one wakes: what it remembers is old all the same."""
    hosts = Hosts()
    hosts.passes(5, hosts.one)
    hosts.passes(12, hosts.other)
    assert hosts.other.leads()
    hosts.passes(30)
    assert not hosts.one.look()
    assert not hosts.one.leads()
    assert hosts.passes(1, third := hosts.keeper("third")) == [True]
    assert third.leads()


def test_without_the_ledger_it_stops_acting_in_time_and_goes_on_in_its_term(monkeypatch: pytest.MonkeyPatch) -> None:
    hosts = Hosts()
    hosts.passes(5, hosts.one)

    def away(*_: object) -> None:
        raise Unreachable("the ledger cannot be used")

    with monkeypatch.context() as patch:
        patch.setattr(hosts.ledger, "stand", away)
        assert hosts.passes(int(LASTS.total_seconds() - RENEWED), hosts.one) == [True]
        assert hosts.one.leads()
        assert hosts.passes(int(RENEWED) + 1, hosts.one) == [True]
        assert not hosts.one.leads()
    assert hosts.passes(1, hosts.one) == [True]
    assert (hosts.one.leads(), hosts.one.term) == (True, 1)


def test_a_keeper_that_ended_is_followed_at_once_where_that_can_be_seen() -> None:
    hosts = Hosts()
    hosts.passes(2, hosts.one, hosts.other)
    hosts.gone.add("one")
    hosts.passes(1, hosts.other)
    assert hosts.other.leads()
    hosts.other.resign()
    assert not hosts.other.leads()
    hosts.passes(1, third := hosts.keeper("third"))
    assert third.leads()


def test_whether_a_keeper_of_this_machine_has_ended_is_told_by_its_process() -> None:
    assert not keeper_names.is_gone(keeper_names.own_name())
    command = "from sluicegate.flows.wiring.keeper_names import own_name; print(own_name(), flush=True); input()"
    process = subprocess.Popen([sys.executable, "-c", command], stdin=-1, stdout=-1, text=True)
    name = process.stdout.readline().strip()
    assert not keeper_names.is_gone(name)
    process.kill()
    process.stdout.read()
    process.poll()
    process.wait()
    assert keeper_names.is_gone(name)
    machine, _, rest = name.rpartition(":")
    assert not keeper_names.is_gone(f"elsewhere-{machine}:{rest}")
    assert not keeper_names.is_gone("another form")


V9 = BuildRef(model="m", version="9")
NEEDED = {
    "start": lambda town: town.up.pop(V2),
    "retire": lambda town: setattr(town, "running", lambda: {V1: 2, V2: 1}),
    "dismiss": lambda town: setattr(town, "leaving", lambda: frozenset({V1})),
    "mend": lambda town: town.given_up.add(V1),
    "stop": lambda town: town.up.update({V9: (Endpoint(build=V9, host="127.0.0.1", port=9),)}),
}
"""What makes each change of services necessary."""


@pytest.mark.parametrize("change", NEEDED)
def test_services_of_a_keeper_that_does_not_lead_stay_as_they_are_and_no_rollout_fails_for_it(change: str) -> None:
    world = World().serving()
    name = world.ramping()
    changes: list[str] = []

    def refuse() -> None:
        raise NotLeading("its lease has ended")

    setattr(world.town, change, lambda *_: changes.append(change))
    NEEDED[change](world.town)
    before = world.ledger.rollout(name)
    world.keeper.fleet.check = refuse
    world.look(10)
    assert (changes, world.ledger.rollout(name).phase) == ([], before.phase)
    world.keeper.fleet.check = lambda: None
    world.look(40)
    assert changes
