"""Rounds: runs every check in a thread of its own, so that a check that hangs does not delay the others."""

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
"""Seconds for which the result of a check is reused."""
SLOW = 3.0
"""Seconds without an answer after which a check fails for that reason."""


@dataclass(frozen=True, kw_only=True)
class _Result:
    """The last result of a check, and its time."""

    findings: tuple[Finding, ...]
    at: float


class Rounds:
    """Runs the checks, and keeps the last result of each."""

    def __init__(
        self, checks: Callable[[], Mapping[str, Check]], elapsed: Callable[[], float] = time.monotonic
    ) -> None:
        self._checks = checks
        self._elapsed = elapsed
        self._beside = Beside(elapsed)
        self._results: dict[str, _Result] = {}
        self._news = threading.Condition()

    def findings(self, within: float) -> tuple[Finding, ...]:
        """The findings after at most `within` seconds. A check that has not answered by then is pending or failed."""
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
            self._results[name] = _Result(findings=findings, at=self._elapsed())
            self._news.notify_all()

    def _is_fresh(self, name: str, now: float) -> bool:
        last = self._results.get(name)
        return last is not None and last.at > now - FRESH

    def _now(self, name: str, began: float) -> Sequence[Finding]:
        last, waits = self._results.get(name), self._beside.longest(name)
        if last is not None and self._is_fresh(name, began):
            return last.findings
        if waits >= SLOW:
            return [failed(name, f"no answer for {lasting(waits)}", _HANGS), *_as_before(last, self._elapsed())]
        return _as_before(last, self._elapsed()) or [pending(name)]


def _as_before(last: _Result | None, now: float) -> list[Finding]:
    """The last findings, with their age."""
    if last is None:
        return []
    age = f" (checked {lasting(now - last.at)} ago; being checked again)"
    return [replace(finding, found=finding.found + age) for finding in last.findings]


def _guarded(name: str, check: Check) -> Sequence[Finding]:
    """The findings of a check. If it raises an error, that is a failed finding, and other checks are not affected."""
    try:
        return check()
    except SluiceError as error:
        return [failed(name, error.message, error.fix or _SEE_OTHERS)]
    except Exception as error:  # noqa: BLE001  a missing finding would look like a passed check
        return [failed(name, f"the check failed with {type(error).__name__}: {error}", _SEE_OTHERS)]


_HANGS = "Fix the other findings first (ledger, disk, programs): one of them keeps this check waiting."
_SEE_OTHERS = "Fix the other findings first, then look again."
