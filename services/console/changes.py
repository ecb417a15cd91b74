"""Changes: wakes the live views of this process when something was recorded, by whomever."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager


class Changes:
    """One for all live views: told by a thread, waited for by coroutines."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._views: dict[asyncio.Event, asyncio.AbstractEventLoop] = {}

    def tell(self) -> None:
        """Wake every view. From any thread."""
        with self._lock:
            for view, loop in self._views.items():
                loop.call_soon_threadsafe(view.set)

    @contextmanager
    def watched(self) -> Iterator[asyncio.Event]:
        """An event that is set when something was recorded."""
        view = asyncio.Event()
        with self._lock:
            self._views[view] = asyncio.get_running_loop()
        try:
            yield view
        finally:
            with self._lock:
                del self._views[view]
