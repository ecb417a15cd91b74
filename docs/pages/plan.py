"""docs/reference/plan.md: every key of a plan with type, default and meaning, from the model that reads plans."""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum
from typing import Any

from docs.pages.tables import NOTICE, anchor, code, field_docs, summary, table
from sluicegate.registry.plan import external, fields, placement
from sluicegate.registry.plan import rules as plan_rules
from sluicegate.registry.plan.plan import Plan
from sluicegate.registry.plan.reading import json_schema
from sluicegate.registry.words.metric import Worse
from sluicegate.registry.words.units import format_duration, format_memory, format_share

_ORDER = (
    "Plan",
    "Trigger",
    "Serve",
    "Resources",
    "Placement",
    "Toleration",
    "Capture",
    "OfflineGate",
    "Replay",
    "Generate",
    "MetricSpec",
    "PredictionField",
    "GateSpec",
    "ExternalGate",
    "HttpValue",
    "Step",
    "Check",
    "Hook",
    "Confirm",
    "Shadow",
    "ExperimentSpec",
    "Deadline",
    "Blind",
    "Expect",
)
_NAMES = {
    "MetricSpec": "Metric",
    "PredictionField": "Prediction",
    "OfflineGate": "Offline gate",
    "GateSpec": "Gate and guardrail",
    "Confirm": "Confirmation",
    "ExternalGate": "External gate",
    "HttpValue": "Value of an HTTP answer",
    "ExperimentSpec": "Experiment",
}
_MODULES = (fields, external, placement)
_DURATION, _SHARE, _SIZE = "a duration such as", "a share with its per cent sign", "a size such as"


def page() -> str:
    """The whole page."""
    head = (
        f"{NOTICE}\n# Plan\n\n{summary(Plan)}\n\n"
        "A plan is YAML; `sluice validate -f FILE` checks it and `sluice schema plan` prints its JSON Schema for "
        "editors. An unknown key is an error with its place and a suggestion. "
        "[How to write one](../how-to/write-a-plan.md).\n\n"
        "- A **duration** is a number and a unit: `250ms`, `30s`, `10m`, `1h30m`, `3d`; whole milliseconds, "
        "at most 366 days.\n- A **share** has its sign: `5%`, `0.5%`.\n"
        "- A **size** is whole MiB or GiB, from 256MiB to 4096GiB: `512MiB`, `2GiB`.\n"
        "- A **weight** is per cent, with or without the sign, in steps of 0.01.\n"
    )
    return "\n".join((head, *(_section(name) for name in _ORDER), _rules()))


def models() -> dict[str, type]:
    """The parts of a plan that have keys, by class name."""
    return {name: _model(name) for name in _ORDER}


def _model(name: str) -> type:
    if name == "Plan":
        return Plan
    return next(found for module in _MODULES if (found := getattr(module, name, None)) is not None)


def _section(name: str) -> str:
    kind = _model(name)
    schema = json_schema(Plan, "plan")
    properties = schema["properties"] if name == "Plan" else schema["$defs"][name]["properties"]
    required = set(schema["required"] if name == "Plan" else schema["$defs"][name].get("required", ()))
    docs = field_docs(kind)
    rows = [
        (code(key), type_of(value), "required" if key in required else default_of(value), docs[key])
        for key, value in properties.items()
    ]
    head = "" if name == "Plan" else f"## {_title(name)}\n\n{summary(kind)}\n\n"
    return head + table(("key", "type", "default", "meaning"), rows)


def _title(name: str) -> str:
    return _NAMES.get(name, name)


def type_of(schema: dict[str, Any]) -> str:
    """The type of a key as people write it."""
    if schema.get("title") == "Weight":
        return "weight"
    if "$ref" in schema:
        return _named(schema["$ref"].rpartition("/")[2])
    if "anyOf" in schema:
        return " or ".join(dict.fromkeys(type_of(each) for each in schema["anyOf"] if each.get("type") != "null"))
    if "const" in schema or "enum" in schema:
        return ", ".join(code(each) for each in schema.get("enum", [schema.get("const")]))
    return _plain(schema)


def _plain(schema: dict[str, Any]) -> str:
    match schema.get("type"):
        case "array" if "prefixItems" in schema:
            return f"list of {len(schema['prefixItems'])}: {', '.join(type_of(each) for each in schema['prefixItems'])}"
        case "array":
            return f"list of {type_of(schema['items'])}"
        case "object":
            inner = next(iter(schema.get("patternProperties", {}).values()), None) or schema.get(
                "additionalProperties", {}
            )
            return f"name: {type_of(inner)}"
        case "string" if _mentions(schema, _DURATION) or schema.get("le") == 366 * 86_400:
            return "duration" + _bounds(schema)
        case "string" if _mentions(schema, _SHARE):
            return "share" + _bounds(schema)
        case "string" if _mentions(schema, _SIZE):
            return "size" + _bounds(schema)
        case "string":
            return "text"
        case "boolean":
            return "`true`, `false`"
        case kind:
            return f"{kind}{_bounds(schema)}"


