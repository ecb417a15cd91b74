"""Packing as a launch sees it: the packer's answer as the fact it becomes."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from sluicegate.registry.plan.fields import Serve
from sluicegate.registry.rollout.facts import Packed
from sluicegate.registry.words.build import Build

if TYPE_CHECKING:
    from sluicegate.services.bento.packer import Packer


class BentoPacking:
    """Packs with BentoML."""

    def __init__(self, packer: Packer) -> None:
        self._packer = packer

    def clean(self, keep: Collection[str], now: datetime) -> None:
        """Remove bentos and environments that are not kept and were not used for a while."""
        self._packer.clean(keep, now)

    def pack(self, build: Build, model_path: Path, *, serve: Serve) -> Packed:
        """The bento of a build as a fact. Raises PackFailed."""
        packed = self._packer.pack(build, model_path, serve=serve)
        return Packed(
            bento=packed.bento_tag,
            bento_digest=packed.bento_digest,
            model_digest=packed.model_digest,
            env=packed.env,
        )
