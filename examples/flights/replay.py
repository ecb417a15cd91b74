"""Replays departures of July and August 2013 as requests, in time order; labels follow when a flight has landed.

    SLUICE_TOKEN=... python -m sluicegate.examples.flights.replay --gateway URL --console URL --model delays --rate 40 \
        --data .demo/data

It prints one line of JSON each second, and a last one when it ends: at the end of August, at the end of its
input, at the line `stop` on its input, or on SIGTERM. The line `rate 80` on its input changes the rate.
"""

from __future__ import annotations

import argparse
import asyncio
import heapq
import json
import os
import signal
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import pandas as pd

from sluicegate.examples.flights.data import FEATURES, departures, stream
from sluicegate.examples.flights.record import Record

AT_ONCE = 24
"""Requests under way at most: a system that cannot keep up is asked less often, not harder."""
BATCH = 500
PATIENCE = aiohttp.ClientTimeout(total=30)
LATE = 1
"""Column of the answer, and value of the outcome, that mean `late`."""


@dataclass(frozen=True, kw_only=True)
class Departure:
    """One request, with its outcome, which is known later. Times are seconds since 1970, in the year 2013."""

    unit: str
    body: bytes
    due: float
    landed: float | None
    late: int | None


@dataclass(frozen=True, kw_only=True, order=True)
class Landing:
    """An outcome that waits until its flight has landed."""

    landed: float
    prediction: str = field(compare=False)
    late: int = field(compare=False)


def departing(frame: pd.DataFrame, chunk: int = 500) -> Iterator[Departure]:
    """The rows as requests, in the frame's order."""
    for start in range(0, len(frame), chunk):
        rows = frame.iloc[start : start + chunk]
        inputs = rows[list(FEATURES)].astype(object).where(rows[list(FEATURES)].notna(), None).to_dict("records")
        for row, values in zip(rows.itertuples(), inputs, strict=True):
            is_known = not pd.isna(row.landed)
            yield Departure(
                unit=row.flight,
                body=json.dumps({"inputs": [values]}).encode(),
                due=row.due.timestamp(),
                landed=row.landed.timestamp() if is_known else None,
                late=int(row.late) if is_known else None,
            )


class Pace:
    """Limits requests to a rate per second; requests that could not be sent in time are not sent in a burst later."""

    def __init__(self, rate: float) -> None:
        self.rate = rate
        self._next = 0.0

    async def wait(self) -> None:
        """Return when the next request is due."""
        now = asyncio.get_running_loop().time()
        self._next = max(self._next + 1 / self.rate, now - 0.1)
        if self._next > now:
            await asyncio.sleep(self._next - now)


