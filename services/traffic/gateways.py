"""Gateways: several data planes as one. What any of them may still do to callers, the whole is taken to do.

Each gateway is asked in a thread of its own, so one that hangs holds up none of the others: they get an abort at once.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from threading import Lock
from typing import Any, Protocol

from sluicegate.registry.words.build import BuildRef, Endpoints
from sluicegate.registry.words.errors import Fenced, RoutesRejected, SluiceError, TimedOut, Unreachable
from sluicegate.registry.words.gateways import Confirmation, GatewayState
from sluicegate.services.traffic.port import DataPlane
from sluicegate.services.traffic.table import RouteTable

PATIENCE = 1.0
"""Seconds that others are waited for once the first gateway has answered, and after which one counts as silent."""
_HANGS = 5
"""So many times as long may a gateway take routes before it counts as hung, and its switch is left to act."""
_NOT_ASKED = "not checked yet"


class Gateway(DataPlane, Protocol):
    """A data plane among several."""

    def is_away(self) -> bool:
        """Whether nothing runs there. It then serves nobody, and starts with what was published last."""
        ...


@dataclass
class _Line:
    """One gateway, and what is known of it."""

    name: str
    gateway: Gateway
    pool: ThreadPoolExecutor
    owed: list[tuple[float, Future[Any]]] = field(default_factory=list)
    """Answers that have not come, each with the time of its question."""
    given: str | None = None
    """The version that it is to serve, whether or not it could be asked yet."""
    stands: str | None = None
    """The version that its files hold."""
    serves: str | None = None
    """The version that it said it serves, when it was asked last."""
    is_away: bool = False
    error: SluiceError | OSError | None = None
    """Why it did not take what it was given."""

    def give(self, table: RouteTable, endpoints: Endpoints) -> None:
        """Have it serve a table; what came of it."""
        self.error = None
        try:
            self.gateway.apply(table, endpoints)
            self.stands = table.version
        except Unreachable as error:
            self.error, self.stands = error, table.version
            self.serves, self.is_away = None, self.gateway.is_away()
            return
        except RoutesRejected as error:
            self.error, self.stands = error, error.serving or self.stands
        except (SluiceError, OSError) as error:
            self.error = error
        self.look()

    def look(self) -> None:
        """See what it serves."""
        self.serves = self.gateway.observe()
        self.is_away = self.serves is None and self.gateway.is_away()

    def count(self, build: BuildRef) -> int | None:
        """Requests under way to a build; none where nothing runs."""
        found = self.gateway.in_flight(build)
        return 0 if found is None and self.gateway.is_away() else found

    def silent_for(self, now: float) -> float:
        """Seconds for which it has owed an answer."""
        self.owed = [(at, answer) for at, answer in self.owed if not answer.done()]
        return now - self.owed[0][0] if self.owed else 0.0

    def confirmation(self, silent: bool) -> tuple[Confirmation, str]:
        """How it stands to what it was given, and why."""
        is_quiet = self.serves is None and not self.is_away
        if silent or (is_quiet and self.given is not None):
            return Confirmation.SILENT, "it accepts connections but does not answer"
        if self.given is None:
            return Confirmation.LATE, _NOT_ASKED
        if self.is_away and self.stands == self.given:
            return Confirmation.AWAY, "it does not run, or is cut off"
        if isinstance(self.error, RoutesRejected):
            return Confirmation.REFUSED, self.error.message
        if self.serves is not None and self.serves == self.given:
            return Confirmation.CONFIRMED, ""
        return Confirmation.LATE, str(self.error or "it serves other routes")


class Gateways:
    """A DataPlane over several gateways. A single one is asked in the caller's thread, as if alone."""

    def __init__(
        self, planes: Mapping[str, Gateway], clock: Callable[[], datetime], *,
        patience: float = PATIENCE, elapsed: Callable[[], float] = time.monotonic,
    ) -> None:  # fmt: skip
        """`clock` tells since when a gateway stands as it does; `elapsed` gives seconds."""
        self._lines: list[_Line] = []
        self._clock, self._elapsed, self._patience = clock, elapsed, patience
        self._states: dict[str, GatewayState] = {}
        self._turn = Lock()
        self.follow(planes)

    def follow(self, planes: Mapping[str, Gateway]) -> None:
        """Be over these from now on: some may have come, others ended."""
        with self._turn:
            known = {line.name: line for line in self._lines}
            self._lines = [
                known.get(name) or _Line(name, plane, ThreadPoolExecutor(1, thread_name_prefix=name))
                for name, plane in planes.items()
            ]
            self._states = {name: state for name, state in self._states.items() if name in planes}

    def apply(self, table: RouteTable, endpoints: Endpoints) -> None:
        """Bring a table into force wherever that can be.

        Raises Fenced where a gateway holds a newer one, RoutesRejected where one refuses it, Unreachable where none
        runs, TimedOut where one that may serve does not confirm it: each only after all others were given it.
        """
        for line in self._lines:
            line.given = table.version
        self._ask(lambda line: line.give(table, endpoints))
        states = self.states()
        if len(self._lines) == 1:
            if self._lines[0].error is not None:
                raise self._lines[0].error
            return
        for line in self._lines:
            if isinstance(line.error, Fenced):
                raise line.error
        self._raise_refusals()
        if all(each.confirmation is Confirmation.AWAY for each in states):
            raise Unreachable(
                "no gateway runs; the routes are in their files and take effect when they start.",
                fix="check why they do not run: sluice status.",
            )
        behind = [each for each in states if each.holds_up]
        if behind:
            reasons = "; ".join(f"{each.name}: {each.why}" for each in behind)
            raise TimedOut(f"not every gateway has confirmed the routes: {reasons}.", fix="check them: sluice status.")

    def renew(self) -> None:
        """Note at every gateway that a keeper watches, also where routes are just being taken: one that went to stable
        alone takes no candidate before it hears so. One that hangs is not told. Raises what any of them raises."""
        now, errors = self._elapsed(), list[SluiceError | OSError]()
        for line in self._lines:
            if line.silent_for(now) < _HANGS * self._patience:
                try:
                    line.gateway.renew()
                except (SluiceError, OSError) as error:
                    errors.append(error)
        if errors:
            raise errors[0]

    def renewed_at(self) -> float | None:
        """When that was noted last at the gateway that has waited longest."""
        times = list(self._ask(lambda line: line.gateway.renewed_at()).values())
        return None if None in times else min(times)

    def go_stable_only(self) -> bool:
        """Bring the stable-only form into force at every gateway; whether any did not have it yet."""
        return any(self._ask(lambda line: line.gateway.go_stable_only()).values())

    def observe(self) -> str | None:
        """The version that all gateways serve, but for those that do not run; None where they differ or do not say."""
        self._ask(_Line.look)
        states = {each.name: each.confirmation for each in self.states()}
        if Confirmation.SILENT in states.values():
            return None
        serving = {line.serves for line in self._lines if not line.is_away}
        starting = {line.stands for line in self._lines if line.is_away}
        return serving.pop() if len(serving) == 1 and starting <= serving else None

    def in_flight(self, build: BuildRef) -> int | None:
        """Requests under way to a build by any gateway; None where one that runs does not say, or none runs."""
        if len(self._lines) == 1:
            return self._lines[0].gateway.in_flight(build)
        counts: list[int | None] = list(self._ask(lambda line: line.count(build)).values())
        if None in counts or all(line.is_away for line in self._lines):
            return None
        return sum(each or 0 for each in counts)

    def states(self) -> tuple[GatewayState, ...]:
        """How each gateway stood when it was asked last."""
        with self._turn:
            now = self._elapsed()
            for line in self._lines:
                confirmation, why = line.confirmation(line.silent_for(now) >= self._patience)
                before = self._states.get(line.name)
                lasts = before is not None and before.confirmation is confirmation
                self._states[line.name] = GatewayState(
                    name=line.name, confirmation=confirmation, version=line.serves, why=why,
                    since=before.since if before is not None and lasts else self._clock(),
                )  # fmt: skip
            return tuple(self._states.values())

    def _ask(self, question: Callable[[_Line], Any]) -> dict[str, Any]:
        """Ask all at once; None for what is not answered in time. One that owes an answer is not asked further."""
        if len(self._lines) == 1:
            return {line.name: question(line) for line in self._lines}
        now, asked = self._elapsed(), dict[str, Future[Any]]()
        for line in self._lines:
            if line.silent_for(now) < self._patience:
                asked[line.name] = line.pool.submit(partial(question, line))
                line.owed.append((now, asked[line.name]))
        if asked:
            wait(asked.values(), return_when=FIRST_COMPLETED)
            wait(asked.values(), timeout=self._patience)
        answers = {name: answer.result() for name, answer in asked.items() if answer.done()}
        return {line.name: answers.get(line.name) for line in self._lines}

    def _raise_refusals(self) -> None:
        """Raise what the gateways that refuse say together."""
        refusals = {line.name: line.error for line in self._lines if isinstance(line.error, RoutesRejected)}
        if not refusals:
            return
        first = next(iter(refusals.values()))
        is_whole = any(not each.held for each in refusals.values())
        serving = {each.serving for each in refusals.values()}
        if len(refusals) == len(self._lines) and len({(each.message, each.held) for each in refusals.values()}) == 1:
            raise RoutesRejected(
                first.message, fix=first.fix, held=first.held, serving=serving.pop() if len(serving) == 1 else None
            )
        raise RoutesRejected(
            "; ".join(f"{name}: {each.message}" for name, each in refusals.items()),
            fix=first.fix,
            held=frozenset() if is_whole else frozenset().union(*(each.held for each in refusals.values())),
        )
