"""The demo's own parts: its data, its book, its replay. No server of ours is needed."""

from __future__ import annotations

import asyncio
import json
import math
from collections.abc import Iterator
from pathlib import Path

import aiohttp
import pandas as pd
import pytest
from aiohttp import web

from sluicegate.examples.flights.data import FEATURES, departures, stream, training
from sluicegate.examples.flights.record import Answers, Record
from sluicegate.examples.flights.replay import Departure, Pace, Replay, departing
from sluicegate.registry.documents.documents import read_documents


@pytest.fixture(scope="module")
def frame(tmp_path_factory: pytest.TempPathFactory) -> pd.DataFrame:
    cache = tmp_path_factory.mktemp("flights")
    read = departures(cache)
    assert departures(cache).equals(read), "what was kept is what was read"
    return read


def test_the_stream_is_every_departure_of_july_and_august_in_order(frame: pd.DataFrame) -> None:
    rows = stream(frame)
    assert len(rows) == 58_752
    assert rows["late"].notna().sum() == 57_049
    assert rows["due"].is_monotonic_increasing
    assert rows["flight"].is_unique


def test_a_label_exists_from_the_landing_on_and_never_for_the_cancelled(frame: pd.DataFrame) -> None:
    labelled = frame["late"].notna()
    assert (frame.loc[labelled, "landed"] - frame.loc[labelled, "due"]).min() > pd.Timedelta(0)
    assert frame.loc[~labelled, "landed"].isna().all()


def test_models_learn_from_the_first_half_only(frame: pd.DataFrame) -> None:
    assert training(frame)["due"].max() < stream(frame)["due"].min()


def test_a_request_has_the_features_and_nothing_that_is_known_later(frame: pd.DataFrame) -> None:
    rows = stream(frame).head(2000)
    asked = list(departing(rows))
    bodies = [json.loads(each.body)["inputs"][0] for each in asked]
    assert len(asked) == 2000
    assert all(set(body) == set(FEATURES) for body in bodies)
    assert [body["plane_year"] is None for body in bodies] == rows["plane_year"].isna().tolist()
    assert [each.late is None for each in asked] == rows["late"].isna().tolist()


def test_answers_are_scored_as_log_loss_and_accuracy() -> None:
    answers = Answers(requests=3)
    for chance, late in ((0.8, 1), (0.6, 0), (0.1, 0)):
        answers.learn(chance, late)
    told = answers.as_json()
    assert told["log_loss"] == pytest.approx(-(math.log(0.8) + math.log(0.4) + math.log(0.9)) / 3)
    assert told["accuracy"] == pytest.approx(2 / 3)


class Town:
    """A gateway and a console that keep what they were sent."""

    def __init__(self, *, broken: frozenset[int] = frozenset()) -> None:
        self.broken = broken
        self.asked: list[str] = []
        self.told: dict[str, int] = {}
        self.refusals = 1

    async def predict(self, request: web.Request) -> web.Response:
        self.asked.append(request.headers["x-flight"])
        number = len(self.asked)
        if number in self.broken:
            return web.json_response({"error": "out of order"}, status=503)
        headers = {"x-request-id": request.headers["x-flight"], "x-sluice-build": f"delays/{1 + number % 2}"}
        return web.json_response([[0.75, 0.25]], headers=headers)

    async def outcomes(self, request: web.Request) -> web.Response:
        if self.refusals:
            self.refusals -= 1
            return web.json_response({"error": "starting"}, status=503)
        for each in await request.json():
            assert each["name"] == "late"
            assert each["prediction_id"] not in self.told
            self.told[each["prediction_id"]] = each["value"]
        return web.json_response({}, status=202)


def flights(count: int) -> Iterator[Departure]:
    """Departures a minute apart; each third is cancelled, the others land after ten minutes, each fourth late."""
    for n in range(count):
        lands = n % 3 != 0
        yield Departure(
            unit=f"f{n}",
            body=b"{}",
            due=60.0 * n,
            landed=60.0 * n + 600 if lands else None,
            late=int(n % 4 == 0) if lands else None,
        )


def replayed(town: Town, count: int) -> Record:
    async def run() -> Record:
        app = web.Application()
        app.router.add_post("/delays/predict", town.predict)
        app.router.add_post("/api/v1/outcomes", town.outcomes)
        runner = web.AppRunner(app)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        try:
            address = f"http://127.0.0.1:{runner.addresses[0][1]}"
            async with aiohttp.ClientSession() as session:
                replay = Replay(session, gateway=address, console=address, model="delays", pace=Pace(150))
                await replay.run(flights(count))
                return replay.record
        finally:
            await runner.cleanup()

    return asyncio.run(run())


def test_outcomes_are_sent_for_flights_that_landed_by_the_clock_and_for_no_others() -> None:
    town = Town()
    record = replayed(town, 90)
    landed = {f"f{n}.0": int(n % 4 == 0) for n in range(80) if n % 3 != 0}
    assert town.told == landed
    assert record.outcomes == len(landed)
    assert record.never == 30


def test_every_request_is_in_the_book_and_a_failed_one_has_no_outcome() -> None:
    town = Town(broken=frozenset({5, 6}))
    record = replayed(town, 60)
    assert record.asked == len(town.asked) == 60
    assert record.failed == 2
    assert "503" in record.failures[0]
    assert {build: answers.requests for build, answers in record.builds.items()} == {"1": 29, "2": 29}
    lost = {f"{town.asked[4]}.0", f"{town.asked[5]}.0"}
    assert not lost & set(town.told)


def test_the_plan_is_valid() -> None:
    path = Path(__file__).parents[2] / "examples" / "flights" / "plan.yaml"
    (found,) = read_documents((path,))
    assert found.value.model == "delays"
