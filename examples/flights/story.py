"""The story: the steps of the demo and what each waits for. It acts as users do, and updates the scene."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path

import aiohttp

from sluicegate.examples.flights.people import Person
from sluicegate.examples.flights.product import Failure, Product
from sluicegate.examples.flights.scene import Act, Candidate, Mark, Scene

MODEL = "delays"
PLAN = Path(__file__).parent / "plan.yaml"
IDLE, BUSY = 8, 70
"""Requests a second while nothing is judged, which leaves the machine to packing, and while a candidate has traffic."""
LOOK = 1.0
_TIME = re.compile(r"^\[ *[\d.]+ s\] ")
LONGEST = 600.0
"""Seconds that a rollout may take before the demo gives up on it."""


class Story:
    """One run of the demo."""

    def __init__(self, product: Product, scene: Scene, folder: Path) -> None:
        self._product = product
        self._scene = scene
        self._data = folder / "data"
        self._logs = folder / "logs"

    async def play(self) -> None:
        """Play from an empty folder to two decisions. Raises Failure."""
        async with self._person("scientist", str(self._data)) as scientist:
            async with asyncio.TaskGroup() as both:
                both.create_task(self._servers())
                both.create_task(self._training(scientist))
            with self._act("register three versions in MLflow"):
                environment = self._product.environment
                known = await scientist.ask({"register": MODEL, "environment": environment})
                self._scene.names = {version: name for name, version in known["versions"].items()}
                stable, good, bad = known["versions"].values()
            with self._act(f"apply the plan, deploy v{stable} as the first build"):
                await self._product.read("apply", "-f", str(PLAN))
                await self._product.read("deploy", MODEL, "--build", stable)
            async with self._travellers() as travellers, self._watching(travellers):
                await self._roll_out(scientist, good, hoped="promoted")
                await self._roll_out(scientist, bad, hoped="aborted")

    async def _servers(self) -> None:
        with self._act("start MLflow, Prefect, Envoy and Sluicegate") as act:
            await self._product.up(lambda line: act.notes.append(_TIME.sub("", line)))
            self._scene.urls = self._product.urls

    async def _training(self, scientist: Person) -> None:
        with self._act("train three models on January to June"):
            self._scene.figures = (await scientist.hear())["figures"]

    async def _roll_out(self, scientist: Person, version: str, *, hoped: str) -> None:
        """Move the alias, as a data scientist would, and wait until the rollout has ended."""
        candidate = Candidate(version=version, name=self._scene.names[version], hoped=hoped)
        self._scene.candidates.append(candidate)
        with self._act(f"alias `candidate` on v{version}, {candidate.name}") as act:
            await scientist.ask({"candidate": version})
            await _until(lambda: candidate.rollout.get("settled", False), LONGEST, f"the rollout of v{version} to end")
            ending = candidate.rollout["ending"]
            act.notes.append(ending)
            if ending != hoped:
                raise Failure(f"v{version} ended {ending}, not {hoped}: {candidate.rollout['reason']}")

    @asynccontextmanager
    async def _travellers(self) -> AsyncIterator[Person]:
        """Send departures as requests; at the end wait for open requests, so that the record is complete."""
        urls = self._product.urls
        words = ("--gateway", urls["gateway"], "--console", urls["console"], "--model", MODEL)
        pace = ("--rate", str(IDLE), "--data", str(self._data))
        token = {"SLUICE_TOKEN": self._product.environment["SLUICE_TOKEN"]}
        with self._act("replay the departures of July and August"):
            async with self._person("replay", *words, *pace, environment=token) as travellers:
                listening = asyncio.create_task(self._listen(travellers))
                try:
                    yield travellers
                finally:
                    travellers.tell("stop")
                    await asyncio.wait_for(listening, 60)

    async def _listen(self, travellers: Person) -> None:
        while not self._scene.replay.get("ended"):
            self._scene.replay = await travellers.hear()

    @asynccontextmanager
    async def _watching(self, travellers: Person) -> AsyncIterator[None]:
        watching = asyncio.create_task(self._watch(travellers))
        try:
            yield
        finally:
            watching.cancel()
            with suppress(asyncio.CancelledError):
                await watching

    async def _watch(self, travellers: Person) -> None:
        """Poll the rollouts; send flights faster while a candidate has traffic."""
        pace = IDLE
        async with aiohttp.ClientSession() as session:
            while True:
                for rollout in await self._product.rollouts(session, MODEL):
                    for candidate in self._scene.candidates:
                        if rollout["candidate"] == candidate.version:
                            candidate.rollout = rollout
                is_judging = any(c.rollout.get("phase") == "running" for c in self._scene.candidates)
                wanted = BUSY if is_judging else IDLE
                if wanted != pace:
                    pace = wanted
                    travellers.tell(f"rate {pace}")
                await asyncio.sleep(LOOK)

    @asynccontextmanager
    async def _person(
        self, module: str, *words: str, environment: dict[str, str] | None = None
    ) -> AsyncIterator[Person]:
        log = self._logs / f"{module}.log"
        person = await Person.start(module, *words, log=log, environment=environment)
        try:
            yield person
        finally:
            await person.leave()

    @contextmanager
    def _act(self, title: str) -> Iterator[Act]:
        act = Act(title=title, mark=Mark.UNDER_WAY, began=time.monotonic())
        self._scene.acts.append(act)
        try:
            yield act
            act.mark = Mark.DONE
        finally:
            act.ended = time.monotonic()
            if act.mark is not Mark.DONE:
                act.mark = Mark.FAILED


async def _until(is_so: Callable[[], bool], seconds: float, what: str) -> None:
    try:
        async with asyncio.timeout(seconds):
            while not is_so():  # noqa: ASYNC110 - the condition can only be polled
                await asyncio.sleep(0.1)
    except TimeoutError:
        raise Failure(f"waited {seconds:g} s in vain for {what}") from None
