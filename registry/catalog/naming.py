"""Which build a name means: a version, an alias, or `latest`. Pure; shared by the adapters."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence

from sluicegate.registry.words.build import Build, BuildRef
from sluicegate.registry.words.errors import NotFound
from sluicegate.registry.words.suggestions import nearest

LATEST = "latest"


def age(build: Build) -> int:
    """The version as a number. MLflow counts versions from 1."""
    return int(build.ref.version)


def named(model: str, name: str, builds: Sequence[Build], models: Callable[[], Collection[str]]) -> BuildRef:
    """The build that `name` means among a model's builds. Raises NotFound, which lists the names that exist.

    `models` returns the registered models. It is called only if this model has no builds.
    """
    if not builds:
        raise no_builds(model, models())
    if name == LATEST:
        return max(builds, key=age).ref
    matching = [build for build in builds if name == build.ref.version or name.removeprefix("@") in build.aliases]
    if not matching:
        versions = [f"v{build.ref.version}" for build in builds[-8:]]
        aliases = sorted(f"@{alias}" for build in builds for alias in build.aliases)
        named = ", ".join((*versions, *aliases, LATEST))
        raise NotFound(f"{model} has no build {name!r}.", fix=f"name one of {named}.")
    return matching[0].ref


def no_builds(model: str, models: Collection[str]) -> NotFound:
    """The error for a model without builds. `models` are the registered ones, in case the name is misspelt."""
    register = f"register a build: mlflow.register_model(..., {model!r})"
    if model in models:
        return NotFound(f"the model {model!r} has no builds in MLflow.", fix=register)
    near = nearest(model, models)
    meant = f"did you mean {near}? Otherwise " if near else ""
    return NotFound(f"MLflow has no model {model!r}.", fix=f"{meant}{register}")


def missing(ref: BuildRef) -> NotFound:
    """The error for a build that does not exist."""
    return NotFound(f"MLflow has no build {ref}.", fix=f"list the builds: sluice builds {ref.model}")
