"""Plan: the frozen document a rollout follows. `plan.reading` reads it from YAML."""

from __future__ import annotations

from typing import Self

from pydantic import ValidationInfo, model_validator

from sluicegate.registry.plan.fields import PlanFields
from sluicegate.registry.plan.rules import BrokenRules, broken_rules


class Plan(PlanFields):
    """How candidates of one model's variation are rolled out."""

    @model_validator(mode="after")
    def _rules(self, info: ValidationInfo) -> Self:
        broken = () if info.context == _RECORDED else broken_rules(self)
        if broken:
            raise BrokenRules(broken)
        return self

    @classmethod
    def recorded(cls, document: dict[str, object]) -> Self:
        """The plan that a ledger holds: rules that came after it do not undo it."""
        return cls.model_validate(document, context=_RECORDED)


_RECORDED = {"recorded": True}
