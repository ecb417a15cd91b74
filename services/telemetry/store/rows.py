"""Rows: the compact storage format of an exposure. Pure.

The part that many requests have in common is a kind. It is stored once under its hash, so that its number needs no
lookup. A request id is usually a UUID and takes 16 bytes instead of 36; a text id of 16 bytes gets a trailing NUL.
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
    """The number of each request's kind, each request's own part of the prediction summary, and the kinds by number."""
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
    """The number of a kind: its hash as a signed 64-bit integer."""
    number = xxhash.xxh64_intdigest(orjson.dumps(kind))
    return number - (1 << 64) if number >> 63 else number


def all_packed(rids: Sequence[str | None]) -> list[bytes | None]:
    """Request ids in the storage format. Ids in a log are usually all UUIDs, which are packed in one step."""
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
    """A request id in the storage format."""
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
    """The request id from the storage format; the inverse of `packed`."""
    if rid is None:
        return None
    return _spelled(rid) if len(rid) == _UUID_BYTES else bytes(rid).rstrip(b"\0").decode()


def exposure_of(row: Sequence[Any]) -> Exposure:
    """The exposure in a row joined with its kind, in the order of `segments.COLUMNS`."""
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
    """The whole prediction summary."""
    return None if answer is None else head + answer


def _spelled(raw: bytes) -> str:
    digits = raw.hex()
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"
