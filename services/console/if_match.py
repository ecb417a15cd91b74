"""Entity tags (RFC 9110, section 8.8.3), and If-Match: an order that holds only while things are as its giver saw them.

The tag of a rollout is `id.seq-digest`: `id.seq` says at which fact it was read, the digest which figures were shown
beside. An order is held against the facts alone; a page that was read is another one also when a figure changed.
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
    """What an order on a rollout says of what its giver saw."""
    return f"{rollout}.{seq}"


def connections_tag(connections: Connections | None) -> str:
    """The entity tag of a model's connections, without quotes."""
    return f"c-{digest(connections)}"


def entity_tag(answer: object) -> str | None:
    """The entity tag of an answer in JSON values, quoted; None for what is neither a rollout nor connections."""
    match answer:
        case {"id": str(name), "seq": int(seq), **rest}:
            shown = {key: value for key, value in rest.items() if key != "elapsed"}  # the clock alone moves it
            text = json.dumps(shown, sort_keys=True, default=str)
            return f'"{rollout_tag(name, seq)}-{hashlib.sha256(text.encode()).hexdigest()[:12]}"'
        case {"etag": str(tag)}:
            return f'"{tag}"'
        case _:
            return None


def seen(if_match: str | None) -> SeenRollout | SeenConnections | None:
    """What the giver of an order saw, from If-Match. Raises UsageError for what is no entity tag of ours."""
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
