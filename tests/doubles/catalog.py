"""A catalog in memory: for tests, simulations and what needs no MLflow."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from threading import RLock

from sluicegate.registry.catalog.naming import age, missing, named
from sluicegate.registry.words.build import Build, BuildRef
from sluicegate.registry.words.errors import CatalogUnavailable, NotFound

STAGES = ("None", "Staging", "Production", "Archived")


class MemoryCatalog:
    """A Catalog for one process. `reachable = False` makes every call raise CatalogUnavailable."""

    def __init__(self) -> None:
        self._lock = RLock()
        self._builds: dict[BuildRef, Build] = {}
        self._files: dict[BuildRef, Path] = {}
        self.runs: dict[str, dict[str, float]] = {}
        self.reachable = True

    def register(
        self, model: str, *, files: Path | None = None, signature: Mapping[str, object] | None = None,
        run: str | None = None,
    ) -> BuildRef:  # fmt: skip
        """Add the next version of a model, made by a run."""
        with self._lock:
            ref = BuildRef(model=model, version=str(len(self._of(model)) + 1))
            known = dict(signature) if signature is not None else None
            self._builds[ref] = Build(ref=ref, source=f"memory:{model}/{ref.version}", signature=known, run=run)
            if files is not None:
                self._files[ref] = files
            return ref

    def models(self) -> tuple[str, ...]:
        with self._reached():
            return tuple(sorted({ref.model for ref in self._builds}))

    def build(self, ref: BuildRef) -> Build:
        with self._reached():
            if ref not in self._builds:
                raise missing(ref)
            return self._builds[ref]

    def builds(self, model: str) -> tuple[Build, ...]:
        with self._reached():
            return tuple(replace(build, signature=None) for build in self._of(model))

    def resolve(self, model: str, name: str) -> BuildRef:
        return named(model, name, self.builds(model), self.models)

    def snapshot(self, models: Iterable[str]) -> dict[str, tuple[Build, ...]]:
        return {model: self.builds(model) for model in models}

    def run_metrics(self, run: str) -> Mapping[str, float]:
        with self._reached():
            if run not in self.runs:
                raise NotFound(f"the run {run} is not there.")
            return dict(self.runs[run])

    def fetch(self, ref: BuildRef, into: Path) -> Path:
        with self._reached():
            self.build(ref)
            if not into.exists():
                shutil.copytree(self._files[ref], into)
            return into

    def set_alias(self, ref: BuildRef, alias: str) -> None:
        with self._reached():
            self.build(ref)
            self.delete_alias(ref.model, alias)
            build = self._builds[ref]
            self._builds[ref] = replace(build, aliases=build.aliases | {alias})

    def delete_alias(self, model: str, alias: str) -> None:
        with self._reached():
            for build in self._of(model):
                self._builds[build.ref] = replace(build, aliases=build.aliases - {alias})

    def set_tag(self, ref: BuildRef, key: str, value: str) -> None:
        with self._reached():
            build = self.build(ref)
            self._builds[ref] = replace(build, tags={**build.tags, key: value})

    def transition_stage(self, ref: BuildRef, stage: str, *, archive_existing: bool) -> None:
        with self._reached():
            self.build(ref)
            for build in self._of(ref.model):
                if archive_existing and build.stage == stage and build.ref != ref:
                    self._builds[build.ref] = replace(build, stage="Archived")
            self._builds[ref] = replace(self._builds[ref], stage=stage)

    def _of(self, model: str) -> list[Build]:
        return sorted((build for build in self._builds.values() if build.ref.model == model), key=age)

    def _reached(self) -> RLock:
        if not self.reachable:
            raise CatalogUnavailable("the catalog was made unreachable.")
        return self._lock
