"""Catalog: the MLflow model registry behind a port. Reads builds; writes aliases, stages and tags."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Protocol

from sluicegate.registry.words.build import Build, BuildRef


class Catalog(Protocol):
    """The registered models and their builds.

    Promises, each tested on every adapter by tests/contract/test_catalog.py:

    - What cannot be read raises CatalogUnavailable. It never looks like an empty catalog or like a change.
    - A write is read back before the call returns. Writing a value that is already there changes nothing.
    - A model that is not registered has no builds. A build or alias that does not exist raises NotFound.
    """

    def models(self) -> tuple[str, ...]:
        """The name of every registered model."""
        ...

    def build(self, ref: BuildRef) -> Build:
        """One build, with its signature. Raises NotFound."""
        ...

    def builds(self, model: str) -> tuple[Build, ...]:
        """Every build of a model, oldest first, without signatures; empty if the model is not registered."""
        ...

    def resolve(self, model: str, name: str) -> BuildRef:
        """The build that a version, an alias such as `@candidate`, or `latest` names. Raises NotFound."""
        ...

    def snapshot(self, models: Iterable[str]) -> dict[str, tuple[Build, ...]]:
        """The builds of several models; raises CatalogUnavailable unless all can be read."""
        ...

    def run_metrics(self, run: str) -> Mapping[str, float]:
        """The last value of each metric of a run, also NaN and infinities. Raises NotFound, also for a deleted run."""
        ...

    def fetch(self, ref: BuildRef, into: Path) -> Path:
        """The folder with the build's files: `into`, which appears complete or not at all. Raises NotFound.

        If the folder already holds this build, nothing is fetched.
        """
        ...

    def set_alias(self, ref: BuildRef, alias: str) -> None:
        """Point the alias at this build and at no other of the model. Raises NotFound."""
        ...

    def delete_alias(self, model: str, alias: str) -> None:
        """Remove the alias. Does nothing if it does not exist."""
        ...

    def set_tag(self, ref: BuildRef, key: str, value: str) -> None:
        """Write a tag of the build. Raises NotFound."""
        ...

    def transition_stage(self, ref: BuildRef, stage: str, *, archive_existing: bool) -> None:
        """Move the build to a stage. With `archive_existing`, builds in that stage go to Archived. Raises NotFound."""
        ...
