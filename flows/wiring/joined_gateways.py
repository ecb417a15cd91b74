"""Joined gateways: what gateways of other hosts report to this console, ask of it, and send."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sluicegate.registry.words.errors import NotFound, Refused
from sluicegate.registry.words.gateway_report import sheet_name
from sluicegate.services.host.issuing import joining_pair
from sluicegate.services.host.keys import gateway_token
from sluicegate.services.telemetry.tailing.mirror import take
from sluicegate.services.traffic.envoy.relay import NAME
from sluicegate.services.traffic.joined import Mailbox

if TYPE_CHECKING:
    from sluicegate.flows.wiring.runtime import Runtime


@dataclass(frozen=True, kw_only=True)
class JoinedGateways:
    """The gateways of other hosts that join this installation."""

    runtime: Runtime

    def hear(self, name: str, report: Mapping[str, object]) -> bool:
        """Record the status that a gateway reports, unless it comes late. Returns whether it was recorded.

        Raises Refused if another gateway goes by its name.
        """
        box, shipped, now = self._mailbox(name), report.get("shipped_until"), self.runtime.wall().timestamp()
        holder = box.holder()
        if holder is not None and holder != report.get("instance"):
            fix = f"end one of the two, or give this one a token of its own: sluice token give {name}-2 --role gateway"
            raise Refused(f"another gateway goes by the token of {name}: {holder}.", fix=fix)
        if box.is_late(report, now):
            return False
        level = None
        if isinstance(shipped, float) and 0 <= shipped < math.inf:
            level = min(shipped, now)  # never in the future
        box.hear(report, level)
        if report.get("retired"):
            box.retire()
        return True

    def sheet_name(self, gateway: str) -> str | None:
        """The name of the route sheet that a gateway should have; None: there is none yet."""
        return self._mailbox(gateway).sheet_name()

    def answer(self, name: str, has: object) -> dict[str, Any]:
        """The reply to a gateway, with the route sheet unless it has it already."""
        box, site = self._mailbox(name), self.runtime.site
        reply: dict[str, Any] = {
            "name": None,
            "at": self.runtime.wall().timestamp(),
            "renewed_ago": box.renewed_ago(),
            "callers": self._callers_token(),
            "unwatched": self.runtime.settings.unwatched_seconds,
        }
        sheet = box.sheet()
        if sheet is None or NAME not in site.ports:
            return reply
        reply["name"] = sheet_name(sheet)
        pair = joining_pair(self.runtime.folder.tls, self.runtime.wall()).read_text(encoding="utf-8")  # may be renewed
        reply["relay"] = {"name": site.listen, "address": site.address, "port": site.ports[NAME], "pair": pair}
        if reply["name"] != has:
            reply["sheet"] = sheet
        return reply

    def take_log(self, gateway: str, log: str, head: str, offset: int, data: bytes, *, is_whole: bool) -> int:
        """Store a part of a gateway's log; returns the size of the file afterwards, in bytes."""
        return take(self._mailbox(gateway).logs, log, head, offset, data, is_whole=is_whole)

    def _mailbox(self, name: str) -> Mailbox:
        return Mailbox(folder=self.runtime.folder.root / "gateways" / name)

    def _callers_token(self) -> str:
        """The present token of callers, which may change while this process runs; during a change, the former one."""
        try:
            return gateway_token(self.runtime.folder.secrets)
        except NotFound:
            return self.runtime.keys.gateway_token
