"""Generating: earlier requests are sent again, at the plan's rate, while a rollout wants them. It is a program of its
own, `python -m sluicegate.flows.rehearsal.generating`, so that it slows nothing else.

It reads the ledger every second, and sends nothing while the ledger cannot be read. A request for which no thread is
free is dropped and never sent later; no request is retried.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from http.client import HTTPException
from itertools import cycle
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

import structlog

from sluicegate.flows.rehearsal.captured import Captured
from sluicegate.flows.rehearsal.captures_file import requests_of
from sluicegate.registry.rollout.rollout import Rollout
from sluicegate.registry.words.errors import SluiceError
from sluicegate.services.loopback import UnixConnection

if TYPE_CHECKING:
    from sluicegate.flows.wiring.runtime import Runtime

LOOK_SECONDS = 1.0
"""Time between two looks at the ledger."""
RENEW_SECONDS = 60.0
"""Time after which the requests are read again."""
_SOON = RENEW_SECONDS - 5.0
MOST = 1_000
"""The largest number of requests that are sent in turn."""
AT_ONCE = 32
"""The largest number of requests under way; more are dropped."""
_TURN_SECONDS = 0.02
_BACKLOG = 0.1
"""After a late turn, a stream may catch up on this many seconds of its rate."""
_OURS = ("x-sluice-", "x-envoy-", "content-", "transfer-")
_NOT_SENT = frozenset({"host", "connection", "x-request-id"})

Send = Callable[[Rollout, Captured], None]
log = structlog.get_logger("generator")


@dataclass
class Pace:
    """How many requests are due. What was not sent in time is dropped."""

    rate: float
    _owed: float = field(default=0.0, init=False)
    _last: float | None = field(default=None, init=False)

    def due(self, now: float) -> int:
        """The number of requests to send at this time, in seconds."""
        since = 0.0 if self._last is None else max(now - self._last, 0.0)
        self._last = now
        self._owed = min(self._owed + since * self.rate, max(2.0, self.rate * _BACKLOG))
        whole = int(self._owed)
        self._owed -= whole
        return whole


@dataclass
class Stream:
    """What is sent for one rollout."""

    rollout: Rollout
    pace: Pace
    requests: Iterator[Captured]
    read_at: float


@dataclass(kw_only=True)
class Generating:
    """Sends what is due, as long as the ledger wants it."""

    wanted: Callable[[], Sequence[Rollout]]
    """The rollouts that want requests now."""
    requests: Callable[[Rollout], Sequence[Captured]]
    send: Send
    hand: Callable[[Callable[[], None]], bool]
    """Runs work on a free thread; False if there is none."""
    elapsed: Callable[[], float]
    _streams: dict[str, Stream] = field(default_factory=dict, init=False)
    _looked: float | None = field(default=None, init=False)

    def turn(self) -> None:
        """Look at the ledger if it is time to, and send what is due."""
        now = self.elapsed()
        if self._looked is None or now - self._looked >= LOOK_SECONDS:
            self._looked = now
            self._look(now)
        for stream in self._streams.values():
            for _ in range(stream.pace.due(now)):
                request = next(stream.requests, None)
                if request is not None:
                    self.hand(partial(self.send, stream.rollout, request))

    def _look(self, now: float) -> None:
        try:
            wanted = self.wanted()
        except (SluiceError, OSError) as error:
            log.warning("no request is generated until the ledger can be read again", why=str(error))
            wanted = ()
        self._streams = {each.id: self._stream(each, now) for each in wanted}

    def _stream(self, rollout: Rollout, now: float) -> Stream:
        """The rollout's stream. Its requests are read again after `RENEW_SECONDS`, and sooner if there were none."""
        requests_wanted = rollout.plan.generate
        assert requests_wanted is not None, "only these are wanted"
        known = self._streams.get(rollout.id)
        if known is not None and now - known.read_at < RENEW_SECONDS:
            return known
        pace = known.pace if known is not None else Pace(requests_wanted.rate)
        try:
            requests = self.requests(rollout)
        except (SluiceError, OSError) as error:
            log.warning("there are no requests to send", rollout=rollout.id, why=str(error))
            requests = ()
        return Stream(rollout=rollout, pace=pace, requests=cycle(requests), read_at=now if requests else now - _SOON)


def headers_of(request: Captured, unit: str | None) -> Mapping[str, str]:
    """The headers that are sent with a body. The unit is left out, so that chance assigns the request by the weights,
    and it counts for no user."""
    kept = {
        name: value
        for name, value in request.headers.items()
        if name not in _NOT_SENT and name != unit and not name.startswith(_OURS)
    }
    return {**kept, "content-type": "application/json", "connection": "close"}


def send_to(socket: Path, rollout: Rollout, request: Captured) -> None:
    """Send a request to the model once, by the gateway's socket for generated requests. Its result is in the gateway's
    log."""
    plan = rollout.plan
    connection = UnixConnection(socket, timeout=2 * plan.serve.timeout + 1)
    try:
        path = f"/{quote(plan.model, safe='')}/predict"
        connection.request("POST", path, request.body, dict(headers_of(request, plan.unit)))
        connection.getresponse().read()
    except (OSError, HTTPException) as error:
        log.debug("a generated request got no answer", why=str(error))
    finally:
        connection.close()


class Room:
    """A fixed number of threads, without a queue."""

    def __init__(self, many: int) -> None:
        self._free = threading.BoundedSemaphore(many)
        self._pool = ThreadPoolExecutor(many, thread_name_prefix="generate")

    def __call__(self, work: Callable[[], None]) -> bool:
        if not self._free.acquire(blocking=False):
            return False
        self._pool.submit(self._do, work)
        return True

    def _do(self, work: Callable[[], None]) -> None:
        try:
            work()
        finally:
            self._free.release()


def generating(runtime: Runtime) -> Generating:
    """The generator of this machine."""
    from sluicegate.flows.wiring.generator import wanting
    from sluicegate.services.telemetry.reading.captures import newest

    def requests(rollout: Rollout) -> Sequence[Captured]:
        requested, generate = rollout.requested, rollout.plan.generate
        assert generate is not None, "only these are wanted"
        return tuple(
            requests_of(generate.requests, partial(newest, runtime.store, requested.model, requested.variation), MOST)
        )

    return Generating(
        wanted=lambda: wanting(runtime), requests=requests,
        send=partial(send_to, runtime.envoys["gateway"].places.generated_socket),
        hand=Room(AT_ONCE), elapsed=time.monotonic,
    )  # fmt: skip


def generator() -> None:
    """Generate until stopped."""
    from sluicegate.flows.wiring.loops import Loops
    from sluicegate.flows.wiring.runtime import current_runtime

    runtime = current_runtime()
    generates, loops = generating(runtime), Loops("generator", runtime.heartbeats)

    def run(stop: threading.Event) -> None:
        while not stop.is_set():
            generates.turn()
            stop.wait(_TURN_SECONDS)

    loops.run("generate", run)


if __name__ == "__main__":
    from sluicegate.flows.wiring.loops import log_plainly, run_process

    log_plainly()
    run_process(generator)
