"""The stage: clears the remains of an earlier demo, plays the story, stops everything and shows how it ended."""

from __future__ import annotations

import asyncio
import shutil
import signal
import time
from pathlib import Path

from rich.console import Console

from sluicegate.examples.flights import ending
from sluicegate.examples.flights.product import Failure, Product
from sluicegate.examples.flights.scene import Scene
from sluicegate.examples.flights.screen import Screen
from sluicegate.examples.flights.story import Story

STOPPED = 130
INTERRUPTED = "it was interrupted"


async def play(folder: Path, console: Console, *, keep: bool) -> int:
    """Clear the stage, play, stop everything unless `keep` is set, and show how it ended; returns an exit code."""
    began = time.monotonic()
    scene, product = Scene(), Product(folder / "sluice")
    playing = asyncio.create_task(_play(product, scene, console, folder))
    for ask in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        asyncio.get_running_loop().add_signal_handler(ask, playing.cancel)
    try:
        await playing
    except asyncio.CancelledError:
        scene.trouble = INTERRUPTED
    finally:
        is_kept = keep and scene.trouble != INTERRUPTED
        if not is_kept:
            await _stop(product, scene, console)
    if not scene.trouble and not scene.went_well:
        scene.trouble = "a candidate did not end as hoped, or requests failed"
    ending.show(console, scene, time.monotonic() - began, kept=product.state if is_kept else None)
    return 0 if scene.went_well else STOPPED if scene.trouble == INTERRUPTED else 1


async def _play(product: Product, scene: Scene, console: Console, folder: Path) -> None:
    with Screen(console) as screen:
        drawing = asyncio.create_task(_draw(screen, scene))
        try:
            await _clear(product)
            await Story(product, scene, folder).play()
        except* Failure as failures:
            scene.trouble = "; ".join(_texts(failures))
        finally:
            drawing.cancel()
            screen.show(scene)


def _texts(failures: BaseExceptionGroup[Failure]) -> list[str]:
    """The message of each failure, however deeply it is nested."""
    return [
        text
        for each in failures.exceptions
        for text in (_texts(each) if isinstance(each, BaseExceptionGroup) else [str(each)])
    ]


async def _stop(product: Product, scene: Scene, console: Console) -> None:
    console.print("stopping everything ...", highlight=False)
    try:
        await product.down()
    except Failure as failure:
        scene.trouble = f"{scene.trouble} {failure}".strip()


async def _draw(screen: Screen, scene: Scene) -> None:
    while True:
        screen.show(scene)
        await asyncio.sleep(0.5)


async def _clear(product: Product) -> None:
    """Stop and delete what an earlier demo left, except the departures that it read."""
    if product.state.exists():
        await product.down()
        shutil.rmtree(product.state)
    product.state.mkdir(parents=True)
