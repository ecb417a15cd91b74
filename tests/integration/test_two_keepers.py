"""Two real keepers of one ledger and one Envoy, under load: one acts at a time, whoever is stopped or killed."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import psutil
import pytest

from sluicegate.registry.ledger.sql import SqlLedger
from sluicegate.registry.words.fencing import FencingToken
from tests.integration.stack_rig import MODEL, Load, Stack, serving_stack

pytestmark = [pytest.mark.slow, pytest.mark.chaos, pytest.mark.timeout(900)]
KEEPER = [sys.executable, "-m", "sluicegate.flows.wiring.processes", "keeper"]
PATIENCE = 120


@pytest.fixture(scope="module")
def stack() -> Iterator[Stack]:
    with serving_stack() as running:
        yield running


class Fences:
    """Every token that the gateway was seen to hold, in order."""

    def __init__(self, state: Path) -> None:
        self.file, self.seen, self._stop = state / "envoy" / "fence.json", list[FencingToken](), threading.Event()

    @contextmanager
    def watched(self) -> Iterator[Fences]:
        thread = threading.Thread(target=self._watch, daemon=True)
        thread.start()
        try:
            yield self
        finally:
            self._stop.set()
            thread.join()

    def _watch(self) -> None:
        while not self._stop.wait(0.01):
            token = FencingToken(**json.loads(self.file.read_text()))
            if not self.seen or token != self.seen[-1]:
                self.seen.append(token)

    @property
    def went_back(self) -> list[tuple[FencingToken, FencingToken]]:
        return [(one, next_) for one, next_ in zip(self.seen, self.seen[1:], strict=False) if next_.is_older_than(one)]


def first(stack: Stack) -> int:
    """The keeper's pid; 0 while it is started again."""
    programs = stack.ask("status", code=None)["programs"]
    return next(int(each["pid"] or 0) for each in programs if each["name"] == "keeper")


@contextmanager
def second_keeper(beside: int) -> Iterator[subprocess.Popen[bytes]]:
    """With the environment of the first, but none of its supervisor's programs."""
    environment = psutil.Process(beside).environ()
    own = {name: value for name, value in environment.items() if name not in ("SLUICE_STATE_TOKEN", "SLUICE_PROGRAM")}
    process = subprocess.Popen(KEEPER, env=own, stdout=subprocess.DEVNULL)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def pid_of(keeper: str) -> int:
    return int(keeper.rpartition(":")[2].partition(".")[0])


def leads(ledger: SqlLedger) -> int | None:
    known = ledger.keepers(datetime.now(UTC))
    return pid_of(known[0].keeper) if known and known[0].until is not None else None


def stand_by(ledger: SqlLedger) -> set[int]:
    return {pid_of(each.keeper) for each in ledger.keepers(datetime.now(UTC)) if not each.term}


def until(what, *, seconds: float = PATIENCE) -> float:
    began = time.monotonic()
    while not what():
        assert time.monotonic() - began < seconds, "it did not happen in time"
        time.sleep(0.05)
    return time.monotonic() - began


def aborted(stack: Stack) -> None:
    """A rollout gets its weight and is aborted; both come into force."""
    name = str(stack.ask("rollout", "start", MODEL, "--build", stack.register())["id"])
    stack.until(name, lambda view: view["weight"] == 20 and view["observed"])
    stack.run("rollout", "abort", name, "--reason", "enough")
    stack.until(name, lambda view: view["settled"] and view["observed"])


def test_one_acts_at_a_time_whoever_is_stopped_or_killed(stack: Stack) -> None:
    ledger, one = SqlLedger(f"sqlite:///{stack.state / 'ledger.db'}"), first(stack)
    load = Load(stack.urls()["gateway"])
    with second_keeper(one) as process, Fences(stack.state).watched() as fences, load.running(threads=2):
        until(lambda: process.pid in stand_by(ledger))
        assert leads(ledger) == one
        finding = next(each for each in stack.ask("doctor", code=None) if each["check"] == "keepers")
        assert finding["found"].startswith(f"process {one} on ")
        assert f"process {process.pid} on" in finding["found"]

        psutil.Process(one).suspend()
        took = until(lambda: leads(ledger) == process.pid)
        aborted(stack)
        psutil.Process(one).resume()
        until(lambda: not psutil.pid_exists(one) or psutil.Process(one).status() == psutil.STATUS_ZOMBIE)
        until(lambda: first(stack) in stand_by(ledger) - {one})
        assert leads(ledger) == process.pid
        aborted(stack)

        process.kill()
        process.wait()
        followed = until(lambda: leads(ledger) == first(stack))
        aborted(stack)
    print(f"\nstopped: replaced after {took:.1f} s; killed: after {followed:.1f} s; {load.sent} requests, "
          f"{load.failed} failed; tokens {len(fences.seen)}")  # fmt: skip
    assert fences.went_back == []
    assert [token.term for token in fences.seen] == sorted(token.term for token in fences.seen)
    assert len({token.term for token in fences.seen}) == 3
    assert (load.failed, load.errors) == (0, [])
