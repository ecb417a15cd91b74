"""The `sluice` command in this process: for tests of what it says, not of what it loads or how it is interrupted."""

from __future__ import annotations

import contextlib
import contextvars
import io
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple
from unittest import mock

from sluicegate.flows.cli.app import main
from sluicegate.flows.wiring.runtime import current_runtime

SETTINGS = ("SLUICE_", "MLFLOW_", "PREFECT_", "OTEL_")


class Ended(NamedTuple):
    code: int
    out: str
    err: str


def sluice(state: Path | None, *words: str, given: str = "", settings: Mapping[str, str] | None = None) -> Ended:
    """Run `sluice` with these words, `given` as its standard input, and no setting but the state folder and these."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(SETTINGS)}
    environment = kept | ({} if state is None else {"SLUICE_STATE": str(state)}) | (settings or {})
    out, err = io.StringIO(), io.StringIO()
    with (
        mock.patch.dict(os.environ, environment, clear=True),
        mock.patch.object(sys, "argv", ["sluice", *words]),
        mock.patch.object(sys, "stdin", io.StringIO(given)),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
    ):
        current_runtime.cache_clear()
        try:
            contextvars.copy_context().run(main)
        except SystemExit as end:
            return Ended(int(end.code or 0), out.getvalue(), err.getvalue())
        finally:
            current_runtime.cache_clear()
    raise AssertionError("main always ends by SystemExit")
