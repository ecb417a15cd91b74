"""Follows the objects of a kind: all of them at first and after each change, and also while the API is away."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from sluicegate.registry.words.errors import SluiceError
from sluicegate.services.cluster.answers import Expired
from sluicegate.services.cluster.api import Api, Event
from sluicegate.services.cluster.kinds import Kind, Object

_SHORTEST, _LONGEST = 0.2, 5.0
"""Seconds between two attempts to reach an API that is away."""


@dataclass(frozen=True, kw_only=True)
class Seen:
    """The objects by name, as they are now or were when they were last read."""

    objects: Mapping[str, Object]
    why: str | None = None
    """Why nothing newer is known; None where this is the present state."""


def follow(api: Api, kind: Kind, wanted: Mapping[str, str], wait: Callable[[float], bool]) -> Iterator[Seen]:
    """Every state of the objects with these labels, until `wait` says that it is over.

    `wait` waits for at most this many seconds and returns whether to end, as that of a threading.Event does. A state is
    yielded after each change, and each time the API stops answering or answers again.
    """
    objects: dict[str, Object] = {}
    since: str | None = None
    seconds = _SHORTEST
    while not wait(0):
        try:
            if since is None:
                listing = api.select(kind, wanted)
                objects, since = {_name(each): each for each in listing.items}, listing.version
                yield Seen(objects=dict(objects))
            for event in api.watch(kind, wanted, since):
                since = event.version
                if _take(objects, event):
                    yield Seen(objects=dict(objects))
            seconds = _SHORTEST
        except Expired:
            since = None
        except SluiceError as error:
            yield Seen(objects=dict(objects), why=str(error))
            if wait(seconds):
                return
            seconds = min(2 * seconds, _LONGEST)
            since = None  # list again, so that the state is known to be the present one


def _take(objects: dict[str, Object], event: Event) -> bool:
    """Apply the event; returns whether it changed anything."""
    match event.what:
        case "ADDED" | "MODIFIED":
            objects[_name(event.object)] = event.object
        case "DELETED":
            objects.pop(_name(event.object), None)
        case _:
            return False
    return True


def _name(thing: Object) -> str:
    return str(thing["metadata"]["name"])
