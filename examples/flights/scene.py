"""Scene: everything that the demo shows, as values. The story writes it, the screen reads it."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any


class Mark(StrEnum):
    """The progress of an act."""

    WAITING = "waiting"
    UNDER_WAY = "under way"
    DONE = "done"
    FAILED = "failed"


@dataclass(kw_only=True)
class Act:
    """One line of the story."""

    title: str
    mark: Mark = Mark.WAITING
    began: float | None = None
    ended: float | None = None
    notes: list[str] = field(default_factory=list)
    """What was said of it; a screen that redraws shows the last."""


@dataclass(kw_only=True)
class Candidate:
    """A build that is rolled out, and the ending that the story expects."""

    version: str
    name: str
    hoped: str
    rollout: dict[str, Any] = field(default_factory=dict)


@dataclass(kw_only=True)
class Scene:
    """The state of the demo."""

    acts: list[Act] = field(default_factory=list)
    candidates: list[Candidate] = field(default_factory=list)
    figures: dict[str, dict[str, Any]] = field(default_factory=dict)
    names: dict[str, str] = field(default_factory=dict)
    """What each version is called."""
    replay: dict[str, Any] = field(default_factory=dict)
    urls: dict[str, str] = field(default_factory=dict)
    trouble: str = ""

    def candidate(self, version: str) -> Candidate:
        return next(each for each in self.candidates if each.version == version)

    @property
    def went_well(self) -> bool:
        """Whether every candidate ended as expected and every request got an answer."""
        ended = bool(self.candidates) and all(each.rollout.get("ending") == each.hoped for each in self.candidates)
        return ended and bool(self.replay.get("ended")) and self.replay["failed"] == 0 and not self.trouble
