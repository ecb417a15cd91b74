"""What each role may do in the namespace: as much as the adapters use, and nothing else. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum

from sluicegate.services.cluster.kinds import (
    AUTOSCALER,
    CONFIG_MAP,
    DEPLOYMENT,
    DISRUPTION_BUDGET,
    ENDPOINT_SLICE,
    EVENT,
    LEASE,
    POD,
    SERVICE,
    Kind,
)


class Verb(StrEnum):
    """What may be done with objects of a kind. To apply an object takes patch, and create if it does not exist."""

    GET = "get"
    LIST = "list"
    WATCH = "watch"
    CREATE = "create"
    UPDATE = "update"
    PATCH = "patch"
    DELETE = "delete"


class Role(StrEnum):
    """Who calls the API."""

    CONTROL = "control"
    """The keeper and the console."""
    GATEWAY = "gateway"


_APPLY = frozenset({Verb.CREATE, Verb.PATCH, Verb.DELETE})

RIGHTS: Mapping[Role, Mapping[Kind, frozenset[Verb]]] = {
    Role.CONTROL: {
        DEPLOYMENT: _APPLY | {Verb.LIST},
        SERVICE: _APPLY | {Verb.LIST},
        DISRUPTION_BUDGET: _APPLY,
        AUTOSCALER: _APPLY | {Verb.GET},
        ENDPOINT_SLICE: frozenset({Verb.LIST}),
        POD: frozenset({Verb.LIST, Verb.PATCH, Verb.DELETE}),
        CONFIG_MAP: frozenset({Verb.GET, Verb.CREATE, Verb.PATCH}),
        LEASE: _APPLY | {Verb.LIST, Verb.WATCH},
        EVENT: frozenset({Verb.LIST}),
    },
    Role.GATEWAY: {
        ENDPOINT_SLICE: frozenset({Verb.LIST, Verb.WATCH}),
        CONFIG_MAP: frozenset({Verb.GET, Verb.LIST, Verb.WATCH}),
        LEASE: frozenset({Verb.CREATE, Verb.PATCH, Verb.LIST, Verb.WATCH}),
    },
}


def rules(role: Role) -> list[dict[str, list[str]]]:
    """The rules of a Role object."""
    return [
        {"apiGroups": [kind.group], "resources": [kind.plural], "verbs": sorted(verbs)}
        for kind, verbs in RIGHTS[role].items()
    ]
