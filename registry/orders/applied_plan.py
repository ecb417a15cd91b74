"""The plan that applies to a target. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from pydantic import ValidationError

from sluicegate.registry.audience.connections import FALLBACK
from sluicegate.registry.ledger.record import Record
from sluicegate.registry.plan.messages import explain
from sluicegate.registry.plan.plan import Plan
from sluicegate.registry.words.errors import NotFound, UsageError
from sluicegate.registry.words.suggestions import nearest


def applied_plan(record: Record, model: str, variation: str) -> Plan:
    """The variation's applied plan, otherwise that of the model's default variation. Raises NotFound or UsageError.

    The default variation's trigger and experiment are its own and are not passed on to other variations.
    """
    own = record.applied("plan", f"{model}/{variation}")
    if own is not None:
        return Plan.recorded(own.body)
    general = record.applied("plan", f"{model}/{FALLBACK}")
    if general is None:
        near = nearest(model, {str(each.body["model"]) for each in record.all_applied("plan")} - {model})
        meant = f"did you mean {near}, which has one? Otherwise " if near else ""
        raise NotFound(
            f"no plan is applied for {model}/{variation}.",
            fix=f"{meant}write one and apply it: sluice apply -f plan.yaml",
        )
    body = {key: value for key, value in general.body.items() if key not in ("trigger", "ab")}
    with _names_refused():
        return Plan.recorded({**body, "variation": variation})


def plan_or_bare(record: Record, model: str, variation: str) -> Plan:
    """The applied plan; without one, a plan with only the required fields.

    Raises UsageError for a name that no plan can have.
    """
    try:
        return applied_plan(record, model, variation)
    except NotFound:
        with _names_refused():
            return Plan.model_validate({"model": model, "variation": variation, "steps": [{"weight": 10}]})


@contextmanager
def _names_refused() -> Iterator[None]:
    """Turn validation errors into UsageError. Names come from an order, and plans do not allow every name."""
    try:
        yield
    except ValidationError as error:
        wrong = explain(error)
        fixes = "; ".join(each.fix for each in wrong if each.fix)
        raise UsageError(
            "; ".join(f"{each.at[-1]} {each.message}" for each in wrong) + ".", fix=fixes or None
        ) from None
