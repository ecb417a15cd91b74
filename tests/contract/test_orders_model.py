"""A Hypothesis state machine: orders from several doors at once, sent twice, late, and cut off, on every adapter."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from sqlalchemy import create_engine, text

from sluicegate.registry.ledger.port import Ledger
from sluicegate.registry.ledger.record import Changes, Receipt, Record
from sluicegate.registry.ledger.sql import SqlLedger
from sluicegate.registry.orders.decide import decide
from sluicegate.registry.orders.give import give
from sluicegate.registry.orders.order import (
    Abort,
    Act,
    Approve,
    Deploy,
    Order,
    Pause,
    Promote,
    Resume,
    Retry,
    RollBack,
    SeenRollout,
    Start,
    Undeploy,
)
from sluicegate.registry.plan.plan import Plan
from sluicegate.registry.rollout.facts import Packed, Party, Promoted, Ready, StepEntered, Superseded
from sluicegate.registry.rollout.rollout import Phase
from sluicegate.registry.words.errors import SluiceError
from sluicegate.registry.words.roles import Role
from tests import giving
from tests.doubles.ledger import MemoryLedger
from tests.unit.rollouts import fold

START = datetime(2026, 1, 1, tzinfo=UTC)
STEPS = [{"weight": 10}, {"weight": 50}]
PLANS = [
    Plan.model_validate({"model": "m", "steps": STEPS, "variation": variation, "on_newer": newer})
    for variation in ("default", "b")
    for newer in ("queue", "supersede", "refuse")
]
STEERING = [Pause, Resume, Promote, Abort, Retry]
VERSIONS = st.sampled_from(["1", "2", "3", "4"])
KEYS = st.none() | st.sampled_from(["k1", "k2", "k3"])
DOORS = st.sampled_from(["cli", "console", "prefect"])


class OrdersMachine(RuleBasedStateMachine):
    """Two handles on one ledger, as two processes have them."""

    handles: Callable[[], list[Ledger]] = staticmethod(lambda: [ledger := MemoryLedger(), ledger])

    @initialize()
    def open(self) -> None:
        self.ledgers = type(self).handles()
        self.now = START
        self.last: tuple[Order, Receipt] | None = None
        self.ends = 0
        first = giving.deploy(self.ledger, plan=PLANS[0], version="1", request=giving.Giver(), now=START).rollout.id
        for _ in range(3):
            self._next_fact(first)
        second = giving.start(self.ledger, plan=PLANS[0], version="2", request=giving.Giver(), now=START).rollout.id
        for _ in range(3):
            self._next_fact(second)

    def teardown(self) -> None:
        for ledger in getattr(self, "ledgers", ()):
            if isinstance(ledger, SqlLedger):
                ledger.close()

    @property
    def ledger(self) -> Ledger:
        return self.ledgers[0]

    def give(self, order: Order, handle: int = 0) -> Receipt | None:
        """Give an order; a refused one leaves no trace."""
        self.now += timedelta(seconds=1)
        before = (self.ledger.feed_end(), self.ledger.position())
        try:
            receipt = give(self.ledgers[handle], order, self.now)
        except SluiceError:
            assert (self.ledger.feed_end(), self.ledger.position()) == before, order
            return None
        if not receipt.changed or receipt.repeated:
            assert self.ledger.feed_end() == before[0], order
        if order.key is not None:
            self.last = (order, receipt)
        return receipt

    @rule(plan=st.sampled_from(PLANS), version=VERSIONS, key=KEYS, door=DOORS, first=st.booleans())
    def make(self, plan: Plan, version: str, key: str | None, door: str, *, first: bool) -> None:
        target = {"model": "m", "variation": plan.variation, "version": version, "plan": plan}
        act: Act = Deploy(**target) if first else Start(**target)  # type: ignore[arg-type]
        self.give(Order(act=act, actor=door, role=Role.ADMIN, cause=door, key=key))

    @rule(data=st.data(), kind=st.sampled_from(STEERING), key=KEYS, door=DOORS, handle=st.sampled_from([0, 1]))
    def steer(self, data: st.DataObject, kind: type[Pause], key: str | None, door: str, handle: int) -> None:
        name = data.draw(st.sampled_from(["m", *(each.id for each in self.ledger.rollouts())]))
        seen = None
        if name != "m" and data.draw(st.booleans()):
            off = data.draw(st.sampled_from([0, 0, -1]))
            seen = SeenRollout(rollout=name, seq=self.ledger.rollout(name).seq + off)
        receipt = self.give(
            Order(act=kind(rollout=name), actor=door, role=Role.ADMIN, cause=door, key=key, seen=seen), handle
        )
        if receipt is not None and seen is not None and receipt.changed and not receipt.repeated:
            assert self.ledger.rollout(name).seq >= seen.seq

    @rule(data=st.data(), step=st.sampled_from([0, 1]))
    def approve(self, data: st.DataObject, step: int) -> None:
        name = data.draw(st.sampled_from(["m", *(each.id for each in self.ledger.rollouts())]))
        self.give(Order(act=Approve(rollout=name, step=step), actor="ada", cause="cli", role=Role.ADMIN))

    @rule(variation=st.sampled_from(["default", "b"]), back=st.booleans())
    def go_back_or_empty(self, variation: str, *, back: bool) -> None:
        act: Act = RollBack(model="m", variation=variation) if back else Undeploy(model="m", variation=variation)
        self.give(Order(act=act, actor="ada", cause="cli", role=Role.ADMIN))

    @precondition(lambda self: self.last is not None)
    @rule(handle=st.sampled_from([0, 1]))
    def send_again(self, handle: int) -> None:
        """The same order with the same key, wherever it arrives, changes nothing and gets the first receipt."""
        assert self.last is not None
        order, receipt = self.last
        before = self.ledger.feed_end()
        assert give(self.ledgers[handle], order, self.now) == replace(receipt, repeated=True)
        assert self.ledger.feed_end() == before

    @rule(data=st.data(), key=KEYS)
    def cut_off(self, data: st.DataObject, key: str | None) -> None:
        """The process dies after the order was decided and before it is recorded."""
        name = data.draw(st.sampled_from(["m", *(each.id for each in self.ledger.rollouts())]))
        order = Order(act=Abort(rollout=name), actor="dying", cause="cli", role=Role.ADMIN, key=key)

        def decided_then_dead(record: Record) -> Changes:
            decide(record, order, self.now)
            raise OSError("died")

        before = self.ledger.feed_end()
        with pytest.raises((OSError, SluiceError)):
            self.ledger.commit(decided_then_dead, None if key is None else order.known_by(self.now))
        assert self.ledger.feed_end() == before

    @rule(data=st.data(), kinds=st.tuples(st.sampled_from(STEERING), st.sampled_from(STEERING)))
    def two_at_once(self, data: st.DataObject, kinds: tuple[type[Pause], type[Pause]]) -> None:
        name = data.draw(st.sampled_from(["m", *(each.id for each in self.ledger.rollouts())]))
        orders = [
            Order(act=kind(rollout=name), actor=f"p{n}", cause="cli", role=Role.ADMIN) for n, kind in enumerate(kinds)
        ]

        def one(pair: tuple[Ledger, Order]) -> None:
            try:
                give(pair[0], pair[1], self.now)
            except SluiceError:
                return

        with ThreadPoolExecutor(2) as pool:
            list(pool.map(one, zip(self.ledgers, orders, strict=True)))

    @rule(data=st.data())
    def go_on_too(self, data: st.DataObject) -> None:
        """As often again: what follows from orders is what they meet."""
        self.go_on(data)

    @rule(data=st.data())
    def go_on(self, data: st.DataObject) -> None:
        """What driver and keeper do next with some rollouts."""
        waiting = [each for each in self.ledger.rollouts() if not each.is_ended]
        if not waiting:
            return
        for _ in range(data.draw(st.integers(2, 6))):
            self._next_fact(data.draw(st.sampled_from([each.id for each in waiting])))

    def _next_fact(self, name: str) -> None:
        rollout = self.ledger.rollout(name)
        if rollout.phase is Phase.QUEUED:
            giving.begin(self.ledger, rollout, self.now)
        elif rollout.phase is Phase.LAUNCHING and rollout.packed is None:
            giving.append(self.ledger, rollout.id, lambda _: _PACKED, self.now)
        elif rollout.phase is Phase.LAUNCHING and not rollout.ready:
            giving.append(self.ledger, rollout.id, lambda _: Ready(version="v"), self.now)
        elif rollout.phase is Phase.LAUNCHING and not rollout.is_judged:
            giving.complete(self.ledger, rollout.id, self.now)
        elif rollout.phase in (Phase.LAUNCHING, Phase.RUNNING) and rollout.step + 1 < len(rollout.plan.steps):
            step = rollout.step + 1
            weight = rollout.plan.steps[step].weight
            fact = StepEntered(step=step, weight=weight, actor="policy", party=Party.POLICY, reason="next")
            giving.append(self.ledger, rollout.id, lambda _: fact, self.now)

    @invariant()
    def is_sound(self) -> None:
        if not hasattr(self, "ledgers"):
            return
        rollouts = self.ledger.rollouts()
        holders = [each.target for each in rollouts if each.holds_target]
        assert len(holders) == len(set(holders)), "one rollout holds a target"
        assert self.ledger.feed_end() >= self.ends, "nothing is taken away"
        self.ends = self.ledger.feed_end()
        names = {each.id for each in rollouts}
        for rollout in rollouts:
            entries = self.ledger.entries(rollout.id)
            assert fold(entries) == rollout
            for entry in entries:
                match entry.fact:
                    case Superseded(by=by):
                        assert by in names, "no rollout is superseded by one that does not exist"
                    case Promoted(override=True, party=party, actor=actor):
                        assert actor
                        assert party is Party.PERSON
                    case _:
                        continue


_PACKED = Packed(bento="b", bento_digest="b", model_digest="m")
FEW = settings(
    max_examples=60, stateful_step_count=50, deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)  # fmt: skip


def test_orders_in_memory() -> None:
    run_state_machine_as_test(OrdersMachine, settings=FEW)


@pytest.mark.timeout(300)
def test_orders_on_sqlite(memory: Path) -> None:
    def handles() -> list[Ledger]:
        url = f"sqlite:///{tempfile.mkdtemp(dir=memory)}/ledger.db"
        return [SqlLedger(url), SqlLedger(url)]

    machine = type("SqliteOrders", (OrdersMachine,), {"handles": staticmethod(handles)})
    run_state_machine_as_test(machine, settings=settings(FEW, max_examples=4, stateful_step_count=20))


@pytest.mark.postgres
@pytest.mark.timeout(300)
def test_orders_on_postgresql(postgres: str) -> None:
    admin = create_engine(postgres.replace("postgresql://", "postgresql+psycopg://"), isolation_level="AUTOCOMMIT")

    def handles() -> list[Ledger]:
        name = f"orders_{os.getpid()}_{os.urandom(4).hex()}"
        with admin.connect() as connection:
            connection.execute(text(f"CREATE DATABASE {name}"))
        url = admin.url.set(database=name, drivername="postgresql").render_as_string(hide_password=False)
        return [SqlLedger(url), SqlLedger(url)]

    machine = type("PostgresOrders", (OrdersMachine,), {"handles": staticmethod(handles)})
    try:
        run_state_machine_as_test(machine, settings=settings(FEW, max_examples=2, stateful_step_count=20))
    finally:
        admin.dispose()
