"""Packer: packs a registered model's files into a bento, in a separate subprocess, once for each content."""

from __future__ import annotations

import hashlib
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Collection
from contextlib import AbstractContextManager
from dataclasses import replace
from datetime import datetime
from importlib import metadata
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from sluicegate.registry.plan.fields import Serve, ServeEnv
from sluicegate.registry.rollout.facts import Packed
from sluicegate.registry.words.build import Build, slug
from sluicegate.registry.words.errors import PackFailed
from sluicegate.registry.words.launching import Stage
from sluicegate.services.bento.digests import tree_digest
from sluicegate.services.bento.model_files import described_in, own_needs
from sluicegate.services.bento.process_environment import bare_environment
from sluicegate.services.bento.requirements import Requirements, conflicts
from sluicegate.services.bento.store import BentoStore
from sluicegate.services.bento.stores.shared import SharedStore
from sluicegate.services.bento.virtual_environments import VirtualEnvironments
from sluicegate.services.locking import locked

PREDICTOR = Path(__file__).parent / "predictor"
_PACKING_JOB = Path(__file__).parent / "packing_job.py"
_PACK_SECONDS = 600


class Packer:
    """Packs builds into the bento store of one folder."""

    def __init__(
        self,
        home: Path,
        *,
        clock: Callable[[], datetime],
        predictor: Path = PREDICTOR,
        shared: SharedStore | None = None,
    ) -> None:
        """`shared`: the store from which other machines get the bentos; None if they stay in `home`."""
        self.store = BentoStore(home / "store")
        self.environments = VirtualEnvironments(home / "envs")
        self._locks = home / "locks"
        self._drafts = home / "drafts"
        self._clock = clock
        self._predictor = predictor
        self._shared = shared

    def pack(
        self, build: Build, model_path: Path, *, serve: Serve, note: Callable[[Stage], None] = lambda _: None
    ) -> Packed:
        """Pack the MLflow model in `model_path`, or reuse a bento with the same content.

        Raises PackFailed, and StoreUnavailable if the packed bento cannot be shared; packing again then only shares it.

        Calls `note` at the start of each stage.
        """
        described = described_in(model_path)
        note(Stage.ENVIRONMENT)
        env = self._environment(model_path, described, serve)
        note(Stage.PACKING)
        model_digest = tree_digest(model_path)
        identity = _identity(build, described)
        content = json.dumps([model_digest, tree_digest(self._predictor), identity], sort_keys=True)
        tag = f"{slug(build.ref.model)}:v{slug(build.ref.version)}-{hashlib.sha256(content.encode()).hexdigest()[:16]}"
        with self._locked(tag):
            packed = self._reusable(tag, model_digest)
            if packed is None:
                self._run(tag, model_path, identity)
                self._assert_right_model(tag)
                packed = self._packed(tag, model_digest)
            used = replace(packed, env=env)
            self.store.record(used)
            self.store.touch(tag, self._clock())
            self.environments.touch(env, self._clock())
        if self._shared is not None:
            note(Stage.STORING)
            self._shared.put(used, self.store, self._clock())
        return used

    def verify(self, tag: str, *, bento_digest: str, model_digest: str) -> None:
        """Raise PackFailed unless the stored bento and model are those that were packed."""
        self.store.verify(tag, bento_digest=bento_digest, model_digest=model_digest)

    def clean(self, keep: Collection[str], now: datetime, *, unused_days: float = 14.0) -> tuple[str, ...]:
        """Delete bentos and environments that are not in `keep` and unused for `unused_days`. Returns their names.

        `keep` holds the tags and environments of everything that may still be served. Also deletes what interrupted
        packing left behind.
        """
        oldest = now.timestamp() - unused_days * 86_400
        used = [(tag, self.store.used_at(tag)) for tag in self.store.tags()]
        bentos = [tag for tag, at in (*used, *self.store.unrecorded()) if tag not in keep and at < oldest]
        for tag in bentos:
            with self._locked(tag):
                self.store.remove(tag)
        with self._locked("environments"):
            environments = [
                env for env in self.environments.names() if env not in keep and self.environments.used_at(env) < oldest
            ]
            for env in environments:
                self.environments.remove(env)
        for draft in self._drafts.glob("*"):
            if draft.stat().st_mtime < oldest:
                shutil.rmtree(draft, ignore_errors=True)
        return (*bentos, *environments)

    def _environment(self, model_path: Path, described: dict[str, Any], serve: Serve) -> str:
        requirements = Requirements.read(model_path)
        match serve.env:
            case ServeEnv.PROJECT:
                conflicting = conflicts(requirements, _installed, platform.python_version())
                if conflicting:
                    raise PackFailed(
                        "the model's requirements conflict with this environment:\n"
                        + "\n".join(f"  {conflict}" for conflict in conflicting),
                        fix="Set `serve.env: isolated` in the plan, or log the model with this environment's versions.",
                    )
                return ServeEnv.PROJECT.value
            case ServeEnv.ISOLATED:
                with self._locked("environments"):
                    return self.environments.ensure(requirements, own_needs(described))

    def _reusable(self, tag: str, model_digest: str) -> Packed | None:
        recorded = self.store.recorded(tag)
        if recorded is None or recorded.model_digest != model_digest:
            return None
        try:
            self.store.verify(tag, bento_digest=recorded.bento_digest, model_digest=recorded.model_digest)
        except PackFailed:
            self.store.forget(tag)
            return None
        return recorded

    def _run(self, tag: str, model_path: Path, identity: dict[str, Any]) -> None:
        self.store.home.mkdir(parents=True, exist_ok=True)
        self._drafts.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=self._drafts) as folder:
            context = Path(folder)
            include = self._write_context(context, {**identity, "bento_model": tag})
            job = {
                "tag": tag,
                "model_path": str(model_path.resolve()),
                "context": folder,
                "include": include,
                "requirements": Requirements.read(model_path).lines,
                "labels": {"sluice.build": slug(identity["model"]), "sluice.version": slug(identity["version"])},
            }
            done = subprocess.run(
                [sys.executable, "-P", str(_PACKING_JOB)],
                input=json.dumps(job),
                env=bare_environment(os.environ) | {"BENTOML_HOME": str(self.store.home)},
                capture_output=True,
                text=True,
                timeout=_PACK_SECONDS,
                check=False,
            )
        if done.returncode:
            tail = "\n".join(done.stderr.strip().splitlines()[-15:])
            raise PackFailed(f"BentoML could not build {tag}:\n{tail}")

    def _write_context(self, context: Path, identity: dict[str, Any]) -> list[str]:
        """Write the build context: the predictor and the identity of the build. Returns its files."""
        shutil.copytree(self._predictor, context / "predictor", ignore=shutil.ignore_patterns("__pycache__"))
        (context / "predictor" / "bento.json").write_text(json.dumps(identity, indent=2, sort_keys=True) + "\n")
        return sorted(path.relative_to(context).as_posix() for path in context.rglob("*") if path.is_file())

    def _assert_right_model(self, tag: str) -> None:
        manifest = YAML(typ="safe").load(self.store.bento(tag) / "bento.yaml")
        models = {str(model["tag"]) for service in manifest["services"] for model in service.get("models", ())}
        if models != {tag}:
            raise PackFailed(f"bento {tag} was built with the models {sorted(models)}.", fix="Report this as a defect.")

    def _packed(self, tag: str, model_digest: str) -> Packed:
        bento_digest, stored_model = self.store.digests(tag)
        if stored_model != model_digest:
            raise PackFailed(f"the model of {tag} changed while it was packed.", fix="Pack it again.")
        return Packed(bento=tag, bento_digest=bento_digest, model_digest=model_digest)

    def _locked(self, name: str) -> AbstractContextManager[None]:
        """Lock a tag, so that one process at a time packs it."""
        return locked(self._locks, name)


def _identity(build: Build, described: dict[str, Any]) -> dict[str, Any]:
    """What the predictor must know: the build that it serves, and its signature."""
    recorded = described.get("signature") or {}
    parts = {
        part: json.loads(recorded[part]) if recorded.get(part) else None for part in ("inputs", "outputs", "params")
    }
    signature = {**parts, "params": parts["params"] or []}
    return {"model": build.ref.model, "version": build.ref.version, "signature": signature}


def _installed(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None
