"""What ended rollouts cost: the processor time of what every process does, with a long past and with none.

    python -m benchmarks.history [--models N] [--ended N] [--rounds N]

Fills two ledgers through the product's own functions: each model has a first build and one that was promoted, and in
one ledger rollouts that ended besides, every fifth of them promoted. Then measures both in turns: opening a ledger
until what is current is known, keeper and console as whole programs until they have looked or answer for the first
time, the ledger's part of a keeper's look, an order and the abort of what it began, the first page of the list of
rollouts, and the console's pages and lists, rendered. Writes benchmarks/results/history.json and .md.
"""

from __future__ import annotations

import argparse
import os
import resource
import secrets
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path

import psutil

from benchmarks.results import Figure, report
from sluicegate.registry.ledger.record import Changes, Receipt
from sluicegate.registry.ledger.selection import ALL, Selection
from sluicegate.registry.ledger.sql import SqlLedger
from sluicegate.registry.orders.give import give
from sluicegate.registry.orders.order import Abort, Order, Start
from sluicegate.registry.plan.plan import Plan
from sluicegate.registry.rollout.facts import (
    Aborted,
    Baked,
    Begun,
    Entry,
    Established,
    Fact,
    Observed,
    Packed,
    Promoted,
    Ready,
    Requested,
    Settled,
    StepEntered,
)
from sluicegate.registry.rollout.standing import standings
from sluicegate.registry.words.roles import Role
from sluicegate.services.console.pages.rollouts import MOST
from sluicegate.services.heartbeat import Heartbeats
from sluicegate.services.host.folder import StateFolder
from sluicegate.services.host.installation import make_site
from sluicegate.services.host.keys import make_keys
from sluicegate.services.keeper.fleet_pass import needs
from tests.integration.traffic_rig import free_port
from tests.plans import plan_from_values
from tests.unit.console_office import BEARER, MemoryDesk, Office

START = datetime(2026, 1, 1, tzinfo=UTC)
PLAN = {
    "kind": "plan", "steps": [{"weight": 10}, {"weight": 50}], "metrics": {"errors": {"source": "status"}},
    "guardrails": [{"metric": "errors"}],
}  # fmt: skip
PACKED = Packed(bento="m:1", bento_digest="b" * 64, model_digest="m" * 64)
BEGINNING = ((1, "deploy"), (5, "canary"))
"""What every model has: as many takeovers as are kept current."""
PAGES = (
    "/", "/rollouts", "/rollouts?state=promoted", "/rollouts?state=under way", "/rollouts?q=nowhere", "/activity",
    "/activity?model=model-5", "/experiments", "/audiences", "/access", "/search?q=model", "/api/v1/rollouts",
    "/api/v1/overview", "/api/v1/experiments", "/api/v1/audiences",
)  # fmt: skip
"""First pages of the console's lists, and what the commands for them ask."""
PROGRAMS = ("keeper", "console")
AT_ONCE = 100
"""Rollouts that are recorded with one commit."""


@cache
def plan_of(model: str) -> Plan:
    return plan_from_values({**PLAN, "model": model}, where="the benchmark")


def facts_of(model: str, version: int, strategy: str) -> Iterator[Fact]:
    """A whole rollout, from its request to its settling."""
    plan = plan_of(model)
    yield Requested(
        model=model, variation="default", version=str(version), strategy=strategy, plan=plan.document(),
        plan_digest=plan.digest, actor="ada", cause="cli",
    )  # fmt: skip
    yield Begun(stable=None if strategy == "deploy" else "1")
    yield PACKED
    yield Ready(version=str(version))
    if strategy == "deploy":
        yield Established(actor="ada", reason="the first build is ready")
    else:
        yield StepEntered(step=0, weight=1_000, actor="driver", reason="ready")
        if version % 5 == 0:
            yield Promoted(actor="ada", reason="good", override=True, verdicts={})
            yield Baked(reason="warm")
        else:
            yield Aborted(actor="ada", reason="errors are higher than stable's")
    yield Observed(epoch=1 if strategy == "deploy" else 2, version="v")
    yield Settled(changes=("alias champion",))


