"""A deployment in the YAML of Qwak (JFrog ML): a build, its variation, and who is routed where. Pure.

Audiences are read as in Qwak's audience files. One without conditions refers to an audience that is already applied, by
its name, or by its id if it has no name. Keys about machines belong in a plan here, so they are only noted.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sluicegate.registry.audience.qwak import Fields, QwakAudience, Reading
from sluicegate.registry.words.yaml_text import Path, Text

_PLAN = "set it in the plan, under serve:"
_PLACE = "each Sluicegate installation is one environment: remove it"
_ASIDE = (
    "resources", "auto_scaling", "advanced_options", "timeout", "workers", "server_workers", "daemon_mode",
    "max_batch_size", "deployment_timeout",
)  # fmt: skip
"""Keys about the machines of a service. They do not affect who gets which build."""
_ELSEWHERE = {
    "stream": "only realtime deployments are read", "batch": "only realtime deployments are read",
    "environments": _PLACE, "environment": _PLACE, "env_vars": _PLAN, "variations": "write audiences: with routes:",
}  # fmt: skip
"""Keys that Sluicegate does not support, each with what to do instead."""
_DOCUMENT = ("model_id", "build_id", "realtime")
_REALTIME = ("variation_name", "audiences", "fallback_variation", "variation_protected_state")
_PROTECTED = "variation_protected_state"


@dataclass(frozen=True, kw_only=True)
class QwakDeployment:
    """The content of such a file; None where it has no value."""

    model: str | None = None
    build: str | None = None
    variation: str | None = None
    fallback: str | None = None
    audiences: tuple[QwakAudience, ...] = ()
    protected: bool | None = None
    aside: tuple[str, ...] = ()
    """Qwak's keys that change nothing here."""


def read_deployment(text: Text) -> QwakDeployment:
    """Read the deployment of a Qwak text. Problems are noted in the text."""
    reading = Reading(text)
    known = (*_ASIDE, *_ELSEWHERE)
    document = reading.mapping(text.values, (), (*_DOCUMENT, *known))
    if "realtime" not in document and isinstance(text.values, dict):
        text.add((), "realtime is missing", "write realtime: and under it variation_name:")
    values, at = document.get("realtime", ({}, ()))
    realtime = reading.mapping({} if values is None else values, at, (*_REALTIME, *known))
    for fields in (document, realtime):
        _refuse_elsewhere(text, fields)
    audiences = tuple(_audiences(reading, realtime))
    _refuse_twice(text, audiences)
    return QwakDeployment(
        model=_name(text, document, "model_id"),
        build=_name(text, document, "build_id"),
        variation=_name(text, realtime, "variation_name"),
        fallback=_name(text, realtime, "fallback_variation"),
        audiences=audiences,
        protected=_flag(text, realtime, _PROTECTED),
        aside=tuple(key for key in _ASIDE if key in document or key in realtime),
    )


def _refuse_elsewhere(text: Text, fields: Fields) -> None:
    for key, fix in _ELSEWHERE.items():
        if key in fields and fields[key][0]:
            text.add(fields[key][1], f"Sluicegate cannot use Qwak's key {key}", fix)


def _audiences(reading: Reading, realtime: Fields) -> list[QwakAudience]:
    read = (reading.audience(value, at) for value, at in reading.items(*realtime.get("audiences", (None, ()))))
    return [audience for audience in read if audience is not None]


def _refuse_twice(text: Text, audiences: tuple[QwakAudience, ...]) -> None:
    """Refuse repeated audiences, repeated routes, shadows above 100 %, and audiences that nobody answers."""
    names = [each.audience.name for each in audiences]
    for place, each in enumerate(audiences):
        if each.audience.name in names[:place]:
            text.add(each.at, f"the audience {each.audience.name} is named twice", "keep one of them")
        routes = [(route.variation, route.shadow) for route in each.routes]
        twice = sorted({variation for variation, shadow in routes if routes.count((variation, shadow)) > 1})
        if twice:
            text.add((*each.at, "routes"), f"{', '.join(twice)}: named twice", "name each variation once")
        if not any(route.weight for route in each.routes if not route.shadow):
            fix = "give a route without shadow: true a weight above 0: a shadow gets copies and answers no caller"
            text.add((*each.at, "routes"), f"the audience {each.audience.name} has no variation that answers", fix)
        for route in each.routes:
            if route.shadow and route.weight > 100:
                text.add(
                    (*each.at, "routes"),
                    f"{route.variation}: at most 100 % of the requests can be copied",
                    "such as weight: 20",
                )


def _flag(text: Text, fields: Fields, key: str) -> bool | None:
    value, at = fields.get(key, (None, ()))
    if value is None or isinstance(value, bool):
        return value
    text.add(at, "true or false is expected", f"{key}: true", on_value=True)
    return None


def _name(text: Text, fields: Fields, key: str) -> str | None:
    """A text, or a number as it was written; None if it is missing or empty."""
    value, at = fields.get(key, (None, ()))
    if value is None or value == "":
        return None
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        text.add(at, "a text is expected", f"such as {key}: fraud", on_value=True)
        return None
    return _written(text, value, at)


def _written(text: Text, value: Any, at: Path) -> str:
    return value if isinstance(value, str) else text.home(at).written.get(at, str(value))
