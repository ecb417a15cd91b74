"""The data scientist and the travellers, who use the product beside the person at the keyboard; each is a process."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from asyncio.subprocess import PIPE, Process
from pathlib import Path
from typing import Any, Self

from sluicegate.examples.flights.product import Failure

LONG_LINE = 1 << 20
FRUGAL = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MLFLOW_DISABLE_TELEMETRY": "true"}
"""Other programs start meanwhile: threads that wait for one another cost more than they save."""
PATIENCE = 15.0


class Person:
    """A process that reads lines and answers with lines of JSON; it ends when its input ends."""

    def __init__(self, process: Process, name: str) -> None:
        self._process = process
        self._name = name

    @classmethod
    async def start(cls, module: str, *words: str, log: Path, environment: dict[str, str] | None = None) -> Self:
        """Start `python -m sluicegate.examples.flights.<module>`; its standard error goes to `log`."""
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("ab") as complaints:
            process = await asyncio.create_subprocess_exec(
                sys.executable, "-P", "-m", f"sluicegate.examples.flights.{module}", *words,
                stdin=PIPE, stdout=PIPE, stderr=complaints, limit=LONG_LINE, start_new_session=True,
                env=os.environ | FRUGAL | (environment or {}),
            )  # fmt: skip
        return cls(process, f"{module} (see {log})")

    async def hear(self) -> dict[str, Any]:
        """Read its next line. Raises Failure if it has ended."""
        assert self._process.stdout is not None
        line = await self._process.stdout.readline()
        if not line:
            raise Failure(f"{self._name} ended unexpectedly")
        said: dict[str, Any] = json.loads(line)
        return said

    def tell(self, line: str) -> None:
        """Send it a line."""
        assert self._process.stdin is not None
        if self._process.returncode is None:
            self._process.stdin.write(line.encode() + b"\n")

    async def ask(self, question: dict[str, Any]) -> dict[str, Any]:
        """Send a line and read the answer."""
        self.tell(json.dumps(question))
        return await self.hear()

    async def leave(self) -> None:
        """Close its input and wait; kill it if it does not end."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        try:
            await asyncio.wait_for(self._process.wait(), PATIENCE)
        except TimeoutError:
            self._process.kill()
            await self._process.wait()
