"""Removing a gateway that is lost for good: nobody waits for it any more, and its missing requests are counted."""

from __future__ import annotations

import time
from contextlib import suppress
from typing import TYPE_CHECKING

from sluicegate.registry.words.errors import NotFound, Refused, Unreachable
from sluicegate.registry.words.sight import Listener

if TYPE_CHECKING:
    from pathlib import Path

    from sluicegate.flows.wiring.runtime import Runtime
    from sluicegate.registry.words.gateway_report import GatewayReport, Served
    from sluicegate.services.traffic.joined import Mailbox

COUNTED_SECONDS = 10.0
"""Time limit for counting the lines that came of its log."""
_LONGEST = 1 << 20
"""Upper limit of a line's length, in bytes."""


def remove_gateway(runtime: Runtime, name: str) -> int:
    """Mark a gateway as ended. Returns how many of its requests are known to be missing from the counts.

    The log lines that it sent are counted as usual. Raises NotFound, Refused, Unreachable.
    """
    box = next((each for each in runtime.mailboxes if each.name == name), None)
    if box is None:
        raise NotFound(f"no gateway of another host is called {name!r}.", fix="list them: sluice status --output json")
    if box.is_heard():
        raise Refused(
            f"gateway {name} runs: it was heard of {box.silence() or 0:.0f} s ago.",
            fix="stop it on its host (SIGTERM): it then sends the rest of its log and says that it has ended",
        )
    if not box.is_retired:
        _close_accounts(runtime, box)
        box.retire()
    return _missing(runtime, name)


def forget_lost(runtime: Runtime) -> None:
    """Mark the cluster's gateways as ended whose pods are gone, and their logs with them.

    While the telemetry is away, they wait; other checks report that.
    """
    gateways = runtime.cluster_gateways
    if gateways is None:
        return
    with suppress(Unreachable):
        for report in gateways.lost():
            _mark_ended(runtime, report)
            gateways.forget(report)


def _mark_ended(runtime: Runtime, report: GatewayReport) -> None:
    """Account for the requests whose lines it never sent, and stop waiting for its log."""
    from sluicegate.services.telemetry.tailing.readers import retire

    served = report.served
    if served is None:
        return
    for name, log in (served.logs or {}).items():
        if name in list(Listener):
            _close_account(runtime, str(report.instance), Listener(name), log, served)
        retire(runtime.store, log.partition(":")[0])


def _close_accounts(runtime: Runtime, box: Mailbox) -> None:
    """Account for the requests that it reported and whose lines it never sent."""
    from sluicegate.services.telemetry.tailing.offsets import name_of

    served = box.report().served
    for listener in Listener:
        _await_read(runtime, box, listener)
        if served is not None:
            log = name_of(runtime.store, box.logs / f"{listener.value}.jsonl")
            _close_account(runtime, box.name, listener, log, served)


def _close_account(runtime: Runtime, gateway: str, listener: Listener, log: str, served: Served) -> None:
    """Account for one log; `log` is its name in the telemetry. What is unread now will never be read."""
    from sluicegate.services.telemetry.reading.accounts import Accountant
    from sluicegate.services.telemetry.reading.watch import Counters
    from sluicegate.services.telemetry.tailing.backlog import read_of_name

    if listener.value in served.ended:
        read = read_of_name(runtime.store, log, served.written.get(listener.value, {}))
        counters = Counters(
            ended=served.ended[listener.value], lines=read.lines, unreadable=read.unreadable, size=read.size,
            unread=min(read.unread + served.buffered, 0),
        )  # fmt: skip
        Accountant(runtime.store, gateway, log).look(counters, runtime.wall())


def _await_read(runtime: Runtime, box: Mailbox, listener: Listener) -> None:
    """Wait until everything received of a log was counted. Raises Refused if that takes too long."""
    from sluicegate.services.telemetry.tailing.backlog import read_of

    until, log = time.monotonic() + COUNTED_SECONDS, box.logs / f"{listener.value}.jsonl"
    while (read := read_of(runtime.store, log)).unread > _half_lines(log):
        if time.monotonic() > until:
            raise Refused(
                f"{read.unread:,} bytes of the log that gateway {box.name} sent have not been counted yet.",
                fix="try again when they are; if they do not get fewer: sluice logs collector",
            )
        time.sleep(0.2)


def _half_lines(log: Path) -> int:
    """Bytes of incomplete last lines in the log's files, whose rest was never sent."""
    ends = [path.read_bytes()[-_LONGEST:] for path in log.parent.glob(f"{log.stem}*{log.suffix}")]
    return sum(len(end) - end.rfind(b"\n") - 1 for end in ends)


def _missing(runtime: Runtime, name: str) -> int:
    from sluicegate.services.telemetry.reading.accounts import gaps

    return sum(gap.requests for gap in gaps(runtime.store) if gap.gateway == name)
