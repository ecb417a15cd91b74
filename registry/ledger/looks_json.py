"""Looks as JSON text and back, bit for bit, so that a verdict can be replayed from what was stored."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC
from functools import cache, lru_cache

from pydantic import TypeAdapter
from pydantic_core import to_json

from sluicegate.registry.words.verdict import Look


def look_to_json(look: Look) -> str:
    """The look as one line of JSON. Floats keep every bit; infinities and NaN, which JSON lacks, are strings."""
    return to_json(look, inf_nan_mode="strings").decode()


@lru_cache(maxsize=512)
def look_from_json(text: str) -> Look:
    """The look that `look_to_json` wrote. Cached, because every tick reads all looks of its rollout."""
    look = _adapter().validate_json(text)
    return replace(look, at=look.at.astimezone(UTC))


@cache
def _adapter() -> TypeAdapter[Look]:
    return TypeAdapter(Look)
