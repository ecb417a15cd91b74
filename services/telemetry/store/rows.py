"""Rows: how an exposure is kept in few bytes, and read back. Pure.

What many requests have in common is a kind, which is kept once and known by its hash, so that nobody has to look up
its number. A request id is mostly a UUID, which is 16 bytes and not 36; one that is a text of 16 bytes gets a NUL.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np
import orjson
import xxhash

from sluicegate.services.telemetry.tally.batch import Batch, groups, split_heads
from sluicegate.services.telemetry.tally.exposure import Exposure

Kind = tuple[Any, ...]
"""A row of the table of kinds, without its hash."""
_UUID, _UUID_BYTES = 36, 16
_DASHES = [8, 13, 18, 23]
_REMEMBERED = 4_096


def parted(batch: Batch, width: int) -> tuple[list[int], list[str | None], dict[int, Kind]]:
    """Of each request the number of its kind, and what is its own of the prediction summary; and the kinds."""
    heads, which, answers = split_heads(batch.predictions)
    numbers = np.empty(len(batch), np.int64)
    kinds: dict[int, Kind] = {}
    for (place, head), rows in groups(batch.kind, which):
        each = batch.kinds[place]
        kind = (*each[2:7], width, *each[8:12], *each[13:15], each.attempts, heads[head])
        number = _number_of(kind)
        kinds[number] = kind
        numbers[rows] = number
    return numbers.tolist(), answers, kinds


@lru_cache(maxsize=_REMEMBERED)
def _number_of(kind: Kind) -> int:
    """The number under which a kind is kept: 64 bits of hash, signed."""
    number = xxhash.xxh64_intdigest(orjson.dumps(kind))
    return number - (1 << 64) if number >> 63 else number


def all_packed(rids: Sequence[str | None]) -> list[bytes | None]:
    """Request ids as they are kept; those of a log are mostly UUIDs, which are packed together."""
    if not all(rid is not None and len(rid) == _UUID for rid in rids):
        return [packed(rid) for rid in rids]
    digits = "".join(rids).replace("-", "")  # type: ignore[arg-type]
    try:
        raw = bytes.fromhex(digits)
    except ValueError:
        raw = b""
    spelled = np.frombuffer("".join(rids).encode(), np.uint8).reshape(-1, _UUID) if raw else None  # type: ignore[arg-type]
    if spelled is None or raw.hex() != digits or not (spelled[:, _DASHES] == ord("-")).all():
        return [packed(rid) for rid in rids]
    return [raw[start : start + _UUID_BYTES] for start in range(0, len(raw), _UUID_BYTES)]


def packed(rid: str | None) -> bytes | None:
    """A request id as it is kept."""
    if rid is None:
        return None
    if len(rid) == _UUID:
        try:
            raw = bytes.fromhex(rid.replace("-", ""))
        except ValueError:
            raw = b""
        if len(raw) == _UUID_BYTES and _spelled(raw) == rid:
            return raw
    text = rid.encode()
    return text + b"\0" if len(text) == _UUID_BYTES else text


def unpacked(rid: bytes | None) -> str | None:
    """The request id that `packed` packed."""
    if rid is None:
        return None
    return _spelled(rid) if len(rid) == _UUID_BYTES else bytes(rid).rstrip(b"\0").decode()


def exposure_of(row: Sequence[Any]) -> Exposure:
    """The exposure that a row of the table and its kind hold, in the order of `segments.COLUMNS`."""
    (
        rid, at, unit, duration, answer, slices, model, variation, audience, rollout, epoch, width, weight, arm,
        assigned, served, status, failed, attempts, head,
    ) = row  # fmt: skip
    second = at // 1_000_000
    return Exposure(
        unpacked(rid), at, model, variation, audience, rollout, epoch, second - second % width, weight, arm, assigned,
        served, unit, status, failed, duration, attempts, summary_of(head, answer), slices,
    )  # fmt: skip


def summary_of(head: str, answer: str | None) -> str | None:
    """A prediction summary in one piece."""
    return None if answer is None else head + answer


def _spelled(raw: bytes) -> str:
    digits = raw.hex()
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"
