"""Checking: the order in which audiences would be tried, what is proved about them, and which requests would move."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from sluicegate.flows.prover.prover import Claim, Finding, prove
from sluicegate.registry.audience.audience import Audience
from sluicegate.registry.audience.connections import FALLBACK, Connections
from sluicegate.registry.words.errors import UsageError


@dataclass(frozen=True, kw_only=True)
class Moves:
    """How recorded requests would move under the new audiences."""

    requests: int
    changed: int
    """Requests that another audience, or the fallback, would take."""
    variation: int
    """Those of the changed requests that would certainly get another variation."""
    before: Mapping[str, int]
    """Requests by the audience that takes them now."""
    after: Mapping[str, int]

    @property
    def fallback_share(self) -> float | None:
        """The share of requests that no audience would take."""
        return self.after.get(FALLBACK, 0) / self.requests if self.requests else None


@dataclass(frozen=True, kw_only=True)
class Check:
    """The result of checking audiences before they are applied."""

    order: tuple[str, ...]
    findings: tuple[Finding, ...]
    moves: Moves | None
    """None if no requests were given."""

    @property
    def is_sound(self) -> bool:
        """Whether every audience can be reached."""
        return not any(finding.claim in (Claim.NOBODY, Claim.UNREACHABLE) for finding in self.findings)


def check(
    audiences: Sequence[Audience], now: Connections | None, requests: Iterable[Mapping[str, str]] | None
) -> Check:
    """Check audiences in the order in which the model tries them. Those that it does not use yet come last."""
    then = _then(audiences, now)
    connected_audiences = tuple(connected.audience for connected in then.ordered)
    in_order = (*connected_audiences, *(audience for audience in audiences if audience not in connected_audiences))
    moves = _moves(now, then, requests) if now is not None and requests is not None else None
    return Check(order=tuple(audience.name for audience in in_order), findings=prove(in_order), moves=moves)


def read_requests(path: Path) -> list[dict[str, str]]:
    """Read recorded metadata, one JSON object a line. Raises UsageError, naming the line."""
    requests = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        try:
            value = json.loads(line)
        except ValueError as error:
            raise UsageError(f"{path}:{number}: not JSON: {error}.") from error
        if not isinstance(value, dict):
            raise UsageError(f"{path}:{number}: not an object of header names and values.", fix='{"state": "New York"}')
        requests.append({str(name): str(each) for name, each in value.items()})
    return requests


def _then(audiences: Sequence[Audience], now: Connections | None) -> Connections:
    """The connections with the new conditions. An audience without a connection takes no requests yet."""
    named = {each.name: each for each in audiences}
    base = now or Connections(model="")
    ordered = tuple(replace(each, audience=named.get(each.audience.name, each.audience)) for each in base.ordered)
    return replace(base, ordered=ordered)


def _moves(now: Connections, then: Connections, requests: Iterable[Mapping[str, str]]) -> Moves:
    before, after = Counter[str](), Counter[str]()
    changed = certain = 0
    for request in requests:
        old, new = now.takes(request), then.takes(request)
        names = [each.audience.name if each is not None else FALLBACK for each in (old, new)]
        before[names[0]] += 1
        after[names[1]] += 1
        if names[0] != names[1]:
            changed += 1
            parts = [
                {p.variation for p in (each.weighted if each is not None else now.fallback)} for each in (old, new)
            ]
            certain += not (parts[0] & parts[1])
    return Moves(requests=before.total(), changed=changed, variation=certain, before=before, after=after)


def in_words(finding: Finding) -> str:
    """The finding as a sentence, with its witness."""
    others = ", ".join(finding.others)
    shown = json.dumps(dict(finding.witness or {}), ensure_ascii=False)
    match finding.claim:
        case Claim.NOBODY:
            return f"{finding.audience}: no request can meet its conditions"
        case Claim.UNREACHABLE:
            return (
                f"{finding.audience}: no request reaches it: {others} before it match all of its requests, "
                f"such as {shown}"
            )
        case Claim.OVERLAP:
            return f"{finding.audience}: overlaps {others}, which takes requests such as {shown}"
        case Claim.FALLBACK:
            return f"fallback: gets the requests that no audience matches, such as {shown}"
        case Claim.NO_FALLBACK:
            return "fallback: no request reaches it, because the audiences match every request"
        case Claim.UNDECIDED:
            return f"{finding.audience}: undecided: {finding.reason}"
