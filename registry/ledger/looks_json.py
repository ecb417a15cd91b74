"""Looks as JSON text and back, bit for bit: a verdict must be replayable from what was stored."""

from __future__ import annotations

import dataclasses
import json
import math
from datetime import UTC, datetime

from sluicegate.registry.words.metric import Arm, Stratum, TallyRow
from sluicegate.registry.words.tally import Tally, UnitSums
from sluicegate.registry.words.verdict import Answer, Look, Verdict


def look_to_json(look: Look) -> str:
    """The look as one line of JSON. Floats keep every bit; infinities and NaN are written as text."""
    body = {
        "rollout": look.rollout,
        "metric": look.metric,
        "k": look.k,
        "step": look.step,
        "at": look.at.astimezone(UTC).isoformat(),
        "watermark": look.watermark,
        "rows": [_row_out(row) for row in look.rows],
        "verdict": verdict_to_values(look.verdict),
    }
    return json.dumps(body, separators=(",", ":"), allow_nan=False)


def look_from_json(text: str) -> Look:
    """The look that `look_to_json` wrote."""
    body = json.loads(text)
    return Look(
        rollout=body["rollout"],
        metric=body["metric"],
        k=body["k"],
        step=body["step"],
        at=datetime.fromisoformat(body["at"]),
        watermark=body["watermark"],
        rows=tuple(_row_in(row) for row in body["rows"]),
        verdict=verdict_from_values(body["verdict"]),
    )


def verdict_to_values(verdict: Verdict) -> dict[str, object]:
    """The verdict's fields as JSON values."""
    values = dataclasses.asdict(verdict)
    values["ruled_out"] = [_out(margin) for margin in verdict.ruled_out]
    return {name: _out(value) for name, value in values.items()}


def verdict_from_values(values: dict[str, object]) -> Verdict:
    """The verdict that `verdict_to_values` wrote."""
    read = {name: value if name in _TEXTS else _in(value) for name, value in values.items()}
    ruled_out = tuple(_in(margin) for margin in values["ruled_out"])  # type: ignore[attr-defined]
    return Verdict(**read | {"answer": Answer(read["answer"]), "ruled_out": ruled_out})  # type: ignore[arg-type]


_TEXTS = frozenset({"metric", "answer", "reason"})
_TALLY = len(Tally._fields)
_SPECIAL = {"inf": math.inf, "-inf": -math.inf, "nan": math.nan}


def _row_out(row: TallyRow) -> list[object]:
    units = [] if row.units is None else [[_out(value) for value in row.units]]
    return [
        row.metric, row.stratum.epoch, row.stratum.bucket, row.weight, row.arm.value, *map(_out, row.tally), *units
    ]  # fmt: skip


def _row_in(values: list[object]) -> TallyRow:
    metric, epoch, bucket, weight, arm, *sums = values
    units = [UnitSums(*map(_in, each)) for each in sums[_TALLY:]]  # type: ignore[call-overload]
    return TallyRow(
        metric=metric,  # type: ignore[arg-type]
        stratum=Stratum(epoch=epoch, bucket=bucket),  # type: ignore[arg-type]
        weight=weight,  # type: ignore[arg-type]
        arm=Arm(str(arm)),
        tally=Tally(*map(_in, sums[:_TALLY])),  # type: ignore[arg-type]
        units=units[0] if units else None,
    )


def _out(value: object) -> object:
    """JSON has no infinities: they travel as text."""
    return value if not isinstance(value, float) or math.isfinite(value) else repr(value)


def _in(value: object) -> object:
    return _SPECIAL.get(value, value) if isinstance(value, str) else value
