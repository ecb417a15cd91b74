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
    "401": "No token, or one that nobody gave.",
    "403": "The token's role does not allow it.",
    "404": "Not there.",
    "409": "The present state does not allow it.",
    "412": "The rollout has changed since its entity tag was read.",
    "422": "Not well formed.",
    "429": "Too many wrong tokens were shown; Retry-After says how long to wait.",
    "503": "A server that is needed does not answer.",
}


def document(operations: Iterable[Operation], *, version: str) -> dict[str, Any]:
    """The whole document; `version` is that of the package."""
    known = tuple(operations)
    takes = sorted({it.takes for it in known if it.takes is not Nothing}, key=lambda model: model.__name__)
    _, schemas = models_json_schema([(model, "validation") for model in takes], ref_template=_REFERENCE)
    paths: dict[str, dict[str, Any]] = {}
    for operation in known:
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
    described: dict[str, Any] = {
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
        described["requestBody"] = {"required": True, "content": {"application/json": {"schema": schema}}}
    return described


def _name(it: Operation) -> str:
    words = [word for word in re.split(r"[^a-z0-9]+", it.path.lower()) if word]
    return "_".join((it.method.lower(), *words))


def _path_parameters(it: Operation) -> list[dict[str, Any]]:
    names = re.findall(r"\{(\w+)\}", it.path)
    return [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string", "minLength": 1}} for name in names
    ]


def _query_parameters(it: Operation) -> list[dict[str, Any]]:
    tried = {} if it.method == "GET" else {"dry_run": "1: tell what would be appended, and append nothing."}
    return [
        {"name": name, "in": "query", "required": False, "description": words, "schema": {"type": "string"}}
        for name, words in {**it.query, **tried}.items()
    ]


def _header_parameters(it: Operation) -> list[dict[str, Any]]:
    if it.method == "GET":
        return []
    names = {
        "Idempotency-Key": "The same key within a day gives the first answer again and does nothing twice.",
        "If-Match": "The ETag of the rollout or the connections; the order holds only while it is still right.",
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
        "errors": {"type": "array", "items": {"type": "object"}, "description": "A document's, each with its place."},
    },
}


def _problem(words: str) -> dict[str, Any]:
    schema = {"$ref": _REFERENCE.format(model="Problem")}
    return {"description": words, "content": {"application/problem+json": {"schema": schema}}}
