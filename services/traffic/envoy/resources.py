"""Building blocks of Envoy's configuration. Pure."""

from __future__ import annotations

from pathlib import Path

from sluicegate.registry.words.build import slug

Resource = dict[str, object]
TYPES = "type.googleapis.com/"


def envoy_type(name: str) -> str:
    """The type URL of a message, such as `envoy.config.cluster.v3.Cluster`."""
    return TYPES + name


def message(kind: str, **fields: object) -> Resource:
    """A message with its type."""
    return {"@type": envoy_type(kind), **fields}


def extension(name: str, kind: str, **fields: object) -> Resource:
    """An extension of Envoy by name, with its configuration."""
    return {"name": name, "typed_config": message(kind, **fields)}


def seconds(value: float) -> str:
    """A protobuf duration."""
    return f"{value:.3f}s"


def address(host: str, port: int) -> Resource:
    return {"socket_address": {"address": host, "port_value": port}}


def pipe(path: str) -> Resource:
    return {"pipe": {"path": path}}


def watched(path: Path) -> Resource:
    """A configuration source that Envoy reads again whenever the file is replaced."""
    return {"path_config_source": {"path": str(path)}, "resource_api_version": "V3"}


def header_is(name: str, text: str) -> Resource:
    """Matches if the header has exactly this value."""
    return {"name": name, "string_match": {"exact": text}}


def header_matches(name: str, pattern: str) -> Resource:
    """Matches if the header's whole value matches this RE2 pattern."""
    return {"name": name, "string_match": {"safe_regex": {"regex": pattern}}}


def host_is(model: str) -> Resource:
    """Matches requests for the model's own host name, `<model>.…`."""
    return {"name": ":authority", "string_match": {"prefix": f"{slug(model)}.", "ignore_case": True}}


def set_header(name: str, value: str, *, keep_empty: bool = True) -> Resource:
    """Sets the header, replacing any former value. `value` is in Envoy's format language."""
    return {
        "header": {"key": name, "value": value},
        "append_action": "OVERWRITE_IF_EXISTS_OR_ADD",
        "keep_empty_value": keep_empty,
    }


def literal(text: str) -> str:
    """Escapes a text for Envoy's format language."""
    return text.replace("%", "%%")


def answer(status: int, body: str) -> Resource:
    """An answer that the gateway gives itself."""
    return {"status": status, "body": {"inline_string": body}}
