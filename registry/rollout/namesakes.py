"""Namesakes: versions of a model that was deleted and registered again, with numbers of builds that serve. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from sluicegate.registry.rollout.rollout import Rollout
from sluicegate.registry.rollout.standing import standings
from sluicegate.registry.words.build import Build
from sluicegate.registry.words.errors import Refused


def namesakes(rollouts: Iterable[Rollout], builds: Iterable[Build]) -> dict[str, str]:
    """Versions of one model in the catalog that are not the builds that serve under these numbers, each with why.

    A build is identified by its model, its number and the time of its registration.
    """
    every = tuple(rollouts)
    needed = {build.version for standing in standings(every) for build in standing.needed}
    packed = {rollout.requested.version: rollout.packed for rollout in every if rollout.packed is not None}
    others: dict[str, str] = {}
    for build in builds:
        version = build.ref.version
        serving = packed[version].registered_at if version in needed and version in packed else None
        if serving is not None and build.created_at is not None and build.created_at != serving:
            others[version] = (
                f"v{version} in MLflow is not the v{version} that serves: it was registered at "
                f"{build.created_at:%Y-%m-%d %H:%M:%S} UTC, the one that serves at {serving:%Y-%m-%d %H:%M:%S} UTC"
            )
    return others


def refuse_namesake(rollouts: Iterable[Rollout], builds: Iterable[Build], model: str, version: str) -> None:
    """Raise Refused for a version whose number belongs to another build that serves."""
    why = namesakes(rollouts, builds).get(version)
    if why is not None:
        raise Refused(
            f"{model}: {why}.",
            fix=f"register it again, so that it gets a new version number, or first run: sluice undeploy {model}",
        )
