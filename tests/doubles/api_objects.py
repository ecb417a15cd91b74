"""Objects of an API server in memory: versions, server-side apply, conflicts, finalizers, and what watches are told.

As much of Kubernetes as our adapters lean on, and pinned to what a real one answers by tests/contract/recordings.
"""

from __future__ import annotations

import copy
import re
import threading
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

Object = dict[str, Any]
Path = tuple[str, ...]
_NAME = re.compile(r"[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?\Z")
_LABEL = re.compile(r"([A-Za-z0-9]([A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?)?\Z")
_WITH_GENERATION = {"deployments", "poddisruptionbudgets", "horizontalpodautoscalers"}
_CONDITIONAL = {"leases"}
"""Kinds whose replacement must name the version that it replaces."""


class Failure(Exception):
    """An answer that is an error: a Status."""

    def __init__(self, code: int, reason: str, message: str) -> None:
        super().__init__(message)
        self.code, self.reason, self.message = code, reason, message

    @property
    def status(self) -> Object:
        return {
            "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
            "message": self.message, "reason": self.reason, "code": self.code,
        }  # fmt: skip


@dataclass(frozen=True)
class Place:
    """Where objects of a kind are kept."""

    group: str
    version: str
    plural: str
    namespace: str

    def __str__(self) -> str:
        return f"{self.plural}.{self.group}" if self.group else self.plural


@dataclass(frozen=True)
class Change:
    """One entry of what watches are told."""

    version: int
    place: Place
    before: Object | None
    after: Object | None


