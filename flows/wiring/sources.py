"""Sources: whether the settings have an address for every source that applied plans query."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from sluicegate.registry.plan.plan import Plan
from sluicegate.registry.words.errors import InvalidSetting, NotFound
from sluicegate.services.host.doctor.finding import Finding, failed, passed
from sluicegate.services.sources.source import read_source

_CHECK = "sources"


def source_findings(plans: Iterable[Plan], environment: Mapping[str, str]) -> tuple[Finding, ...]:
    """What is missing for these plans' external gates; `environment` is the keeper's. Empty without such gates."""
    named: dict[str, list[str]] = {}
    for plan in plans:
        for source in dict.fromkeys(gate.source for gate in plan.external):
            named.setdefault(source, []).append(f"{plan.model}/{plan.variation}")
    wrong = [each for source, users in named.items() for each in _wrong(source, users, environment)]
    if wrong or not named:
        return tuple(wrong)
    return (passed(_CHECK, f"{', '.join(sorted(named))} have an address"),)


def _wrong(source: str, users: list[str], environment: Mapping[str, str]) -> Iterable[Finding]:
    try:
        read_source(source, environment)
    except (NotFound, InvalidSetting) as error:
        whose = f"the plan of {', '.join(users)} asks {source}, so its external gates have NO DATA"
        fix = "set it in the environment of sluice up and run sluice up again; or remove the gate from the plan"
        yield failed(_CHECK, f"{error.message.rstrip('.')}: {whose}", fix)
