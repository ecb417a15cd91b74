"""Progress of `up` and `down` on a terminal: one line for each part, redrawn in place."""

from __future__ import annotations

from collections.abc import Callable
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import Progress as Bar
from rich.progress import SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn

from sluicegate.services.host.raising import Mark, Progress


class Live:
    """A context manager that is called with each Progress."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._bar = Bar(
            SpinnerColumn(finished_text="[green]✓[/]"),
            TextColumn("{task.description}"),
            TimeElapsedColumn(),
            console=Console(stderr=True),
            get_time=clock,
        )
        self._lines: dict[str, TaskID] = {}

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.stop()

    def __call__(self, progress: Progress) -> None:
        match progress.mark:
            case Mark.STARTING:
                self._lines[progress.name] = self._bar.add_task(progress.name, total=1)
            case Mark.READY:
                self._bar.update(self._lines[progress.name], completed=1)
            case Mark.NOTE:
                self._bar.console.print(progress.text, highlight=False)
