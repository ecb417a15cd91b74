"""The OpenAPI 3.1 document of the console's API, made from its operations. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from pydantic.json_schema import models_json_schema

from sluicegate.services.console.operations import Nothing, Operation

_REFERENCE = "#/components/schemas/{model}"
_PROBLEMS = {
    "400": "The host in the request is not one that the console answers to.",
    "401": "The token is missing or not valid.",
    "403": "The token's role does not allow it.",
    "404": "Not found.",
    "409": "The present state does not allow it.",
    "412": "The rollout has changed since its entity tag was read.",
    "422": "The request is malformed.",
    "429": "Too many wrong tokens were sent; Retry-After says how long to wait.",
    "503": "A server that is needed does not answer.",
}


def document(operations: Iterable[Operation], *, version: str) -> dict[str, Any]:
    """The whole document; `version` is the package's."""
    operations = tuple(operations)
    takes = sorted({it.takes for it in operations if it.takes is not Nothing}, key=lambda model: model.__name__)
    _, schemas = models_json_schema([(model, "validation") for model in takes], ref_template=_REFERENCE)
    paths: dict[str, dict[str, Any]] = {}
    for operation in operations:
        paths.setdefault(operation.path, {})[operation.method.lower()] = _operation(operation)
    return {
        "openapi": "3.1.0",
        "info": {"title": "Sluicegate", "version": version, "description": "Everything that `sluice` does."},
        "paths": paths,
        "components": {
            "schemas": {"Problem": _PROBLEM, **schemas.get("$defs", {})},
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
        "security": [{"token": []}],
    }


def _operation(it: Operation) -> dict[str, Any]:
    entry: dict[str, Any] = {
        "operationId": _name(it),
        "summary": it.summary,
        "description": f"Needs the role {it.role.name.lower()}.",
        "parameters": [*_path_parameters(it), *_query_parameters(it), *_header_parameters(it)],
        "responses": {
            **{str(status): {"description": words, "content": _JSON} for status, words in it.gives.items()},
            **{status: _problem(words) for status, words in _PROBLEMS.items()},
        },
    }
    if it.takes is not Nothing:
        schema = {"$ref": _REFERENCE.format(model=it.takes.__name__)}
        entry["requestBody"] = {"required": True, "content": {"application/json": {"schema": schema}}}
    return entry


def _name(it: Operation) -> str:
    words = [word for word in re.split(r"[^a-z0-9]+", it.path.lower()) if word]
    return "_".join((it.method.lower(), *words))


def _path_parameters(it: Operation) -> list[dict[str, Any]]:
    names = re.findall(r"\{(\w+)\}", it.path)
    return [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string", "minLength": 1}} for name in names
    ]


def _query_parameters(it: Operation) -> list[dict[str, Any]]:
    dry_run = {} if it.method == "GET" else {"dry_run": "1: show what would be appended, but append nothing."}
    return [
        {"name": name, "in": "query", "required": False, "description": words, "schema": {"type": "string"}}
        for name, words in {**it.query, **dry_run}.items()
    ]


def _header_parameters(it: Operation) -> list[dict[str, Any]]:
    if it.method == "GET":
        return []
    names = {
        "Idempotency-Key": "A call with the same key within a day gets the first answer again and does nothing.",
        "If-Match": "The ETag of the rollout or the connections; the order is refused if they have changed since.",
    }
    return [
        {"name": name, "in": "header", "required": False, "description": words, "schema": {"type": "string"}}
        for name, words in names.items()
    ]


_JSON = {"application/json": {"schema": {"type": "object"}}}
_PROBLEM = {
    "type": "object",
    "description": "RFC 9457.",
    "required": ["title", "detail", "status"],
    "properties": {
        "title": {"type": "string"},
        "detail": {"type": "string"},
        "status": {"type": "integer"},
        "fix": {"type": "string", "description": "What to do about it."},
        "errors": {"type": "array", "items": {"type": "object"}, "description": "Errors of a document, with places."},
    },
}


def _problem(words: str) -> dict[str, Any]:
    schema = {"$ref": _REFERENCE.format(model="Problem")}
    return {"description": words, "content": {"application/problem+json": {"schema": schema}}}
