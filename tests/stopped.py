"""Processes that do nothing for a while and hold what they have."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import psutil


@contextmanager
def hung(*pids: int) -> Iterator[None]:
    """These processes and their descendants do nothing meanwhile, and hold their connections."""
    families = [each for pid in pids for each in (psutil.Process(pid), *psutil.Process(pid).children(recursive=True))]
    for process in families:
        process.suspend()
    try:
        yield
    finally:
        for process in families:
            if process.is_running():
                process.resume()
