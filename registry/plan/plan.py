"""Plan: the frozen document that a rollout follows. `plan.reading` reads it from YAML."""

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
        """The plan as recorded in a ledger. Rules that were added later do not invalidate it."""
        return cls.model_validate(document, context=_RECORDED)


Context = Mapping[str, Any]
"""What pydantic gets besides the values of a plan."""
_RECORDED: Context = {"recorded": True}


def written(champion_alias: str = CHAMPION_ALIAS) -> Context:
    """The context for a plan that a user wrote. `champion_alias` is the alias of stable builds."""
    return {"champion_alias": champion_alias}
