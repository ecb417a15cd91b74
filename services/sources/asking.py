"""Runs an external gate's query at its source. Returns a number or the reason for having none; raises nothing."""

from __future__ import annotations

from collections.abc import Mapping

from sluicegate.registry.plan.external import ExternalGate
from sluicegate.registry.plan.placeholders import fill_path, fill_promql
from sluicegate.registry.words.errors import SluiceError
from sluicegate.registry.words.sample import Lacking, Measured, Reading
from sluicegate.services.sources.http_json import ask_http
from sluicegate.services.sources.no_number import NoNumber
from sluicegate.services.sources.prometheus import ask_prometheus
from sluicegate.services.sources.source import ExternalSource, read_source
from sluicegate.services.sources.sql import ask_sql

SECONDS = 10.0
"""The time limit of a query, including connecting."""


def ask_source(
    gate: ExternalGate, values: Mapping[str, str], environment: Mapping[str, str], seconds: float = SECONDS
) -> Reading:
    """Run the gate's query with `values` for its placeholders; the sources are defined in `environment`."""
    try:
        return _ask(gate, values, read_source(gate.source, environment), seconds)
    except NoNumber as error:
        return Lacking(reason=str(error))
    except SluiceError as error:
        return Lacking(reason=error.message)


def _ask(gate: ExternalGate, values: Mapping[str, str], source: ExternalSource, seconds: float) -> Measured:
    is_http = gate.sql is None
    if is_http != source.speaks_http:
        raise NoNumber(
            f"it is {'an HTTP server' if source.speaks_http else 'a database'}, but the gate's question is for "
            "the other kind"
        )
    if gate.promql is not None:
        return ask_prometheus(source, fill_promql(gate.promql, values), seconds)
    if gate.sql is not None:
        return ask_sql(source, gate.sql, values, seconds)
    if gate.http is not None:
        return ask_http(source, gate.http, fill_path(gate.http.path, values), seconds)
    raise NoNumber("the gate has no question")
