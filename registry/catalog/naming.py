"""Which build a name means: a version, an alias, or `latest`. Pure; shared by the adapters."""

from __future__ import annotations

from collections.abc import Sequence

from sluicegate.registry.words.build import Build, BuildRef
from sluicegate.registry.words.errors import NotFound

LATEST = "latest"


def age(build: Build) -> int:
    """Versions count from 1 on."""
    return int(build.ref.version)


def named(model: str, name: str, builds: Sequence[Build]) -> BuildRef:
    """The build that `name` means among a model's builds. Raises NotFound, naming what there is."""
    if not builds:
        raise NotFound(
            f"the model {model!r} has no builds.", fix=f"register one: mlflow.register_model(..., {model!r})"
        )
    if name == LATEST:
        return max(builds, key=age).ref
    found = [build for build in builds if name == build.ref.version or name.removeprefix("@") in build.aliases]
    if not found:
        versions = ", ".join(f"v{build.ref.version}" for build in builds[-8:])
        aliases = ", ".join(sorted(f"@{alias}" for build in builds for alias in build.aliases)) or "no alias"
        raise NotFound(f"{model} has no build {name!r}.", fix=f"there are {versions}, {aliases}, latest.")
    return found[0].ref


def missing(ref: BuildRef) -> NotFound:
    """The error for a build that is not there."""
    return NotFound(f"{ref} is not in the catalog.", fix=f"see which builds are: sluice builds {ref.model}")
