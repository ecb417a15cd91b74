"""Certificates: results of `sluice certify`, by the plan's digest. Plans that require one need a pass."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sluicegate.registry.audience.connections import FALLBACK
from sluicegate.registry.ledger.record import Applied, Record
from sluicegate.registry.plan.plan import Plan
from sluicegate.registry.plan.policy import Policy
from sluicegate.registry.words.digest import digest_of
from sluicegate.registry.words.errors import Refused

KIND = "certificate"
POLICY = "policy"
"""The kind of document with which an installation requires certificates."""
_OWN = ("variation", "trigger", "ab")
"""Keys that a variation without a plan does not take from the default variation's plan."""


@dataclass(frozen=True, kw_only=True)
class Tried:
    """One check of one gate of the plan."""

    metric: str
    name: str
    ok: bool
    reason: str


def certificate(model: str, digest: str, tried: Sequence[Tried], *, actor: str, at: datetime) -> Applied:
    """The document with the results for the plan with this digest. The latest one is in force."""
    checks = [{"metric": each.metric, "name": each.name, "ok": each.ok, "reason": each.reason} for each in tried]
    body: dict[str, object] = {"model": model, "ok": all(each.ok for each in tried), "checks": checks}
    own = digest_of(body)
    return Applied(kind=KIND, name=digest, body=body, digest=own, actor=actor, at=at)


def uncertified(record: Record, plan: Plan) -> str | None:
    """Why a plan that needs a certificate may not start; None: it may."""
    if not must_be_certified(record, plan):
        return None
    name = f"the plan of {plan.model}/{plan.variation}"
    if not (plan.gates or plan.guardrails):
        return f"{name} has no gate and no guardrail to certify"
    document = next((each for digest in _digests(record, plan) if (each := record.applied(KIND, digest))), None)
    if document is None:
        return f"{name} was not certified in its present form (digest {plan.digest[:12]})"
    if document.body["ok"] is True:
        return None
    checks = document.body["checks"]
    failed = [each for each in checks if not each["ok"]] if isinstance(checks, list) else []
    first = f": {failed[0]['metric']}, {failed[0]['name']}: {failed[0]['reason']}" if failed else ""
    return f"{name} is not certified: the attempt of {document.actor} failed{first}"


def must_be_certified(record: Record, plan: Plan) -> bool:
    """Whether the plan or a policy of the installation requires a certificate. A policy does not apply to a shadow that
    nothing follows: it has no gates to certify, and no caller gets its candidate's answers."""
    return plan.certified or (_policy(record, plan.model) is not None and not plan.ends_in_shadow)


def _policy(record: Record, model: str) -> Policy | None:
    policies = (Policy.model_validate(each.body) for each in record.all_applied(POLICY))
    return next((each for each in policies if each.is_for(model)), None)


def refuse_uncertified(record: Record, plan: Plan, version: str) -> None:
    """Raise Refused for a plan that requires a certificate and has none that passed."""
    why = uncertified(record, plan)
    if why is not None:
        policy = None if plan.certified else _policy(record, plan.model)
        by = f"; the policy {policy.name} requires a certificate" if policy is not None else ""
        past = f"sluice rollout start {plan.model} --build {version} --override-assessment WHY"
        raise Refused(
            f"{why}{by}.", fix=f"sluice certify -f FILE, with the file that was applied; as an approver: {past}"
        )


def _digests(record: Record, plan: Plan) -> tuple[str, ...]:
    """The digests that count: the plan's own, and the default plan's if the variation has no plan of its own."""
    general = record.applied("plan", f"{plan.model}/{FALLBACK}")
    if general is None or record.applied("plan", f"{plan.model}/{plan.variation}") is not None:
        return (plan.digest,)
    same = _shared(general.body) == _shared(plan.document())
    return (plan.digest, general.digest) if same else (plan.digest,)


def _shared(document: dict[str, object]) -> dict[str, object]:
    return {key: value for key, value in document.items() if key not in _OWN}
