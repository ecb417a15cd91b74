"""Plan: the frozen document a rollout follows. `plan.reading` reads it from YAML."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self

from pydantic import ValidationInfo, model_validator

from sluicegate.registry.plan.fields import PlanFields
from sluicegate.registry.plan.rules import BrokenRules, broken_rules
from sluicegate.registry.words.build import CHAMPION_ALIAS


class Plan(PlanFields):
    """How candidates of one model's variation are rolled out."""

    @model_validator(mode="after")
    def _rules(self, info: ValidationInfo) -> Self:
        context: Context = info.context or written()
        broken = () if context == _RECORDED else broken_rules(self, context["champion_alias"])
        if broken:
            raise BrokenRules(broken)
        return self

    @classmethod
    def recorded(cls, document: dict[str, object]) -> Self:
        """The plan that a ledger holds: rules that came after it do not undo it."""
        return cls.model_validate(document, context=_RECORDED)


Context = Mapping[str, Any]
"""What pydantic is told beside the values of a plan."""
_RECORDED: Context = {"recorded": True}


def written(champion_alias: str = CHAMPION_ALIAS) -> Context:
    """The context of a plan as somebody writes it, where `champion_alias` is the alias of stable builds."""
    return {"champion_alias": champion_alias}
