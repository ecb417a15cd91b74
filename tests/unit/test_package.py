"""What anybody installs: the public names, the version, and what a smaller installation says that it lacks."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import sluicegate
from sluicegate.flows.cli.extras import DEMO, SERVER, missing_extra

ROOT = Path(__file__).resolve().parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
PUBLIC = [
    "Answered", "AsyncClient", "CannotBeSent", "Client", "ClientError", "Failed", "FeedbackFull", "NoSuchModel",
    "NotAllowed", "Prediction", "Predictions", "Receipt", "Refused", "Retries", "TimedOut", "Turned", "UnitIgnored",
    "Unreachable",
]  # fmt: skip
"""What applications may rely on. A name that goes, or comes, is a decision: the changelog says it."""

LIGHT = """
import sys
from sluicegate.flows.cli.extras import DEMO, SERVER

class Missing:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in SERVER | DEMO:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Missing())
"""
"""An interpreter in which no package of an extra can be imported."""
HELP = """
from docs.pages.cli import commands
for name, command in commands():
    if command.default_command:
        command.assemble_argument_collection()
"""


def light(code: str, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", LIGHT + code, *words], cwd=ROOT, capture_output=True, text=True, check=False
    )


def test_the_public_names_are_these() -> None:
    assert sorted(sluicegate.__all__) == PUBLIC
    assert all(getattr(sluicegate, name).__name__ == name for name in PUBLIC)
    assert set(PUBLIC) <= set(dir(sluicegate))


def test_type_checkers_are_told_that_there_are_types() -> None:
    assert (Path(sluicegate.__file__).parent / "py.typed").exists()


def test_the_command_says_the_version_of_the_distribution() -> None:
    done = light("import sys; sys.argv = ['sluice', '--version']; from sluicegate.flows.cli.app import main; main()")
    assert done.stdout == f"{PROJECT['version']}\n", done.stderr


@pytest.mark.parametrize(("extra", "names"), [("server", SERVER), ("demo", DEMO)])
def test_the_packages_of_an_extra_are_known_by_their_import_names(extra: str, names: frozenset[str]) -> None:
    wanted = {canonicalize_name(Requirement(each).name) for each in PROJECT["optional-dependencies"][extra]}
    homes = {name: {canonicalize_name(each) for each in found} for name, found in packages_distributions().items()}
    strangers = {name for name in names if not homes.get(name, set()) & wanted}
    unknown = wanted - {"sluicegate"} - {home for name in names for home in homes.get(name, ())}
    assert (strangers, unknown) == (set(), set())


def test_what_everybody_has_is_not_taken_for_an_extra() -> None:
    base = {canonicalize_name(Requirement(each).name) for each in PROJECT["dependencies"]}
    homes = packages_distributions()
    assert not {home for name in SERVER | DEMO for home in homes[name]} & base


def test_help_needs_no_extra() -> None:
    done = light(HELP)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("words", [("up",), ("status",), ("certify", "-f", "examples/flights/plan.yaml")])
def test_a_command_that_needs_the_server_part_names_the_extra(words: tuple[str, ...]) -> None:
    done = light("import sys; from sluicegate.flows.cli.app import main; sys.argv[0] = 'sluice'; main()", *words)
    assert done.stderr == 'sluice: this command needs the server part: pip install "sluicegate[server]"\n'
    assert done.returncode == 1


def test_the_demo_names_its_own_extra() -> None:
    done = light("import sys; from sluicegate.flows.cli.app import main; sys.argv[0] = 'sluice'; main()", "demo")
    assert done.stderr == 'sluice: this command needs the demo: pip install "sluicegate[demo]"\n'


def test_an_import_error_that_hides_the_missing_package_is_understood() -> None:
    hidden = ImportError("cannot import the command")
    hidden.__cause__ = ModuleNotFoundError("No module named 'numpy.linalg'", name="numpy.linalg")
    assert missing_extra(hidden) is not None


@pytest.mark.parametrize(
    "error",
    [
        ModuleNotFoundError("No module named 'sluicegate.flows.nowhere'", name="sluicegate.flows.nowhere"),
        ModuleNotFoundError("No module named 'typo'", name="typo"),
        ImportError("cannot import name 'x' from 'numpy'", name="numpy"),
    ],
)
def test_any_other_import_error_is_a_defect(error: ImportError) -> None:
    assert missing_extra(error) is None
