"""The bentos of this machine: their files, their digests, and their records."""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import asdict
from datetime import datetime
from pathlib import Path

from sluicegate.registry.rollout.facts import Packed
from sluicegate.registry.words.errors import PackFailed
from sluicegate.services import durable
from sluicegate.services.bento.digests import tree_digest

_REPACK = "Remove it with its model and pack the build again: `sluice rollout start` does so."


class BentoStore:
    """BentoML's store in one folder, with a record of each bento whose packing was completed."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self._records = home / "packed"

    def bento(self, tag: str) -> Path:
        """The folder of a bento's files."""
        return self.home / "bentos" / tag.replace(":", "/")

    def model(self, tag: str) -> Path:
        """The folder of the bento's MLflow model."""
        return self.home / "models" / tag.replace(":", "/") / "mlflow"

    def digests(self, tag: str) -> tuple[str, str]:
        """The present digests of the bento and of its model. Raises PackFailed if a part is missing."""
        bento, model = self.bento(tag), self.model(tag)
        about = model.parent / "model.yaml"
        for path in (bento, model, about):
            if not path.exists():
                raise PackFailed(f"bento {tag} is incomplete: {path} is missing.", fix=_REPACK)
        return tree_digest(bento, about), tree_digest(model)

    def verify(self, tag: str, *, bento_digest: str, model_digest: str) -> None:
        """Raise PackFailed unless the stored files are those that were packed."""
        for part, digest, wanted in zip(
            ("bento", "model"), self.digests(tag), (bento_digest, model_digest), strict=True
        ):
            if digest != wanted:
                raise PackFailed(
                    f"the {part} of {tag} was changed after it was packed: "
                    f"its digest is {digest[:12]} instead of {wanted[:12]}.",
                    fix=_REPACK,
                )

    def recorded(self, tag: str) -> Packed | None:
        """What was packed under this tag; None if packing was not completed."""
        try:
            return Packed(**json.loads(self._record(tag).read_text()))
        except (OSError, ValueError, TypeError):
            return None

    def record(self, packed: Packed) -> None:
        """Record that a bento is complete."""
        durable.replace(self._record(packed.bento), json.dumps(asdict(packed)))

    def adopt(self, packed: Packed, draft: BentoStore) -> None:
        """Move a complete bento here from a draft on the same disk, replacing a damaged one."""
        for target, source in (
            (self.bento(packed.bento), draft.bento(packed.bento)),
            (self.model(packed.bento).parent, draft.model(packed.bento).parent),
        ):
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.rmtree(target, ignore_errors=True)
            source.rename(target)
        self.record(packed)

    def tags(self) -> tuple[str, ...]:
        """Every recorded bento."""
        return tuple(sorted(path.stem.replace("@", ":") for path in self._records.glob("*.json")))

    def forget(self, tag: str) -> None:
        """Drop the record; the bento then counts as never packed."""
        self._record(tag).unlink(missing_ok=True)

    def used_at(self, tag: str) -> float:
        """When the bento was packed or last requested, in seconds since 1970."""
        return self._record(tag).stat().st_mtime

    def touch(self, tag: str, at: datetime) -> None:
        """Note that the bento was requested."""
        os.utime(self._record(tag), (at.timestamp(), at.timestamp()))

    def remove(self, tag: str) -> None:
        """Delete a bento and its model."""
        self.forget(tag)
        name, _, version = tag.partition(":")
        for store in ("bentos", "models"):
            shutil.rmtree(self.home / store / name / version, ignore_errors=True)
            latest = self.home / store / name / "latest"
            if latest.exists() and latest.read_text().strip() == version:
                latest.unlink()

    def unrecorded(self) -> tuple[tuple[str, float], ...]:
        """Bentos and models whose packing was not completed, and when it began."""
        recorded = set(self.tags())
        began = {
            f"{path.parent.name}:{path.name}": path.stat().st_mtime
            for store in ("bentos", "models")
            for path in self.home.glob(f"{store}/*/*")
            if path.is_dir()
        }
        return tuple((tag, at) for tag, at in sorted(began.items()) if tag not in recorded)

    def _record(self, tag: str) -> Path:
        return self._records / f"{tag.replace(':', '@')}.json"