class Replay:
    """Sends departures, remembers their prediction ids, and sends outcomes as the clock of 2013 goes on."""

    def __init__(self, session: aiohttp.ClientSession, *, gateway: str, console: str, model: str, pace: Pace) -> None:
        self.record = Record()
        self.pace = pace
        self.stopping = asyncio.Event()
        self.clock = 0.0
        self._session = session
        self._predict = f"{gateway}/{model}/predict"
        self._outcomes = f"{console}/api/v1/outcomes"
        self._in_air: list[Landing] = []
        self._free = asyncio.Semaphore(AT_ONCE)

    async def run(self, departures: Iterator[Departure]) -> None:
        """Send requests until the departures end or `stopping` is set, then wait for the open ones."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._report_landings())
            async with asyncio.TaskGroup() as requests:
                for departure in departures:
                    await self.pace.wait()
                    await self._free.acquire()
                    if self.stopping.is_set():
                        break
                    self.clock = departure.due
                    requests.create_task(self._ask(departure))
            self.stopping.set()

    async def _ask(self, departure: Departure) -> None:
        started = time.perf_counter()
        self.record.asked += 1
        try:
            headers = {"content-type": "application/json", "x-flight": departure.unit}
            async with self._session.post(self._predict, data=departure.body, headers=headers) as response:
                body = await response.read()
            if response.status != 200:
                self.record.fail(f"{departure.unit}: {response.status} {body[:300].decode(errors='replace')}")
                return
            self.record.times.append(time.perf_counter() - started)
            self._note(departure, response, json.loads(body))
        except (aiohttp.ClientError, TimeoutError, ValueError, LookupError) as error:
            self.record.fail(f"{departure.unit}: {type(error).__name__}: {error}")
        finally:
            self._free.release()

    def _note(self, departure: Departure, response: aiohttp.ClientResponse, answer: Any) -> None:
        build = self.record.answers(response.headers["x-sluice-build"].rpartition("/")[2])
        build.requests += 1
        if departure.landed is None or departure.late is None:
            self.record.never += 1
            return
        build.learn(answer[0][LATE], departure.late)
        prediction = response.headers["x-request-id"] + ".0"
        heapq.heappush(self._in_air, Landing(landed=departure.landed, prediction=prediction, late=departure.late))

    async def _report_landings(self) -> None:
        while not self.stopping.is_set():
            await asyncio.sleep(0.25)
            await self._send_landed()

    async def _send_landed(self) -> None:
        """Send outcomes of flights landed by the clock of 2013. A refused batch is sent again, which is harmless."""
        while self._in_air and self._in_air[0].landed <= self.clock:
            landed: list[Landing] = []
            while self._in_air and self._in_air[0].landed <= self.clock and len(landed) < BATCH:
                landed.append(heapq.heappop(self._in_air))
            if not await self._send(landed):
                for landing in landed:
                    heapq.heappush(self._in_air, landing)
                return

    async def _send(self, landed: list[Landing]) -> bool:
        batch = [{"prediction_id": each.prediction, "name": "late", "value": each.late} for each in landed]
        headers = {"authorization": f"Bearer {os.environ.get('SLUICE_TOKEN', '')}"}
        try:
            async with self._session.post(self._outcomes, json=batch, headers=headers) as response:
                if response.status < 300:
                    self.record.outcomes += len(batch)
                    return True
                why = f"outcomes: {response.status} {(await response.text())[:300]}"
        except (aiohttp.ClientError, TimeoutError) as error:
            why = f"outcomes: {type(error).__name__}: {error}"
        sys.stderr.write(why + "\n")
        return False


async def _obey(replay: Replay) -> None:
    """Carry out the lines of the standard input."""
    reader = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    while line := (await reader.readline()).decode().split():
        if line[0] == "stop":
            break
        replay.pace.rate = float(line[1])
    replay.stopping.set()


async def _tell(replay: Replay) -> None:
    before = 0
    while True:
        await asyncio.sleep(1)
        asked, before = replay.record.asked - before, replay.record.asked
        _say(replay, {"per_second": asked})


def _say(replay: Replay, more: dict[str, Any]) -> None:
    line = {"clock": replay.clock, "pace": replay.pace.rate, **more, **replay.record.as_json()}
    sys.stdout.write(json.dumps(line) + "\n")
    sys.stdout.flush()


async def _main(args: argparse.Namespace) -> None:
    frame = stream(departures(Path(args.data)))
    connector = aiohttp.TCPConnector(limit=AT_ONCE + 4)
    async with aiohttp.ClientSession(connector=connector, timeout=PATIENCE) as session:
        pace = Pace(args.rate)
        replay = Replay(session, gateway=args.gateway, console=args.console, model=args.model, pace=pace)
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, replay.stopping.set)
        asides = [asyncio.create_task(_tell(replay)), asyncio.create_task(_obey(replay))]
        await replay.run(departing(frame))
        for aside in asides:
            aside.cancel()
        _say(replay, {"ended": True})


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="replay", description="Replay departures as requests.")
    parser.add_argument(
        "--gateway", required=True, help="where predictions are asked for, such as http://127.0.0.1:8080"
    )
    parser.add_argument("--console", required=True, help="where outcomes are sent to")
    parser.add_argument("--model", default="delays")
    parser.add_argument("--rate", type=float, default=40.0, help="requests a second")
    parser.add_argument("--data", required=True, help="folder in which the departures are kept")
    return parser.parse_args()


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for our parent, which closes our input
    asyncio.run(_main(_arguments()))
