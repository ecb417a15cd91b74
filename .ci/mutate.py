"""Mutation testing: change one thing in a file, run the fast tests, count the changes that no test notices.

    python .ci/mutate.py [--at-least 90] [--jobs 2] flows/stats/spending.py ...

The changes are those of Cosmic Ray. It runs one process a change and edits files in place; here each change lives in
a fork that has numpy, scipy and pytest loaded, and the files are left alone.
"""

# ruff: noqa: INP001

from __future__ import annotations

import argparse
import ast
import difflib
import importlib.abc
import importlib.machinery
import importlib.util
import os
import resource
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import hypothesis  # noqa: F401  loaded once, before the forks
import numpy as np  # noqa: F401
import pytest
import scipy.special
import scipy.stats  # noqa: F401
from cosmic_ray.mutating import mutate_code
from cosmic_ray.plugins import get_operator

TESTS = "tests/unit/stats"
SECONDS = 20
"""Of one core's time: a change that makes the tests need more is noticed."""
_ARITHMETIC = ("Add_Sub", "Sub_Add", "Mul_Div", "Mul_Add", "Div_Mul", "Pow_Mul", "FloorDiv_Mul", "Mod_Mul")
_COMPARISONS = (
    "Eq_NotEq", "NotEq_Eq", "Lt_LtE", "Lt_GtE", "LtE_Lt", "LtE_Gt", "Gt_GtE", "Gt_LtE", "GtE_Gt", "GtE_Lt",
    "Is_IsNot", "IsNot_Is",
)  # fmt: skip
OPERATORS = (
    *(f"core/ReplaceBinaryOperator_{name}" for name in _ARITHMETIC),
    *(f"core/ReplaceComparisonOperator_{name}" for name in _COMPARISONS),
    "core/ReplaceUnaryOperator_Delete_USub", "core/ReplaceUnaryOperator_Delete_Not", "core/AddNot",
    "core/ReplaceTrueWithFalse", "core/ReplaceFalseWithTrue", "core/ReplaceAndWithOr", "core/ReplaceOrWithAnd",
    "core/ReplaceBreakWithContinue", "core/ReplaceContinueWithBreak", "core/NumberReplacer",
    "core/ZeroIterationForLoop",
)  # fmt: skip


@dataclass(frozen=True)
class Mutant:
    """A file with one change."""

    path: Path
    code: str
    change: str


def mutants(path: Path) -> Iterator[Mutant]:
    """Every change of a file that differs from the others; annotations are text and do not count."""
    code = path.read_text(encoding="utf-8")
    seen = {_compiled(code, path)}
    for name in OPERATORS:
        occurrence = 0
        while (changed := mutate_code(code, get_operator(name)(), occurrence)) is not None:
            occurrence += 1
            compiled = _compiled(changed, path)
            if compiled not in seen:
                seen.add(compiled)
                yield Mutant(path, changed, _change(code, changed, name))


def _compiled(code: str, path: Path) -> str:
    """What a file does; annotations, and how arguments may be passed, left out."""
    try:
        tree = compile(code, str(path), "exec", flags=ast.PyCF_ONLY_AST)
    except SyntaxError:
        return code
    for node in ast.walk(tree):
        if isinstance(node, ast.AnnAssign):
            node.annotation = ast.Constant(None)
        if isinstance(node, ast.FunctionDef):
            node.returns = None
            named = node.args
            arguments = [ast.arg(arg=each.arg) for each in (*named.posonlyargs, *named.args, *named.kwonlyargs)]
            defaults = [each for each in (*named.defaults, *named.kw_defaults) if each is not None]
            node.args = ast.arguments(posonlyargs=[], args=arguments, kwonlyargs=[], kw_defaults=[], defaults=defaults)
    return ast.dump(tree)


def _change(before: str, after: str, name: str) -> str:
    lines = difflib.unified_diff(before.splitlines(), after.splitlines(), lineterm="", n=0)
    told = [line for line in lines if line[:1] in "+-@" and line[:3] not in ("+++", "---")]
    return f"{name.removeprefix('core/')} {' '.join(told)}"


class _Changed(importlib.abc.MetaPathFinder, importlib.abc.SourceLoader):
    """Imports one module from changed text."""

    def __init__(self, mutant: Mutant) -> None:
        self._mutant = mutant
        self._name = ".".join(mutant.path.with_suffix("").parts)

    def find_spec(self, name: str, path: object, target: object = None) -> importlib.machinery.ModuleSpec | None:  # noqa: ARG002
        return importlib.util.spec_from_loader(name, self) if name == self._name else None

    def get_filename(self, fullname: str) -> str:  # noqa: ARG002
        return str(self._mutant.path)

    def get_data(self, path: str) -> bytes:  # noqa: ARG002
        return self._mutant.code.encode()


os.environ["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"


def is_noticed(mutant: Mutant | None) -> bool:
    """Whether the tests fail with the change; None: the files as they are."""
    child = os.fork()
    if child == 0:
        _test_and_exit(mutant)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) != 0


def _test_and_exit(mutant: Mutant | None) -> None:
    code = 1
    try:
        resource.setrlimit(resource.RLIMIT_CPU, (SECONDS, SECONDS))
        if mutant is not None:
            silence = os.open(os.devnull, os.O_WRONLY)
            os.dup2(silence, 1)
            os.dup2(silence, 2)
            sys.meta_path.insert(0, _Changed(mutant))
        own, others = _tests_of(mutant.path) if mutant is not None else ([], _all_tests())
        code = _run(own) or _run(others)
    finally:
        os._exit(code)


def _run(tests: list[str]) -> int:
    quiet = ("-x", "-q", "--no-header", "--tb=no", "-c", "/dev/null", "--rootdir", ".", "--import-mode=importlib")
    return int(pytest.main([*quiet, "-p", "no:cacheprovider", *tests])) if tests else 0


def _all_tests() -> list[str]:
    return sorted(str(path) for path in Path(TESTS).glob("test_*.py"))


def _tests_of(path: Path) -> tuple[list[str], list[str]]:
    """The tests that import the changed file, those of its own name first; and the others."""
    name = f"sluicegate.flows.stats.{path.stem}"
    own = [test for test in _all_tests() if name in Path(test).read_text(encoding="utf-8")]
    own.sort(key=lambda test: path.stem not in test)
    return own, [test for test in _all_tests() if test not in own]


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--at-least", type=float, default=90.0)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("files", nargs="+", type=Path)
    asked = parser.parse_args(arguments)
    if is_noticed(None):
        print("the tests fail without any change")
        return 2
    killed = total = 0
    for path in asked.files:
        found = list(mutants(path))
        noticed = []
        with ThreadPoolExecutor(asked.jobs) as pool:
            for mutant, is_killed in zip(found, pool.map(is_noticed, found), strict=True):
                noticed.append(is_killed)
                if not is_killed:
                    print(f"   {path}: {mutant.change}", flush=True)
        print(f"{path}: {sum(noticed)} of {len(found)} ({sum(noticed) / max(len(found), 1):.1%})", flush=True)
        killed, total = killed + sum(noticed), total + len(found)
    print(f"{killed} of {total} ({killed / max(total, 1):.1%})")
    return 0 if killed >= asked.at_least / 100 * total else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
