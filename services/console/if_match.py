"""Entity tags (RFC 9110, section 8.8.3) and If-Match, which refuses an order if its rollout has changed meanwhile.

The tag of a rollout is `id.seq-digest`: `seq` is the latest fact that was read, `digest` covers all figures in the
answer. An order with If-Match is checked against `id.seq` only; If-None-Match also notices a figure that changed.
"""

from __future__ import annotations

import hashlib
import json
import re

from sluicegate.registry.audience.connections import Connections
from sluicegate.registry.orders.connections_record import digest
from sluicegate.registry.orders.order import SeenConnections, SeenRollout
from sluicegate.registry.words.errors import UsageError

_ROLLOUT = re.compile(r"(?P<name>.+)\.(?P<seq>\d+)(-[0-9a-f]+)?")
_CONNECTIONS = re.compile(r"c-(?P<digest>[0-9a-f]*)")


def rollout_tag(rollout: str, seq: int) -> str:
    """The part of a rollout's tag that an order is checked against, without quotes."""
    return f"{rollout}.{seq}"


def connections_tag(connections: Connections | None) -> str:
    """The entity tag of a model's connections, without quotes."""
    return f"c-{digest(connections)}"


def entity_tag(answer: object) -> str | None:
    """The quoted entity tag of an answer in JSON values; None for anything but a rollout or connections."""
    match answer:
        case {"id": str(name), "seq": int(seq), **rest}:
            shown = {key: value for key, value in rest.items() if key != "elapsed"}  # changes with the clock alone
            text = json.dumps(shown, sort_keys=True, default=str)
            return f'"{rollout_tag(name, seq)}-{hashlib.sha256(text.encode()).hexdigest()[:12]}"'
        case {"etag": str(tag)}:
            return f'"{tag}"'
        case _:
            return None


def seen_by_tag(if_match: str | None) -> SeenRollout | SeenConnections | None:
    """What the giver of an order saw, from If-Match. Raises UsageError if it is not an entity tag of this API."""
    if if_match is None or if_match == "*":
        return None
    tag = if_match.strip('"')
    connections = _CONNECTIONS.fullmatch(tag)
    if connections is not None:
        return SeenConnections(digest=connections["digest"])
    rollout = _ROLLOUT.fullmatch(tag)
    if rollout is None:
        raise UsageError(
            f"If-Match: {if_match!r} is not an entity tag of a rollout or of connections.",
            fix="send the ETag of its GET",
        )
    return SeenRollout(rollout=rollout["name"], seq=int(rollout["seq"]))
