"""Gateways: several data planes as one. Its answers are cautious: what one gateway may still do, counts for all.

Each gateway is called in its own thread, so that one that hangs does not delay an abort at the others.
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
"""Seconds to wait for the other gateways once the first has answered, and after which one counts as silent."""
_HANGS = 5
"""Multiple of the patience that a gateway may take to apply routes. Then it counts as hung, and renewals stop, so that
its switch acts."""
_NOT_ASKED = "not checked yet"


class Gateway(DataPlane, Protocol):
    """A data plane among several."""

    def is_away(self) -> bool:
        """Whether nothing runs there. It then serves nobody, and will start with the routes published last."""
        ...


@dataclass
class _Line:
    """One gateway and its last known state."""

    name: str
    gateway: Gateway
    pool: ThreadPoolExecutor
    owed: list[tuple[float, Future[Any]]] = field(default_factory=list)
    """Outstanding answers, each with the time of its call."""
    given: str | None = None
    """The version that it should serve, whether or not it could be called yet."""
    stands: str | None = None
    """The version that its files hold."""
    serves: str | None = None
    """The version that it last reported to serve."""
    is_away: bool = False
    error: SluiceError | OSError | None = None
    """Why it did not apply the version given."""

    def give(self, table: RouteTable, endpoints: Endpoints) -> None:
        """Apply a table at the gateway and note the result."""
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
        """Read what it serves."""
        self.serves = self.gateway.observe()
        self.is_away = self.serves is None and self.gateway.is_away()

    def count(self, build: BuildRef) -> int | None:
        """Open requests to a build; 0 if nothing runs. None if unknown."""
        requests = self.gateway.in_flight(build)
        return 0 if requests is None and self.gateway.is_away() else requests

    def silent_for(self, now: float) -> float:
        """Seconds since the oldest call without an answer."""
        self.owed = [(at, answer) for at, answer in self.owed if not answer.done()]
        return now - self.owed[0][0] if self.owed else 0.0

    def confirmation(self, silent: bool) -> tuple[Confirmation, str]:
        """Whether it has confirmed the version given, and if not, why."""
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
    """A DataPlane over several gateways. A single gateway is called directly, in the caller's thread."""

    def __init__(
        self, planes: Mapping[str, Gateway], clock: Callable[[], datetime], *,
        patience: float = PATIENCE, elapsed: Callable[[], float] = time.monotonic,
    ) -> None:  # fmt: skip
        """`clock` dates changes of a gateway's state; `elapsed` gives seconds for time limits."""
        self._lines: list[_Line] = []
        self._clock, self._elapsed, self._patience = clock, elapsed, patience
        self._states: dict[str, GatewayState] = {}
        self._turn = Lock()
        self.follow(planes)

    def follow(self, planes: Mapping[str, Gateway]) -> None:
        """Use these gateways from now on. Keeps the state of those already known."""
        with self._turn:
            known = {line.name: line for line in self._lines}
            self._lines = [
                known.get(name) or _Line(name, plane, ThreadPoolExecutor(1, thread_name_prefix=name))
                for name, plane in planes.items()
            ]
            self._states = {name: state for name, state in self._states.items() if name in planes}

    def apply(self, table: RouteTable, endpoints: Endpoints) -> None:
        """Apply a table at every gateway that can take it.

        Raises Fenced if a gateway holds a newer one, RoutesRejected if one refuses it, Unreachable if none runs,
        TimedOut if one that may serve does not confirm it. In each case all other gateways got the table first.
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
        """Note at every gateway that a keeper watches, except at one that hangs. Raises the first gateway's error.

        Also while routes are being applied: a gateway that serves stable builds only takes no candidate before this.
        """
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
        """The oldest of the gateways' last renewals; None if one has none or does not answer."""
        times = list(self._ask(lambda line: line.gateway.renewed_at()).values())
        return None if None in times else min(times)

    def go_stable_only(self) -> bool:
        """Apply the stable-only form at every gateway. Returns whether it changed any."""
        return any(self._ask(lambda line: line.gateway.go_stable_only()).values())

    def observe(self) -> str | None:
        """The version that all running gateways serve; None if they differ or one does not answer."""
        self._ask(_Line.look)
        states = {each.name: each.confirmation for each in self.states()}
        if Confirmation.SILENT in states.values():
            return None
        serving = {line.serves for line in self._lines if not line.is_away}
        starting = {line.stands for line in self._lines if line.is_away}
        return serving.pop() if len(serving) == 1 and starting <= serving else None

    def in_flight(self, build: BuildRef) -> int | None:
        """Open requests to a build at all gateways together; None if a running one does not answer, or none runs."""
        if len(self._lines) == 1:
            return self._lines[0].gateway.in_flight(build)
        counts: list[int | None] = list(self._ask(lambda line: line.count(build)).values())
        if None in counts or all(line.is_away for line in self._lines):
            return None
        return sum(each or 0 for each in counts)

    def states(self) -> tuple[GatewayState, ...]:
        """The state of each gateway at the last call."""
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
        """Call all gateways at once. None for each that does not answer in time; skips those that owe an answer."""
        if len(self._lines) == 1:
            return {line.name: question(line) for line in self._lines}
        now, calls = self._elapsed(), dict[str, Future[Any]]()
        for line in self._lines:
            if line.silent_for(now) < self._patience:
                calls[line.name] = line.pool.submit(partial(question, line))
                line.owed.append((now, calls[line.name]))
        if calls:
            wait(calls.values(), return_when=FIRST_COMPLETED)
            wait(calls.values(), timeout=self._patience)
        answers = {name: answer.result() for name, answer in calls.items() if answer.done()}
        return {line.name: answers.get(line.name) for line in self._lines}

    def _raise_refusals(self) -> None:
        """Raise one RoutesRejected for all gateways that refuse."""
        refusals = {line.name: line.error for line in self._lines if isinstance(line.error, RoutesRejected)}
        if not refusals:
            return
        first = next(iter(refusals.values()))
        is_whole_refused = any(not each.models for each in refusals.values())
        serving = {each.serving for each in refusals.values()}
        if len(refusals) == len(self._lines) and len({(each.message, each.models) for each in refusals.values()}) == 1:
            raise RoutesRejected(
                first.message, fix=first.fix, models=first.models, serving=serving.pop() if len(serving) == 1 else None
            )
        raise RoutesRejected(
            "; ".join(f"{name}: {each.message}" for name, each in refusals.items()),
            fix=first.fix,
            models=frozenset() if is_whole_refused else frozenset().union(*(each.models for each in refusals.values())),
        )
