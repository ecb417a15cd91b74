"""Leases by which gateways and keeper know of each other. Pure.

Each gateway writes a Lease of its own, with its report and a beat, which is new each time. The keeper writes one Lease
for all: the last beat of each gateway that it had read when it last looked at the ledger. A gateway that finds its beat
there knows that a keeper watches. It also knows when it sent that beat, and so how old this knowledge is at most: no
two clocks are compared, and a delayed message shows its own delay.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime

from pydantic import TypeAdapter, ValidationError

from sluicegate.registry.words.gateway_report import GatewayReport, read_gateway_report
from sluicegate.registry.words.gateways import Unwatched
from sluicegate.services.cluster.kinds import Object
from sluicegate.services.cluster.names import Component, labels

KEEPER = "sluicegate-keeper"
_BEAT, _REPORT, _RETIRED = "sluicegate.dev/beat", "sluicegate.dev/report", "sluicegate.dev/retired"
_WATCHING = "sluicegate.dev/watching"


@dataclass(frozen=True, kw_only=True)
class Owner:
    """The pod of a gateway. Kubernetes deletes the Lease with it."""

    name: str
    uid: str


@dataclass(frozen=True, kw_only=True)
class GatewayLease:
    """What the Lease of a gateway says."""

    beat: str = ""
    report: GatewayReport = field(default_factory=GatewayReport)
    retired: bool = False
    """Whether it ended in order: its log was read to the end."""


@dataclass(frozen=True, kw_only=True)
class Watching:
    """What the keeper's Lease says."""

    beats: Mapping[str, str] = field(default_factory=dict)
    """By gateway, its last beat that had been read when the keeper last looked at the ledger."""
    sheet: str = ""
    """The name of the sheet that the ConfigMap holds."""
    unwatched: float | None = None
    """Seconds without a keeper after which the switch of a gateway acts."""


_KEEPER_LEASE = TypeAdapter(Watching)


def gateway_lease(
    name: str,
    beat: str,
    report: Mapping[str, object],
    at: datetime,
    *,
    owner: Owner | None = None,
    retired: bool = False,
) -> Object:
    """The Lease of a gateway."""
    annotations = {_BEAT: beat, _REPORT: json.dumps(report)} | ({_RETIRED: "true"} if retired else {})
    return _lease(name, Component.GATEWAY, annotations, name, at, owner)


def keeper_lease(keeper: str, watching: Watching, at: datetime) -> Object:
    """The keeper's Lease."""
    annotations = {_WATCHING: _KEEPER_LEASE.dump_json(watching).decode()}
    return _lease(KEEPER, Component.CONTROL, annotations, keeper, at)


def read_gateway_lease(thing: Object) -> GatewayLease:
    """What a gateway's Lease says."""
    annotations = _annotations(thing)
    report = read_gateway_report(annotations.get(_REPORT, "{}"))
    return GatewayLease(beat=annotations.get(_BEAT, ""), report=report, retired=_RETIRED in annotations)


def unwatched(leases: Iterable[Object]) -> dict[str, Unwatched | None]:
    """For each gateway that has not ended: its last report that it serves stable builds alone because no keeper watches
    it, if there is one."""
    by_gateway: dict[str, Unwatched | None] = {}
    for lease in leases:
        name, gateway = str(lease["metadata"]["name"]), read_gateway_lease(lease)
        if not gateway.retired:
            by_gateway[name] = gateway.report.unwatched(name)
    return by_gateway


def read_keeper_lease(thing: Object) -> Watching:
    """What the keeper's Lease says. Content of another form counts as missing."""
    try:
        return _KEEPER_LEASE.validate_json(_annotations(thing).get(_WATCHING, "{}"), strict=True)
    except ValidationError:
        return Watching()


def _lease(
    name: str, component: Component, annotations: Mapping[str, str], holder: str, at: datetime,
    owner: Owner | None = None,
) -> Object:  # fmt: skip
    metadata: Object = {"name": name, "labels": labels(component), "annotations": dict(annotations)}
    if owner is not None:
        metadata["ownerReferences"] = [{"apiVersion": "v1", "kind": "Pod", "name": owner.name, "uid": owner.uid}]
    renewed = at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    return {"metadata": metadata, "spec": {"holderIdentity": holder, "renewTime": renewed}}


def _annotations(thing: Object) -> Mapping[str, str]:
    annotations: Mapping[str, str] = thing["metadata"].get("annotations") or {}
    return annotations
