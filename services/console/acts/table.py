"""All operations of the API, without HTTP: the CLI calls the same acts when no console runs."""

from __future__ import annotations

import re
from urllib.parse import unquote

from sluicegate.registry.words.errors import NotFound
from sluicegate.services.console.acts import (
    audiences,
    captures,
    certified_plans,
    checks,
    documents,
    experiments,
    gateways,
    models,
    proposals,
    reports,
    rollouts,
    telemetry,
    tokens,
    variations,
)
from sluicegate.services.console.operations import Operation
from sluicegate.services.console.ports import Desk

_SUBJECTS = (
    rollouts,
    experiments,
    reports,
    models,
    variations,
    audiences,
    documents,
    proposals,
    telemetry,
    checks,
    certified_plans,
    captures,
    tokens,
    gateways,
)


def table(desk: Desk) -> tuple[Operation, ...]:
    """Every operation."""
    return tuple(operation for subject in _SUBJECTS for operation in subject.operations(desk))


def find(desk: Desk, method: str, path: str) -> tuple[Operation, dict[str, str]]:
    """The operation at a path, and the path's parameters. Raises NotFound."""
    for operation in table(desk):
        pattern = re.sub(r"\{(\w+)\}", r"(?P<\1>[^/]+)", operation.path)
        match = re.fullmatch(pattern, path)
        if match is not None and operation.method == method:
            return operation, {name: unquote(value) for name, value in match.groupdict().items()}
    raise NotFound(f"there is no call {method} {path}.")