@dataclass
class Objects:
    """Every object. `changed` is notified at each change."""

    changed: threading.Condition = field(default_factory=threading.Condition)
    version: int = 1000
    horizon: int = 1000
    """Versions before this one are forgotten."""
    listeners: list[Callable[[Change], None]] = field(default_factory=list)
    """Told of each change, such as whoever plays a controller."""
    _things: dict[tuple[Place, str], Object] = field(default_factory=dict)
    _owners: dict[tuple[Place, str], dict[str, set[Path]]] = field(default_factory=dict)
    _log: list[Change] = field(default_factory=list)

    def get(self, place: Place, name: str) -> Object:
        with self.changed:
            if (place, name) not in self._things:
                raise Failure(404, "NotFound", f'{place} "{name}" not found')
            return copy.deepcopy(self._things[place, name])

    def select(self, place: Place, selector: str = "", fields: str = "") -> list[Object]:
        with self.changed:
            found = [thing for (at, _), thing in sorted(self._things.items(), key=_by_name) if at == place]
            return [copy.deepcopy(each) for each in found if matches(selector, each) and has_fields(fields, each)]

    def create(self, place: Place, body: Object, manager: str = "test") -> Object:
        with self.changed:
            name = body["metadata"].get("name") or body["metadata"]["generateName"] + uuid.uuid4().hex[:5]
            if (place, name) in self._things:
                raise Failure(409, "AlreadyExists", f'{place} "{name}" already exists')
            self._owners[place, name] = {manager: set(_leaves(_applied(body)))}
            return self._put(place, name, None, _new(place, name, body))

    def replace(self, place: Place, name: str, body: Object, manager: str = "test") -> Object:
        with self.changed:
            old = self.get(place, name)
            said = body["metadata"].get("resourceVersion")
            if said is None and place.plural in _CONDITIONAL:
                raise _invalid(
                    place, name, "metadata.resourceVersion: Invalid value: 0: must be specified for an update"
                )
            self._expect(place, name, old, said)
            new = copy.deepcopy(body)
            new["metadata"] |= {
                key: old["metadata"][key] for key in ("uid", "creationTimestamp") if key in old["metadata"]
            }
            if place.plural != "leases" and "status" in old:
                new["status"] = old["status"]
            self._owners.setdefault((place, name), {})[manager] = set(_leaves(_applied(body)))
            return self._put(place, name, old, new)

    def merge(self, place: Place, name: str, change: Object, manager: str = "test") -> Object:
        with self.changed:
            old = self.get(place, name)
            self._expect(place, name, old, change.get("metadata", {}).get("resourceVersion"))
            new = _merged(old, change)
            new["metadata"]["resourceVersion"] = old["metadata"]["resourceVersion"]
            self._take(place, name, manager, set(_leaves(_applied(change))), keep=True)
            return self._put(place, name, old, new)

    def apply(self, place: Place, name: str, body: Object, manager: str, *, force: bool) -> tuple[Object, bool]:
        """The object, and whether it is new."""
        with self.changed:
            key, wanted = (place, name), set(_leaves(_applied(body)))
            old = self._things.get(key)
            if old is None:
                self._owners[key] = {manager: wanted}
                return self._put(place, name, None, _new(place, name, body)), True
            self._expect(place, name, old, body["metadata"].get("resourceVersion"))
            others = {who: paths for who, paths in self._owners.get(key, {}).items() if who != manager}
            against = sorted(
                (who, path)
                for who, paths in others.items()
                for path in paths & wanted
                if _at(old, path) != _at(body, path)
            )
            if against and not force:
                shown = ", ".join(f'conflict with "{who}": .{".".join(path)}' for who, path in against)
                raise Failure(409, "Conflict", f"Apply failed with {len(against)} conflicts: {shown}")
            new = copy.deepcopy(old)
            for path in self._owners.get(key, {}).get(manager, set()) - wanted:
                if not any(path in paths for paths in others.values()):
                    _remove(new, path)
            for path in sorted(wanted):
                value = _at(body, path)
                if value != {} or not isinstance(_at(new, path), dict):
                    _set(new, path, copy.deepcopy(value))
            self._take(place, name, manager, wanted, keep=False)
            return self._put(place, name, copy.deepcopy(old), new), False

    def delete(self, place: Place, name: str, preconditions: Object | None = None) -> Object:
        with self.changed:
            old = self.get(place, name)
            for what, said in (preconditions or {}).items():
                if old["metadata"][what] != said:
                    raise Failure(409, "Conflict", f'{place} "{name}": the {what} in the precondition does not match')
            stays = old["metadata"].get("finalizers") or (place.plural == "pods" and old["spec"].get("nodeName"))
            if not stays:
                return self._forget(place, name)
            if "deletionTimestamp" in old["metadata"]:
                return old
            new = copy.deepcopy(old)
            new["metadata"]["deletionTimestamp"] = now()
            return self._put(place, name, old, new)

    def end(self, place: Place, name: str) -> None:
        """A pod that was deleted is gone, as its kubelet would say."""
        with self.changed:
            if (place, name) in self._things:
                self._forget(place, name)

    def set_status(self, place: Place, name: str, status: Object) -> Object:
        with self.changed:
            old = self.get(place, name)
            return self._put(place, name, old, {**old, "status": status})

    def since(self, version: int) -> list[Change]:
        """What happened after a version. Raises Failure where that is forgotten."""
        with self.changed:
            if version < self.horizon:
                raise Failure(410, "Expired", f"too old resource version: {version} ({self.version})")
            return [change for change in self._log if change.version > version]

    def forget(self) -> None:
        """Forget every version but the present one, as etcd does after a while."""
        with self.changed:
            self._log.clear()
            self.version += 1
            self.horizon = self.version

    def _expect(self, place: Place, name: str, old: Object, said: str | None) -> None:
        if said is not None and said != old["metadata"]["resourceVersion"]:
            raise Failure(
                409, "Conflict",
                f'Operation cannot be fulfilled on {place} "{name}": the object has been modified; '
                "please apply your changes to the latest version and try again",
            )  # fmt: skip

    def _take(self, place: Place, name: str, manager: str, paths: set[Path], *, keep: bool) -> None:
        owners = self._owners.setdefault((place, name), {})
        before = owners.get(manager, set()) if keep else set()
        for who in owners.keys() - {manager}:
            owners[who] -= paths
        owners[manager] = before | paths

    def _put(self, place: Place, name: str, old: Object | None, new: Object) -> Object:
        _check(place, name, old, new)
        _default(place, new)
        managers = sorted(self._owners.get((place, name), {}))
        new["metadata"]["managedFields"] = [{"manager": who, "fieldsType": "FieldsV1"} for who in managers]
        if old is not None and new == old:
            return copy.deepcopy(old)
        if place.plural in _WITH_GENERATION and (old is None or old.get("spec") != new.get("spec")):
            new["metadata"]["generation"] = (old or {}).get("metadata", {}).get("generation", 0) + 1
        held = [(thing or {}).get("metadata", {}).get("finalizers") for thing in (old, new)]
        if "deletionTimestamp" in new["metadata"] and held[0] and not held[1]:
            return self._forget(place, name)
        self.version += 1
        new["metadata"]["resourceVersion"] = str(self.version)
        self._things[place, name] = new
        self._tell(Change(self.version, place, copy.deepcopy(old), copy.deepcopy(new)))
        return copy.deepcopy(new)

    def _forget(self, place: Place, name: str) -> Object:
        old = self._things.pop((place, name))
        self._owners.pop((place, name), None)
        self.version += 1
        old["metadata"]["resourceVersion"] = str(self.version)
        self._tell(Change(self.version, place, copy.deepcopy(old), None))
        return old

    def _tell(self, change: Change) -> None:
        self._log.append(change)
        self.changed.notify_all()
        for listener in self.listeners:
            listener(change)


