"""Joined console: the console of the host that a gateway joins, as this gateway calls it."""

from __future__ import annotations

import ssl
import time
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import httpx

from sluicegate.registry.words.errors import Unreachable
from sluicegate.services.traffic.joined import ON_THE_WAY

_PATH = "/api/v1/gateway"
_FIX = (
    "check that the console runs, that SLUICE_API is its URL for other hosts, and SLUICE_CA a copy of its tls/ca.pem."
)


class Console:
    """The console of the host that this gateway joins."""

    def __init__(self, url: str, token: str, ca: Path | None, instance: str) -> None:
        """`instance` identifies this gateway, so that the console can tell two with the same token apart."""
        self._instance = instance
        self._answered: tuple[float, float] | None = None
        """When the console answered last: by its clock, and by the monotonic clock here."""
        trusted = ssl.create_default_context(cafile=ca)
        headers = {"authorization": f"Bearer {token}"}
        patience = httpx.Timeout(ON_THE_WAY, connect=2.0)
        self._http = httpx.Client(
            base_url=url, headers=headers, verify=trusted, timeout=patience, trust_env=False
        )  # fmt: skip

    def exchange(self, report: Mapping[str, object]) -> dict[str, Any]:
        """Send a report and return the console's answer. Raises Unreachable, also with the reason of a refusal.

        The console heeds a report only soon after an answer of its own, so the first one after a pause is sent again.
        """
        answer = self._exchange_once(report)
        return answer if answer["heard"] else self._exchange_once(report)

    def _exchange_once(self, report: Mapping[str, object]) -> dict[str, Any]:
        after = None if self._answered is None else self._answered[0]
        answer: dict[str, Any] = self._post(_PATH, json={**report, "instance": self._instance, "after": after})
        self._answered = answer["at"], time.monotonic()
        return answer

    def time_of(self, moment: float) -> float | None:
        """The console's time of a moment of the monotonic clock here, or an earlier one, so that no delay of a report
        changes it. None before its first answer."""
        if self._answered is None:
            return None
        at, here = self._answered
        return at + moment - here

    def send(self, log: str, head: str, offset: int, data: bytes, *, is_whole: bool) -> int:
        """Send a part of a log. Returns how many bytes of the file the console then has."""
        place = {"head": head, "offset": str(offset), "whole": "1" if is_whole else "0"}
        return int(self._post(f"{_PATH}/logs/{log}", params=place, content=zlib.compress(data, 1))["size"])

    def _post(self, path: str, **more: Any) -> Any:
        try:
            answer = self._http.post(path, **more)
        except httpx.TransportError as error:
            why = f"the console at {self._http.base_url} does not answer: {error}."
            raise Unreachable(why, fix=_FIX) from None
        try:
            told = answer.json()
        except ValueError:
            told = None
        if not isinstance(told, dict):
            why = f"what answers {answer.status_code} at {self._http.base_url} is not the console, but perhaps a proxy."
            raise Unreachable(why, fix=_FIX)
        if not answer.is_success:
            raise Unreachable(
                f"the console answered {answer.status_code}: {told.get('detail', '')}", fix=told.get("fix")
            )
        return told
