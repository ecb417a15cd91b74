"""The replay's own counts: which requests it sent, which build answered, what failed, and how good the answers were."""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass, field
from typing import Any

KEPT_FAILURES = 20
KEPT_TIMES = 1000


@dataclass(kw_only=True)
class Answers:
    """Counts of the answers of one build."""

    requests: int = 0
    labelled: int = 0
    loss: float = 0.0
    right: int = 0

    def learn(self, chance: float, late: int) -> None:
        """Compare the predicted chance with the outcome, once the flight has landed."""
        probability = min(max(chance if late else 1 - chance, 1e-15), 1.0)
        self.labelled += 1
        self.loss -= math.log(probability)
        self.right += int((chance > 0.5) == bool(late))

    def as_json(self) -> dict[str, Any]:
        known = {"log_loss": self.loss / self.labelled, "accuracy": self.right / self.labelled} if self.labelled else {}
        return {"requests": self.requests, "labelled": self.labelled, **known}


@dataclass(kw_only=True)
class Record:
    """Counts over the whole replay; nothing here comes from Sluicegate's telemetry."""

    asked: int = 0
    failed: int = 0
    failures: list[str] = field(default_factory=list)
    outcomes: int = 0
    """Outcomes that the console took in."""
    never: int = 0
    """Flights that were cancelled or diverted: their requests get no outcome."""
    builds: dict[str, Answers] = field(default_factory=dict)
    times: deque[float] = field(default_factory=lambda: deque(maxlen=KEPT_TIMES))

    def fail(self, why: str) -> None:
        """Note a request without a good answer."""
        self.failed += 1
        if len(self.failures) < KEPT_FAILURES:
            self.failures.append(why)

    def answers(self, build: str) -> Answers:
        return self.builds.setdefault(build, Answers())

    def as_json(self) -> dict[str, Any]:
        times = sorted(self.times)
        quantiles = {f"p{q}_ms": round(times[len(times) * q // 100] * 1e3, 1) for q in (50, 99)} if times else {}
        return {
            "asked": self.asked,
            "failed": self.failed,
            "failures": self.failures,
            "outcomes": self.outcomes,
            "never": self.never,
            "builds": {build: answers.as_json() for build, answers in sorted(self.builds.items())},
            **quantiles,
        }
