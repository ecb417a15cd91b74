"""Records the console while the demo runs, for the README: `python -m docs.recording`. Needs Chromium.

Nothing is drawn by hand: `sluice demo` runs in a folder of its own, and what a browser shows is kept as docs/images.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from PIL import Image
from playwright.sync_api import Error, Page, sync_playwright

IMAGES = Path(__file__).parent / "images"
SIZE = {"width": 1180, "height": 720}
SHOWN_SIZE = (944, 576)
EVERY = 1.5
"""Seconds between two looks."""
SHOWN = 900
"""Milliseconds that a frame is shown."""
MOST = 60
"""Frames of the recording; of a longer run some are left out."""
SLUICE = Path(sys.executable).with_name("sluice")


def record() -> None:
    """Run the demo, look at it, stop it, and write the recording and one picture of it."""
    with tempfile.TemporaryDirectory(prefix="sluice-recording-") as folder, sync_playwright() as playwright:
        demo = subprocess.Popen([SLUICE, "demo", "--folder", folder, "--keep"], stdout=subprocess.DEVNULL)
        environment = os.environ | {"SLUICE_STATE": f"{folder}/sluice"}
        try:
            browser = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=["--no-sandbox"])
            page = browser.new_page(viewport=SIZE, device_scale_factor=1)
            frames = list(_frames(page, demo, environment, Path(folder)))
            browser.close()
        finally:
            demo.terminate()
            demo.wait(120)
            subprocess.run([SLUICE, "down"], env=environment, check=False, stdout=subprocess.DEVNULL)
        _write(frames)


def _frames(page: Page, demo: subprocess.Popen[bytes], environment: dict[str, str], folder: Path) -> Iterator[Path]:
    """A picture for each time that the page has changed."""
    is_signed_in, last, is_over = False, b"", False
    while not is_over:
        time.sleep(EVERY)
        is_over = demo.poll() is not None  # what is on the page then, such as the abort, is the last frame
        try:
            is_signed_in = is_signed_in or _sign_in(page, environment)
            if not is_signed_in:
                continue
            page.goto(_latest(page, environment))
            shot = page.screenshot()
        except Error:
            continue
        if shot != last:
            last, file = shot, folder / f"{time.monotonic_ns()}.png"
            file.write_bytes(shot)
            yield file


def _sign_in(page: Page, environment: dict[str, str]) -> bool:
    said = subprocess.run([SLUICE, "env"], env=environment, capture_output=True, text=True, check=False).stdout
    lines = (line.removeprefix("export ").partition("=") for line in said.splitlines())
    values = {name: value.strip("'\"") for name, _, value in lines}
    if "SLUICE_TOKEN" not in values:
        return False
    environment["CONSOLE"] = values["SLUICE_API"]
    page.goto(f"{values['SLUICE_API']}/login")
    page.get_by_label("Token", exact=True).fill(values["SLUICE_TOKEN"])
    page.get_by_label("Your name").fill("ada")
    page.get_by_role("button", name="Sign in").click()
    return page.get_by_role("heading", name="Overview").is_visible()


def _latest(page: Page, environment: dict[str, str]) -> str:
    """The page of the newest rollout with gates; the overview while there is none."""
    answer = page.request.get(f"{environment['CONSOLE']}/api/v1/rollouts?limit=50")
    rollouts = [each for each in json.loads(answer.text())["rollouts"] if each["strategy"] == "canary"]
    newest = max(rollouts, key=lambda each: each["requested_at"], default=None)
    return environment["CONSOLE"] + (f"/rollouts/{newest['id']}" if newest else "/")


def _write(frames: list[Path]) -> None:
    IMAGES.mkdir(exist_ok=True)
    kept = [*frames[:-1][:: max(1, -(-len(frames) // MOST))], frames[-1]]
    pictures = [Image.open(frame).convert("RGB").resize(SHOWN_SIZE, Image.Resampling.LANCZOS) for frame in kept]
    pictures[0].save(
        IMAGES / "rollout.webp", save_all=True, append_images=pictures[1:], duration=SHOWN, loop=0, quality=55, method=6
    )


if __name__ == "__main__":
    record()
