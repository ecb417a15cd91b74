"""Sluicegate as users see it: the `sluice` command, and the console's HTTP API with the token that it prints."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import aiohttp

OTHERS = ("MLFLOW_", "PREFECT_", "SLUICE_")
"""The demo must not touch servers that the shell it was started from happens to name."""
SECONDS = 5.0


class Failure(Exception):
    """The demo cannot continue; the message says what happened and where to look."""


class Product:
    """One installation, with its state in a folder of its own."""

    def __init__(self, state: Path) -> None:
        self.state = state
        self.urls: dict[str, str] = {}
        self.environment: dict[str, str] = {}
        self._base = {name: value for name, value in os.environ.items() if not name.startswith(OTHERS)}
        self._base |= {"SLUICE_STATE": str(state)}
        self._command = shutil.which("sluice", path=str(Path(sys.executable).parent)) or "sluice"

    async def up(self, told: Callable[[str], None]) -> None:
        """Start everything; `told` gets each line of progress."""
        await self._run("up", told=told)
        self.urls = (await self.read("status"))["urls"]
        self.environment = await self.read("env")

    async def down(self) -> None:
        """Stop everything that `up` started."""
        await self._run("down")

    async def read(self, *words: str) -> Any:
        """The parsed JSON output of a command."""
        return json.loads(await self._run(*words, "-o", "json"))

    async def rollouts(self, session: aiohttp.ClientSession, model: str) -> list[dict[str, Any]]:
        """Every rollout of the model, oldest first; empty if the console does not answer at once."""
        headers = {"authorization": f"Bearer {self.environment['SLUICE_TOKEN']}"}
        url = f"{self.urls['console']}/api/v1/rollouts"
        try:
            timeout = aiohttp.ClientTimeout(total=SECONDS)
            async with session.get(url, params={"model": model}, headers=headers, timeout=timeout) as response:
                response.raise_for_status()
                found: list[dict[str, Any]] = (await response.json())["rollouts"]
                return found
        except (aiohttp.ClientError, TimeoutError):
            return []

    async def _run(self, *words: str, told: Callable[[str], None] | None = None) -> str:
        """Standard output of a command. It runs in a session of its own, so Ctrl-C reaches only this process."""
        process = await asyncio.create_subprocess_exec(
            self._command,
            *words,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env=self._base,
            start_new_session=True,
        )
        said: list[str] = []
        try:
            out, _ = await asyncio.gather(_all(process.stdout), _lines(process.stderr, said, told))
            code = await process.wait()
        except asyncio.CancelledError:
            process.send_signal(signal.SIGINT)
            await process.wait()
            raise
        if code:
            raise Failure(f"`sluice {' '.join(words)}` ended with {code}:\n" + "\n".join(said[-20:]))
        return out.decode()


async def _all(stream: asyncio.StreamReader | None) -> bytes:
    assert stream is not None
    return await stream.read()


async def _lines(stream: asyncio.StreamReader | None, said: list[str], told: Callable[[str], None] | None) -> None:
    assert stream is not None
    async for line in stream:
        said.append(line.decode(errors="replace").rstrip())
        if told is not None:
            told(said[-1])