def _named(name: str) -> str:
    kind = Worse if name == "Worse" else _model(name)
    if issubclass(kind, Enum):
        return ", ".join(code(member.value) for member in kind)
    return f"[{_title(name).lower()}](#{anchor(_title(name))})"


def _mentions(schema: dict[str, Any], text: str) -> bool:
    return text in str(schema.get("description", ""))


def _bounds(schema: dict[str, Any]) -> str:
    show = _form(schema)
    low = schema.get("minimum", schema.get("ge"))
    high = schema.get("maximum", schema.get("le") if schema.get("le") != 366 * 86_400 else None)
    above, below = schema.get("exclusiveMinimum", schema.get("gt")), schema.get("exclusiveMaximum", schema.get("lt"))
    bounds = [f"from {show(low)}"] if low is not None else [f"above {show(above)}"] if above is not None else []
    bounds += [f"to {show(high)}"] if high is not None else [f"and below {show(below)}"] if below is not None else []
    return f", {' '.join(bounds).removeprefix('and ')}" if bounds else ""


def _form(schema: dict[str, Any]) -> Callable[[float], str]:
    """How a bound is written."""
    if _mentions(schema, _SHARE):
        return format_share
    if _mentions(schema, _SIZE):
        return lambda value: format_memory(int(value))
    return format_duration if schema.get("type") == "string" else lambda value: f"{value:g}"


def default_of(schema: dict[str, Any]) -> str:
    """What holds where a key is left out."""
    value = schema.get("default")
    if value in (None, [], {}) or "default" not in schema:
        return "none"
    if isinstance(value, dict):
        return "as below"
    return code(str(value).lower() if isinstance(value, bool) else value)


def _rules() -> str:
    alpha = format_share(plan_rules.ALPHA_LIMIT)
    return f"""\
## Rules across keys

`sluice validate` refuses what has no effect, contradicts itself or makes no sense, and says how to fix it:

- Each metric is used by a gate or a guardrail, and by one of them only.
- Every gate has a margin at every step, its own or the step's, or `below`. A guardrail has no margin, `fresh` or beta.
- What was ruled out stays ruled out, but the last step is judged afresh: before a candidate is promoted, each gate must also pass on the requests
  of the last step alone. They must rule out the margin and half of it again (`margin: 20%`: a harm of 30%; of a latency's quantile the margin itself),
  or what `fresh` says, and show `below` once more. So a candidate that turned bad at the last step, by more than that, is promoted with a chance of
  beta at most, whatever it was before. `fresh: 1000%` asks for no more than some requests of both builds. A plan of one step has nothing to ask afresh.
- `below` is for rates of what goes wrong: status, latency quantiles, zero-one scores. As a time (`below: 300ms`) it is for a latency's quantile that has
  no margin, and not for a shadow; a guardrail of a shadow has none.
- The alphas of all gates and guardrails that decide add up to {alpha} at most; a rule that only watches (`mode: watch`) has no `then`.
- `then: pause` is for the gates and guardrails of a canary, not for those of a shadow or an experiment.
- A plan has `steps`, unless it switches all at once, or ends in the shadow (`strategy: shadow` and no `then: canary`): then it has none of what
  steps would use, `gates`, `guardrails` and `deadline` outside of `shadow`, and is never started as a canary.
- `strategy: blue-green` has no steps, and no `shadow`, `ab` or `confirm`; its gates and guardrails are limits (`below`) of status, contract and latency
  quantiles, for after the switch stable has no requests to compare with. Its `bake` is above 0, and below the deadline.
- An external gate has a name that no metric of a gate has, one of `promql`, `sql` and `http`, and `below`, `above` or both. It has no alpha, and where
  no other gate decides a person approves each step all the same. Placeholders stand inside quotes in PromQL, and without quotes in SQL.
- Weights rise from step to step and stay below 100; margins fall, or stay, from step to step.
- `score: log_loss` and `brier` name the `positive` outcome; a score with the metric's own name need not be written.
- `quantile`, `outcome`, `score`, `prediction`, `matures_after` and `cap` stand only where their source uses them. \
A mean latency needs a `cap`, a quantile needs none; outcomes without bounds get one from stable.
- `max_time` exceeds `soak`; the deadline exceeds the sum of all soaks.
- `trigger` names exactly one of alias, stage and tag, and no alias that sluice itself sets (`champion`, `champion-…`).

When the candidate is packed, its signature is checked against the metrics: if a metric needs a column that the build does not answer, or a
log loss of a build that answers labels only, the rollout ends as `failed` before any traffic, with the fix.
"""
