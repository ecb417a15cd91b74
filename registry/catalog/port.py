"""Catalog: the MLflow model registry behind a port. Builds out; aliases, stages and tags back."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Protocol

from sluicegate.registry.words.build import Build, BuildRef


class Catalog(Protocol):
    """Where registered models are.

    Promises, each tested on every adapter by tests/contract/test_catalog.py:

    - What cannot be read raises CatalogUnavailable. It never looks like an empty catalog, nor like a change.
    - A write has been read back before its call returns; writing what is there already changes nothing.
    - A model that is not registered has no builds; a build or alias that is not there raises NotFound.
    """

    def models(self) -> tuple[str, ...]:
        """The name of every registered model."""
        ...

    def build(self, ref: BuildRef) -> Build:
        """One build, with its signature. Raises NotFound."""
        ...

    def builds(self, model: str) -> tuple[Build, ...]:
        """Every build of a model, oldest first, without signatures; none when the model is not registered."""
        ...

    def resolve(self, model: str, name: str) -> BuildRef:
        """The build that a version, an alias such as `@candidate`, or `latest` names. Raises NotFound."""
        ...

    def snapshot(self, models: Iterable[str]) -> dict[str, tuple[Build, ...]]:
        """The builds of several models; all of them, or CatalogUnavailable."""
        ...

    def run_metrics(self, run: str) -> Mapping[str, float]:
        """The last value of each metric of a run; NaN and infinities as they are. Raises NotFound, also where it was
        deleted."""
        ...

    def fetch(self, ref: BuildRef, into: Path) -> Path:
        """The folder with the build's files: `into`, which appears whole or not at all. Raises NotFound.

        A folder that holds this build already is left as it is.
        """
        ...

    def set_alias(self, ref: BuildRef, alias: str) -> None:
        """Let the alias name this build, and no other of the model. Raises NotFound."""
        ...

    def delete_alias(self, model: str, alias: str) -> None:
        """Take the alias away; one that is not there is gone already."""
        ...

    def set_tag(self, ref: BuildRef, key: str, value: str) -> None:
        """Write a tag of the build. Raises NotFound."""
        ...

    def transition_stage(self, ref: BuildRef, stage: str, *, archive_existing: bool) -> None:
        """Move the build to a stage; with `archive_existing`, those that are there go to Archived. Raises NotFound."""
        ...
