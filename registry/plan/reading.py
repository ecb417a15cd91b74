"""Plans as users write them: from the values of a YAML text to a plan, or to every error with its place and fix."""

from __future__ import annotations

from typing import Any

from pydantic import ValidationError
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core.core_schema import WithDefaultSchema

from sluicegate.registry.plan.document import Document
from sluicegate.registry.plan.messages import explain, is_rule, remaining_faults
from sluicegate.registry.plan.plan import Plan, written
from sluicegate.registry.words.yaml_text import Text


def read_plan_text(text: Text, champion_alias: str) -> Plan | None:
    """The plan of a text whose values are a mapping. If it has problems, notes them and returns None."""
    values, context = text.values, written(champion_alias)
    assert isinstance(values, dict)
    try:
        return Plan.model_validate(values, context=context)
    except ValidationError as error:
        fields = explain(error)
        more = () if is_rule(error) else remaining_faults(values, fields, context)
    for problem in (*fields, *more):
        text.add(problem.at, problem.message, problem.fix, on_value=problem.on_value)
    return None


class _AsWritten(GenerateJsonSchema):
    """Writes defaults as users write them: an editor offers `5s`, which can be read back, instead of `5.0`."""

    def default_schema(self, schema: WithDefaultSchema) -> JsonSchemaValue:
        written = super().default_schema(schema)
        inner: Any = schema
        while "schema" in inner and "serialization" not in inner:
            inner = inner["schema"]
        match inner.get("serialization"):
            case {"type": "function-plain", "function": write} if written.get("default") is not None:
                return {**written, "default": write(schema["default"])}
            case _:
                return written


def json_schema(form: type[Document], name: str) -> dict[str, Any]:
    """The JSON Schema of a kind of document as users write it."""
    schema = form.model_json_schema(mode="validation", schema_generator=_AsWritten)
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema, "title": f"Sluicegate {name}"}
