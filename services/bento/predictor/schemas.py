"""JSON Schemas of requests and answers, for the service's own page and BentoML's client."""

from __future__ import annotations

from typing import Any

from .scalars import json_type

_ANY: dict[str, Any] = {}


def request_schema(inputs: list[dict[str, Any]] | None, params: list[dict[str, Any]]) -> dict[str, Any]:
    """The schema of a request's body."""
    properties: dict[str, Any] = {"inputs": _rows(inputs)}
    if params:
        fields = {spec["name"]: json_type(spec.get("type", "")) for spec in params}
        properties["params"] = {"type": "object", "properties": fields, "additionalProperties": False}
    return {"title": "Request", "type": "object", "properties": properties, "required": ["inputs"]}


def answer_schema(outputs: list[dict[str, Any]] | None) -> dict[str, Any]:
    """The schema of an answer's body."""
    return {"title": "Answer", **_rows(outputs)}


def _rows(specs: list[dict[str, Any]] | None) -> dict[str, Any]:
    if not specs:
        return {"type": "array", "items": _ANY}
    if specs[0]["type"] == "tensor":
        if "name" in specs[0]:
            return {"type": "object", "properties": {spec["name"]: _tensor(spec) for spec in specs}}
        return _tensor(specs[0])
    if "name" not in specs[0]:
        return {"type": "array", "items": json_type(specs[0]["type"]) if len(specs) == 1 else _ANY}
    row = {
        "type": "object",
        "properties": {spec["name"]: json_type(spec["type"]) for spec in specs},
        "required": [spec["name"] for spec in specs if spec.get("required", True)],
        "additionalProperties": False,
    }
    return {"type": "array", "items": row, "minItems": 1}


def _tensor(spec: dict[str, Any]) -> dict[str, Any]:
    tensor = spec["tensor-spec"]
    schema: dict[str, Any] = {"type": "number"} if tensor["dtype"][0] in "fiu" else _ANY
    for length in reversed(tensor["shape"]):
        schema = {"type": "array", "items": schema}
        if length >= 0:
            schema |= {"minItems": length, "maxItems": length}
    return schema
