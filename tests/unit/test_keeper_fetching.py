"""The keeper and a shared store: bentos come beside its looks, and a store that fails or lies ends no service."""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field

from sluicegate.registry.ledger.keeper_notes import reached
from sluicegate.registry.rollout.facts import Packed
from sluicegate.registry.rollout.rollout import Ending, Phase
from sluicegate.registry.words.errors import PackFailed, StoreUnavailable
from sluicegate.registry.words.launching import Stage
from sluicegate.services.keeper.fetching import AGAIN_SECONDS, AT_ONCE, REFUSED_SECONDS, Fetching
from sluicegate.services.keeper.fleet_pass import LAUNCH_SECONDS
from tests.doubles.one_each import OneEach
from tests.unit.test_keeper import PLAN, V1, V2, WHO, Inline, Town, World, orders


@dataclass
class Elsewhere(Town):
    """Services whose bentos another machine packed."""

    absent: set[str] = field(default_factory=lambda: {"m:2"})
    failure: Exception | None = None
    fetched: list[str] = field(default_factory=list)

    def lacks(self, packed: Packed) -> bool:
        return packed.bento in self.absent

    def fetch(self, packed: Packed) -> None:
        self.fetched.append(packed.bento)
        if self.failure is not None:
            raise self.failure
        self.absent.discard(packed.bento)


class Later(ThreadPoolExecutor):
    """Does what it is given when it is told to."""

    def __init__(self) -> None:
        super().__init__(1)
        self.given: list[tuple[Future[object], object]] = []

    def submit(self, fn, /, *args, **kwargs):  # type: ignore[no-untyped-def,override]
        future: Future[object] = Future()
        self.given.append((future, lambda: fn(*args, **kwargs)))
        return future

    def work(self) -> None:
        for future, act in self.given:
            try:
                future.set_result(act())  # type: ignore[operator]
            except Exception as error:
                future.set_exception(error)
        self.given = []


class Site(World):
    """A world in which the candidate was packed elsewhere."""

    def __init__(self) -> None:
        super().__init__()
        self.elsewhere = Elsewhere()
        self.town = self.elsewhere
        self.restarted()
        self.serving()
        self.name = orders.start(self.ledger, plan=PLAN, version="2", request=WHO, now=self.now).rollout.id
        self.pack(self.name)


def test_a_bento_comes_before_its_service_is_started() -> None:
    site = Site()
    site.look(5)
    assert site.elsewhere.fetched == ["m:2"]
    assert site.ledger.rollout(site.name).ready


def test_looks_go_on_while_a_bento_comes_and_its_time_to_start_begins_afterwards() -> None:
    site = Site()
    slow = Later()
    site.keeper.fleet._fetching.pool = slow
    site.look(LAUNCH_SECONDS + 10)
    assert site.ledger.rollout(site.name).phase is Phase.LAUNCHING
    assert reached(site.ledger, site.name)[-1].stage is Stage.GETTING
    assert V1 in site.town.up
    slow.work()
    site.look(4)
    assert site.ledger.rollout(site.name).ready
    assert site.elsewhere.fetched == ["m:2"]


def test_a_store_that_does_not_answer_is_asked_again_and_fails_the_candidate_in_the_end() -> None:
    site = Site()
    site.elsewhere.failure = StoreUnavailable("the bento store s3://models cannot be used: no answer.")
    site.look(AGAIN_SECONDS * 3)
    assert 2 <= len(site.elsewhere.fetched) <= 4
    assert site.ledger.rollout(site.name).phase is Phase.LAUNCHING
    site.look(LAUNCH_SECONDS)
    failed = site.ledger.rollout(site.name)
    assert (failed.ending, "s3://models cannot be used" in failed.reason) == (Ending.FAILED, True)
    assert V1 in site.town.up


def test_a_store_that_answers_again_is_enough() -> None:
    site = Site()
    site.elsewhere.failure = StoreUnavailable("no answer")
    site.look(LAUNCH_SECONDS - 20)
    site.elsewhere.failure = None
    site.look(AGAIN_SECONDS + 5)
    assert site.ledger.rollout(site.name).ready


def test_an_altered_bento_fails_the_candidate_at_once_and_says_why() -> None:
    site = Site()
    site.elsewhere.failure = PackFailed("it is not what was packed", fix="delete it there")
    site.look(4)
    failed = site.ledger.rollout(site.name)
    assert (failed.ending, failed.reason) == (Ending.FAILED, "serve: it is not what was packed Fix: delete it there")
    assert V2 not in site.town.up


def test_a_stable_that_is_lost_here_is_fetched_whatever_the_store_says_first() -> None:
    site = Site()
    site.look(5)
    site.elsewhere.absent.add("m:1")
    site.elsewhere.failure = PackFailed("it is not what was packed")
    del site.town.up[V1]
    site.look(REFUSED_SECONDS - 5)
    assert site.elsewhere.fetched.count("m:1") == 1, "another download would find the same"
    site.elsewhere.failure = None
    site.look(10)
    assert V1 in site.town.up


def test_only_so_many_bentos_come_at_once() -> None:
    slow, services = Later(), Both()
    fetching = Fetching(pool=slow, elapsed=lambda: 0.0)
    every = [Packed(bento=f"m:{number}", bento_digest="b", model_digest="d") for number in range(AT_ONCE + 2)]
    assert not any(fetching.is_here(each, services) for each in every)
    assert len(slow.given) == AT_ONCE
    slow.work()
    assert [fetching.is_here(each, services) for each in every] == [True] * AT_ONCE + [False] * 2
    assert len(slow.given) == 2


class Both(OneEach):
    """Services that lack every bento, and get each."""

    def lacks(self, packed: Packed) -> bool:
        return True

    def fetch(self, packed: Packed) -> None:
        """It comes."""


def test_looks_go_on_while_a_bento_is_read_before_its_start_which_is_not_doubled() -> None:
    """Of several gigabytes: whoever is to be stopped, probed or started meanwhile is."""
    site = Site()
    site.elsewhere.absent.clear()
    slow = Later()
    site.keeper.fleet.pool = slow
    site.look(LAUNCH_SECONDS + 10)
    assert V2 not in site.elsewhere.up
    starts = [act for _, act in slow.given]
    assert len(starts) == 1, "one start, and no probe of what does not run"
    assert site.ledger.rollout(site.name).phase is Phase.LAUNCHING, "the time of a launch has not begun"
    slow.work()
    site.keeper.fleet.pool = Inline()
    site.look(4)
    assert site.ledger.rollout(site.name).ready
    assert site.elsewhere.starts.count(V2) == 1
