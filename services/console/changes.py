"""Changes: wakes the live views of this process when any process has recorded something."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager


class Changes:
    """Shared by all live views: a thread signals a change, coroutines wait for it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._views: dict[asyncio.Event, asyncio.AbstractEventLoop] = {}

    def notify(self) -> None:
        """Wake every view. Thread-safe."""
        with self._lock:
            for view, loop in self._views.items():
                loop.call_soon_threadsafe(view.set)

    @contextmanager
    def watched(self) -> Iterator[asyncio.Event]:
        """An event that is set when something is recorded."""
        view = asyncio.Event()
        with self._lock:
            self._views[view] = asyncio.get_running_loop()
        try:
            yield view
        finally:
            with self._lock:
                del self._views[view]
