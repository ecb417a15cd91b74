"""Rounds: every check is made in a thread of its own, so that one that hangs keeps no other from being told."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from sluicegate.registry.words.errors import SluiceError
from sluicegate.registry.words.figures import lasting
from sluicegate.services.beside import Beside
from sluicegate.services.host.doctor.finding import Finding, failed, pending

Check = Callable[[], Sequence[Finding]]
FRESH = 5.0
"""Seconds for which what a check found is not asked for again."""
SLOW = 3.0
"""Seconds without an answer after which that is itself a finding."""


@dataclass(frozen=True, kw_only=True)
class _Known:
    """What a check found last, and when."""

    findings: tuple[Finding, ...]
    at: float


class Rounds:
    """Makes the checks, and remembers what each found last."""

    def __init__(
        self, checks: Callable[[], Mapping[str, Check]], elapsed: Callable[[], float] = time.monotonic
    ) -> None:
        self._checks = checks
        self._elapsed = elapsed
        self._beside = Beside(elapsed)
        self._known: dict[str, _Known] = {}
        self._news = threading.Condition()

    def findings(self, within: float) -> tuple[Finding, ...]:
        """What is known after at most so many seconds. A check that has not answered by then is itself a finding."""
        checks, began = self._checks(), self._elapsed()
        for name, check in checks.items():
            if not self._is_fresh(name, began):
                self._beside(name, lambda name=name, check=check: self._make(name, check))  # type: ignore[misc]
        with self._news:
            self._news.wait_for(lambda: all(self._is_fresh(name, began) for name in checks), within)
            return tuple(finding for name in checks for finding in self._now(name, began))

    def _make(self, name: str, check: Check) -> None:
        findings = tuple(_guarded(name, check))
        with self._news:
            self._known[name] = _Known(findings=findings, at=self._elapsed())
            self._news.notify_all()

    def _is_fresh(self, name: str, now: float) -> bool:
        known = self._known.get(name)
        return known is not None and known.at > now - FRESH

    def _now(self, name: str, began: float) -> Sequence[Finding]:
        known, waits = self._known.get(name), self._beside.longest(name)
        if known is not None and self._is_fresh(name, began):
            return known.findings
        if waits >= SLOW:
            return [failed(name, f"no answer for {lasting(waits)}", _HANGS), *_as_before(known, self._elapsed())]
        return _as_before(known, self._elapsed()) or [pending(name)]


def _as_before(known: _Known | None, now: float) -> list[Finding]:
    """What was found the last time, with its age."""
    if known is None:
        return []
    age = f" (checked {lasting(now - known.at)} ago; being checked again)"
    return [replace(finding, found=finding.found + age) for finding in known.findings]


def _guarded(name: str, check: Check) -> Sequence[Finding]:
    """A check that cannot be made is a failed one, and the others are made all the same."""
    try:
        return check()
    except SluiceError as error:
        return [failed(name, error.message, error.fix or _SEE_OTHERS)]
    except Exception as error:  # noqa: BLE001  whatever it is: a check that vanished would pass for one that passed
        return [failed(name, f"the check failed with {type(error).__name__}: {error}", _SEE_OTHERS)]


_HANGS = "Fix the other findings first (ledger, disk, programs): one of them keeps this check waiting."
_SEE_OTHERS = "Fix the other findings first, then look again."
