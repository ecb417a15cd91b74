"""Validation: an Envoy that serves nobody checks a configuration before the serving one gets it."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from sluicegate.registry.words.build import Endpoints
from sluicegate.services import durable
from sluicegate.services.traffic.envoy.log_files import refusal
from sluicegate.services.traffic.envoy.resource_files import canonical
from sluicegate.services.traffic.envoy.resources import Resource
from sluicegate.services.traffic.table import AudienceRoute, RouteTable

_PATIENCE = 10.0
_REMEMBERED = 1_000


class Validation:
    """Validates each shape of a configuration once."""

    def __init__(self, binary: Callable[[], Path], folder: Path) -> None:
        self._binary = binary
        self._path = folder / "validated.json"
        self._reasons: dict[str, str | None] = {}

    def reason(self, shape: str, whole: Callable[[], Resource]) -> str | None:
        """Why Envoy would refuse a configuration of this shape; None if it would not, or does not answer in time.

        `whole` renders the configuration; called only if it is needed.
        """
        if shape not in self._reasons:
            try:
                self._reasons[shape] = self._find(whole())
            except OSError:  # the disk is full: validated another time
                return None
            if len(self._reasons) > _REMEMBERED:
                del self._reasons[next(iter(self._reasons))]
        return self._reasons[shape]

    def _find(self, config: Resource) -> str | None:
        strange = strange_clusters(config)
        if strange:
            return f"unknown cluster {', '.join(sorted(map(repr, strange)))}."
        durable.replace(self._path, canonical(config), mode=durable.PRIVATE)  # it holds the callers' token
        return self._ask()

    def _ask(self) -> str | None:
        command = [str(self._binary()), "--mode", "validate", "-c", str(self._path), "--log-level", "error"]
        environment = {name: value for name, value in os.environ.items() if name in ("PATH", "HOME", "TMPDIR")}
        try:
            done = subprocess.run(
                [*command, "--reject-unknown-dynamic-fields"],
                capture_output=True, text=True, errors="replace", timeout=_PATIENCE, env=environment, check=False,
            )  # fmt: skip
        except (OSError, subprocess.TimeoutExpired):
            return None
        return None if done.returncode == 0 else refusal(done.stderr)


def whole(bootstrap: Resource, clusters: Mapping[str, Resource], routes: Resource) -> Resource:
    """One static configuration of all parts. Only in this form does Envoy check routes against clusters."""
    parts = {name: part for name, part in bootstrap.items() if name not in ("admin", "dynamic_resources")}
    static = parts["static_resources"]
    assert isinstance(static, dict)
    listeners = [_with_routes(listener, routes) for listener in static["listeners"]]
    return {
        **parts,
        "static_resources": {"listeners": listeners, "clusters": [*static["clusters"], *clusters.values()]},
    }


def strange_clusters(config: Resource) -> set[str]:
    """Clusters that routes name but that do not exist. Envoy does not check this, and would answer 503 for them."""
    match config:
        case {"static_resources": {"listeners": listeners, "clusters": list() as clusters}}:
            return set(_clusters_named(listeners)) - {cluster["name"] for cluster in clusters}
        case _:
            return set()


def _clusters_named(part: object) -> Iterator[str]:
    match part:
        case {"weighted_clusters": {"clusters": list() as entries}, **rest}:
            yield from (entry["name"] for entry in entries)
            yield from _clusters_named(rest)
        case {"cluster": str(name), **rest}:
            yield name
            yield from _clusters_named(rest)
        case dict():
            for value in part.values():
                yield from _clusters_named(value)
        case list():
            for value in part:
                yield from _clusters_named(value)
        case _:
            return


def shape(table: RouteTable, endpoints: Endpoints) -> str:
    """The table without what changes with each weight: sizes, shares, marks, and the order of runs.

    None of these can make Envoy refuse it.
    """
    models = [
        (
            model.model,
            model.unit,
            model.timeout,
            [_audience(each) for each in model.audiences],
            model.named,
            model.replicas,
        )
        for model in table.models
    ]
    routed = {model.model for model in table.models}
    where = sorted((str(build), places) for build, places in endpoints.items() if build.model in routed)
    return repr((models, where))


def _audience(audience: AudienceRoute) -> tuple[object, ...]:
    targets = {
        (
            part.target.assigned.variation,
            part.target.assigned.build,
            part.target.fallback or "",
            repr(part.target.stands_in),
        )
        for part in audience.slices
    }
    mirrors = [(each.assigned.build, each.copied_variation, each.segments) for each in audience.mirrors]
    return audience.name, audience.condition, audience.salt, sorted(targets), mirrors


def _with_routes(listener: Resource, routes: Resource) -> Resource:
    """The listener with these routes inline, instead of a watched file."""
    match listener:
        case {"filter_chains": [{"filters": [{"name": name, "typed_config": {"rds": _, **manager}}]}], **rest}:
            inline = {**manager, "route_config": routes}
            return {**rest, "filter_chains": [{"filters": [{"name": name, "typed_config": inline}]}]}
        case _:
            return listener