def fill(ledger: SqlLedger, models: int, ended: int) -> None:
    """Record a first build and a promotion for each model, then the ended rollouts, model by model in turns."""
    first = [(f"model-{n}", version, strategy) for n in range(models) for version, strategy in BEGINNING]
    later = [(f"model-{n % models}", 6 + n // models, "canary") for n in range(ended)]
    every = [*first, *later]
    for start in range(0, len(every), AT_ONCE):
        entries = tuple(
            Entry(rollout=f"{model}-v{version}", seq=seq, at=START + timedelta(seconds=start + seq), fact=fact)
            for model, version, strategy in every[start : start + AT_ONCE]
            for seq, fact in enumerate(facts_of(model, version, strategy))
        )
        ledger.commit(lambda _, entries=entries: Changes(entries=entries, receipt=Receipt()))  # type: ignore[misc]


def order(ledger: SqlLedger, model: str, number: int) -> None:
    """Start a rollout of a new version, and abort it."""
    now = START + timedelta(days=1, seconds=number)
    start = Start(model=model, variation="default", version=str(10**6 + number), plan=plan_of(model))
    begun = give(ledger, Order(act=start, actor="ada", cause="cli", role=Role.ADMIN), now).rollout or ""
    give(ledger, Order(act=Abort(rollout=begun), actor="ada", cause="cli", role=Role.ADMIN), now)


def look(ledger: SqlLedger) -> None:
    """What a keeper's look reads of the ledger, and what follows from it."""
    current = ledger.current()
    needs(current, standings(current))


def first_page(ledger: SqlLedger) -> None:
    """What the list of rollouts reads."""
    ledger.rollouts(Selection(newest=51))
    ledger.count(ALL, most=MOST + 1)
    ledger.models()


def ask(office: Office, page: str) -> None:
    """What the console does for one page."""
    answer = office.client.get(page, headers=BEARER)
    if answer.status_code != 200:
        raise RuntimeError(f"{page} answered {answer.status_code}: {answer.text[:200]}")


def started(program: str, ledger: str) -> float:
    """Milliseconds of processor time of a program until its first beat, in an installation where nothing else runs."""
    with tempfile.TemporaryDirectory() as root:
        folder = StateFolder(root=Path(root))
        folder.prepare()
        make_keys(folder.secrets, secrets.token_bytes)
        make_site(folder, {name: free_port() for name in ("gateway", "console", "mlflow", "prefect")}, {})
        environment = {**os.environ, "SLUICE_STATE": root, "SLUICE_LEDGER": ledger}
        command = [sys.executable, "-m", "sluicegate.flows.wiring.processes", program]
        with subprocess.Popen(
            command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        ) as process:
            try:
                while Heartbeats(folder=folder.beats).last(program) is None:
                    if process.poll() is not None:
                        raise RuntimeError(f"{program} ended with {process.returncode} before its first beat")
                    time.sleep(0.02)
                took = psutil.Process(process.pid).cpu_times()
            finally:
                process.kill()
    return 1e3 * (took.user + took.system)


def spent(act: Callable[[], object]) -> float:
    """Milliseconds of processor time."""
    began = time.process_time()
    act()
    return 1e3 * (time.process_time() - began)


def measure(folder: Path, chosen: argparse.Namespace) -> dict[str, dict[str, list[float]]]:
    """By what was done, by ledger: milliseconds."""
    urls = {name: f"sqlite:///{folder}/{name}.db" for name in ("none", "long")}
    for name, url in urls.items():
        fill(SqlLedger(url), chosen.models, chosen.ended if name == "long" else 0)
    took: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    warm = {name: SqlLedger(url) for name, url in urls.items()}
    offices = {name: Office(MemoryDesk(ledger=ledger)) for name, ledger in warm.items()}
    for turn in range(chosen.rounds):
        for name, ledger in warm.items():
            for program in PROGRAMS:
                took[f"cold start of the {program}"][name].append(started(program, urls[name]))
            took["cold start"][name].append(spent(lambda url=urls[name]: SqlLedger(url).current()))  # type: ignore[misc]
            model = f"model-{turn % chosen.models}"
            took["first order on a model"][name].append(spent(lambda: order(ledger, model, 2 * turn)))  # noqa: B023
            took["next order on it"][name].append(spent(lambda: order(ledger, model, 2 * turn + 1)))  # noqa: B023
            took["keeper's look"][name].append(spent(lambda: look(ledger)))  # noqa: B023
            took["first page of the list"][name].append(spent(lambda: first_page(ledger)))  # noqa: B023
            for page in PAGES:
                took[page][name].append(spent(lambda: ask(offices[name], page)))  # noqa: B023
    return took


def run(folder: Path, chosen: argparse.Namespace) -> list[Figure]:
    """Medians with a long past, and as ratios to those with none."""
    targets = {"cold start": 2_000.0, "cold start of the keeper": 2_000.0, "cold start of the console": 2_000.0}
    targets |= {"first order on a model": 10.0, "next order on it": 10.0}
    figures = [Figure(name="ended rollouts", value=chosen.ended), Figure(name="models", value=chosen.models)]
    for what, by_ledger in measure(folder, chosen).items():
        none, long = (statistics.median(by_ledger[name]) for name in ("none", "long"))
        figures.append(Figure(name=what, value=long, unit="ms", at_most=targets.get(what)))
        figures.append(Figure(name=f"{what}, to none", value=long / none, at_most=1.5))
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return [*figures, Figure(name="most memory", value=memory, unit="MB")]


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--models", type=int, default=1_000)
    options.add_argument("--ended", type=int, default=20_000)
    options.add_argument("--rounds", type=int, default=9)
    chosen = options.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        print(report("history", "What ended rollouts cost", lambda: run(Path(folder), chosen)))


if __name__ == "__main__":
    main()
