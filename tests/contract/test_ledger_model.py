"""A Hypothesis state machine: SQLite, reopened at will, against the ledger in memory."""

from __future__ import annotations

import tempfile
from pathlib import Path

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from sluicegate.registry.ledger.port import Ledger
from sluicegate.registry.ledger.record import Lease
from sluicegate.registry.ledger.sql import SqlLedger
from sluicegate.registry.rollout.facts import FACTS, Requested
from sluicegate.registry.words.errors import SluiceError
from tests.contract.ledgers import at, look, requested
from tests.doubles.ledger import MemoryLedger
from tests.unit.rollouts import example_fact, fold

IDS = st.sampled_from(["r1", "r2", "r3", "r4"])


class LedgerMachine(RuleBasedStateMachine):
    """What the one in memory answers, the one on disk answers too: value or error."""

    def __init__(self) -> None:
        super().__init__()
        self._home = tempfile.TemporaryDirectory(prefix="sluice-ledger-")
        self._url = f"sqlite:///{Path(self._home.name) / 'ledger.db'}"
        self._clock = 0

    @initialize()
    def start(self) -> None:
        self.model = MemoryLedger()
        self.disk = SqlLedger(self._url)
        self.reader = SqlLedger(self._url)

    def teardown(self) -> None:
        self.disk.close()
        self.reader.close()
        self._home.cleanup()

    def both(self, method: str, *arguments: object) -> None:
        """Ask both ledgers the same and compare what comes of it."""
        self._clock += 1
        assert _outcome(self.disk, method, *arguments) == _outcome(self.model, method, *arguments)

    @rule(rollout=IDS, variation=st.sampled_from(["default", "b"]))
    def open(self, rollout: str, variation: str) -> None:
        self.both("open", rollout, requested(variation=variation), at(self._clock))

    @rule(rollout=IDS, name=st.sampled_from(sorted(FACTS)), off=st.sampled_from([0, 0, 0, 0, -1, 1]))
    def append(self, rollout: str, name: str, off: int) -> None:
        try:
            state = self.model.rollout(rollout)
        except SluiceError:
            return
        fact = requested() if FACTS[name] is Requested else example_fact(FACTS[name], state)
        self.both("append", rollout, state.seq + 1 + off, fact, at(self._clock))

    @rule(rollout=IDS, k=st.integers(1, 3), information=st.floats(0, 1))
    def record_look(self, rollout: str, k: int, information: float) -> None:
        self.both("record_look", look(k, rollout=rollout, information=information))

    @rule(rollout=IDS, owner=st.sampled_from(["a", "b"]), seconds=st.integers(0, 5))
    def take_lease(self, rollout: str, owner: str, seconds: int) -> None:
        lease = Lease(rollout=rollout, owner=owner, expires_at=at(self._clock + seconds))
        self.both("take_lease", lease, at(self._clock))

    @rule(rollout=IDS, owner=st.sampled_from(["a", "b"]))
    def drop_lease(self, rollout: str, owner: str) -> None:
        self.both("drop_lease", rollout, owner)

    @rule(rollout=IDS)
    def read_one(self, rollout: str) -> None:
        self.both("rollout", rollout)
        self.both("entries", rollout)
        self.both("looks", rollout)

    @rule()
    def reopen(self) -> None:
        self.disk.close()
        self.disk = SqlLedger(self._url)

    @invariant()
    def all_read_the_same(self) -> None:
        states = self.model.rollouts()
        assert self.disk.rollouts() == self.reader.rollouts() == states
        assert self.disk.leases() == self.model.leases()
        assert self.disk.position() == self.model.position()
        for state in states:
            assert fold(self.reader.entries(state.id)) == state
        held = [state.target for state in states if state.holds_target]
        assert len(held) == len(set(held))


def _outcome(ledger: Ledger, method: str, *arguments: object) -> object:
    try:
        return getattr(ledger, method)(*arguments)
    except SluiceError as error:
        return type(error), str(error)


LedgerMachine.TestCase.settings = settings(max_examples=10, stateful_step_count=30)
TestLedgerAgainstModel = LedgerMachine.TestCase