def now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def matches(selector: str, thing: Object) -> bool:
    """Whether an object has the labels that a query names."""
    has = thing["metadata"].get("labels") or {}
    pairs = (part.partition("=") for part in selector.split(",") if part)
    return all(has.get(name.rstrip("=")) == value.lstrip("=") for name, _, value in pairs)


def has_fields(selector: str, thing: Object) -> bool:
    """Whether an object has the values of fields that a query names."""
    pairs = (part.partition("=") for part in selector.split(",") if part)
    return all(_at(thing, tuple(name.split("."))) == value for name, _, value in pairs)


def _by_name(entry: tuple[tuple[Place, str], Object]) -> tuple[str, str]:
    (place, name), _ = entry
    return str(place), name


def _new(place: Place, name: str, body: Object) -> Object:
    thing = copy.deepcopy(body)
    thing["metadata"] |= {
        "name": name, "namespace": place.namespace, "uid": str(uuid.uuid4()), "creationTimestamp": now(),
    }  # fmt: skip
    return thing


def _check(place: Place, name: str, old: Object | None, new: Object) -> None:
    if not _NAME.match(name) or (place.plural == "services" and (len(name) > 63 or "." in name)):
        raise _invalid(
            place, name, f'metadata.name: Invalid value: "{name}": a lowercase RFC 1123 subdomain must consist of …'
        )
    for key, value in (new["metadata"].get("labels") or {}).items():
        if not isinstance(value, str) or not _LABEL.match(value):
            raise _invalid(place, name, f'metadata.labels: Invalid value: "{value}" ({key}): a valid label must be …')
    if place.plural == "deployments" and old is not None and old["spec"].get("selector") != new["spec"].get("selector"):
        raise _invalid(place, name, "spec.selector: Invalid value: field is immutable")


def _invalid(place: Place, name: str, why: str) -> Failure:
    return Failure(422, "Invalid", f'{place} "{name}" is invalid: {why}')


def _default(place: Place, thing: Object) -> None:
    if place.plural == "deployments":
        thing["spec"].setdefault("replicas", 1)


def _applied(body: Object) -> Object:
    """The part of a body that somebody owns."""
    metadata = {
        key: body["metadata"][key]
        for key in ("labels", "annotations", "finalizers", "ownerReferences")
        if key in body.get("metadata", {})
    }
    rest = {key: value for key, value in body.items() if key not in ("apiVersion", "kind", "metadata", "status")}
    return ({"metadata": metadata} if metadata else {}) | rest


def _leaves(thing: Any, path: Path = ()) -> Iterator[Path]:
    """Where single values are. A list whose entries have names is a map of these; any other is one value."""
    if isinstance(thing, dict) and thing:
        for key, value in thing.items():
            yield from _leaves(value, (*path, key))
    elif isinstance(thing, list) and thing and all(isinstance(each, dict) and "name" in each for each in thing):
        for each in thing:
            yield from _leaves(each, (*path, f"[{each['name']}]"))
    elif path:
        yield path


def _step(thing: Any, key: str) -> Any:
    if key.startswith("[") and isinstance(thing, list):
        return next((each for each in thing if each.get("name") == key[1:-1]), None)
    return thing.get(key) if isinstance(thing, dict) else None


def _at(thing: Any, path: Path) -> Any:
    for key in path:
        thing = _step(thing, key)
    return thing


def _set(thing: Any, path: Path, value: Any) -> None:
    for key, following in zip(path, (*path[1:], ""), strict=True):
        if key == path[-1] and not following:
            if key.startswith("["):
                thing.append(value)
            else:
                thing[key] = value
            return
        inner = _step(thing, key)
        if inner is None or (following.startswith("[") and not isinstance(inner, list)):
            inner = {"name": key[1:-1]} if key.startswith("[") else [] if following.startswith("[") else {}
            if key.startswith("["):
                thing.append(inner)
            else:
                thing[key] = inner
        thing = inner


def _remove(thing: Any, path: Path) -> None:
    """Without this value, and without the map or entry around it that has become empty."""
    holder = _at(thing, path[:-1])
    if isinstance(holder, dict):
        holder.pop(path[-1], None)
    parent = _at(thing, path[:-2]) if len(path) > 1 else None
    if not holder and isinstance(parent, dict):
        parent.pop(path[-2], None)
    elif isinstance(holder, dict) and set(holder) <= {"name"} and isinstance(parent, list):
        parent.remove(holder)


def _merged(old: Any, change: Any) -> Any:
    """JSON merge patch."""
    if not isinstance(change, dict):
        return copy.deepcopy(change)
    new = copy.deepcopy(old) if isinstance(old, dict) else {}
    for key, value in change.items():
        if value is None:
            new.pop(key, None)
        else:
            new[key] = _merged(new.get(key), value)
    return new
