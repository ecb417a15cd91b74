"""Collecting, for the doctor: which parts of the access logs were not read, and which requests were not counted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sluicegate.registry.words.sight import Listener, Sight
    from sluicegate.services.host.doctor.finding import Finding
    from sluicegate.services.telemetry.reading.accounts import Gap
    from sluicegate.services.telemetry.reading.growth import Growth
    from sluicegate.services.telemetry.tailing.backlog import Backlog
    from sluicegate.services.telemetry.tailing.readers import Reader

_CHECK = "collector"
_PATIENCE = 60.0
"""Seconds that lines may stay unread before the doctor warns."""


TELEMETRY_FIX = (
    "Check that SLUICE_TELEMETRY names a database that exists and a user who may create tables in it, and that its "
    "server runs. Nothing is lost meanwhile: requests wait in the access logs."
)


def telemetry_finding(where: str, why: str | None) -> Finding:
    """Where the telemetry is, and `why` it cannot be used; None if it can."""
    from sluicegate.services.host.doctor.finding import failed, passed

    return (
        passed("telemetry", f"{where} can be used")
        if why is None
        else failed("telemetry", f"{where}: {why}", TELEMETRY_FIX)
    )


def finding(behind: Backlog, now: float) -> Finding:
    """What a backlog means; `now` in seconds since 1970."""
    from sluicegate.services.host.doctor.finding import passed, warned

    waits = behind.waits(now)
    unread = f"{behind.unread_bytes:,} bytes of the access log are not counted yet"
    if waits <= _PATIENCE:
        return passed(_CHECK, unread if behind.unread_bytes else "every line of the access log is counted")
    fix = "Check the space on the disk, and read the collector's log: sluice status. Nothing is lost meanwhile."
    return warned(_CHECK, f"{unread}, and none was counted for {waits / 60:,.0f} min", fix)


def growth_finding(grown: Growth, free: float, kept_for: float) -> Finding:
    """How much of the `free` bytes the kept requests will use, if each is kept for `kept_for` seconds."""
    from sluicegate.services.host.doctor.finding import passed, warned

    days, more = kept_for / 86_400, grown.more(kept_for)
    rate = f"{grown.a_day:,.0f} requests a day, kept for {days:g} days, will need {more / 2**30:,.1f} GiB more"
    if more < free:
        return passed("growth", f"{rate}; {free / 2**30:,.1f} GiB are free")
    fix = "Free space, or lower retention in the plans that ask for outcomes or bodies."
    return warned("growth", f"at today's rate the disk is full in {grown.days(free):,.1f} days: {rate}", fix)


def unasked_findings(models: Mapping[str, int]) -> tuple[Finding, ...]:
    """Outcomes that no plan asks for, by model."""
    from sluicegate.services.host.doctor.finding import warned

    fix = "Apply a plan with a metric of source: outcome, which keeps requests from then on; or stop sending outcomes."
    return tuple(
        warned("outcomes", f"{n:,} outcomes were set aside: no plan asks for outcomes of {model or 'their model'}", fix)
        for model, n in models.items()
    )


def sight_findings(sights: Mapping[Listener, Sight]) -> tuple[Finding, ...]:
    """Whether requests are counted, by listener. Empty before the first look."""
    from sluicegate.services.host.doctor.finding import failed, passed

    fix = "Meanwhile gates say NO DATA and no rollout advances. Each plan's `blind` says what happens if it lasts."
    findings = []
    for listener, sight in sights.items():
        check = f"counted ({listener.value})"
        findings.append(
            passed(check, _counted_text(sight)) if sight.blind is None else failed(check, str(sight.blind), fix)
        )
    return tuple(findings)


def gap_findings(gaps: Sequence[Gap]) -> tuple[Finding, ...]:
    """Requests whose log lines were never read."""
    from sluicegate.services.host.doctor.finding import warned

    fix = (
        "They are missing from every tally for both builds alike. Find out what happened to the log: a disk that was "
        "full or lost, files that were deleted, an Envoy that was killed. If many are missing, start the rollout again."
    )
    return tuple(warned("gap", str(each), fix) for each in gaps)


def reader_findings(readers: Sequence[Reader], now: int) -> tuple[Finding, ...]:
    """Collectors that share the database; empty if there is only one. `now` in microseconds since 1970."""
    from sluicegate.services.host.doctor.finding import passed, warned

    if len({each.host for each in readers}) < 2:
        return ()
    return tuple(
        passed("reader", f"{each.host}: {each.log} was read until {max(now - each.read_until, 0) / 1e6:,.0f} s ago")
        if each.is_present(now) and now - each.read_until <= _PATIENCE * 1e6
        else warned("reader", _late_reader(each, now), _READER_FIX)
        for each in readers
    )


_READER_FIX = (
    "Check the collector on that host: sluice status. Outcomes of units wait for it, for an hour at most; its lines "
    "count whenever they are read."
)


def _late_reader(reader: Reader, now: int) -> str:
    what = f"{reader.host}: {reader.log} was read until {(now - reader.read_until) / 6e7:,.0f} min ago"
    if reader.retired:
        return f"{what}, and nobody waits for it any more"
    return f"{what}, its collector was seen {(now - reader.seen_at) / 1e6:,.0f} s ago"


def _counted_text(sight: Sight) -> str:
    if sight.uncounted > 0:
        missing = f"{sight.uncounted:,} of these or earlier ones are not counted"
        return f"{sight.served:,} requests in the last minute; {missing}"
    return f"all {sight.served:,} requests of the last minute are counted" if sight.served else "no requests lately"
