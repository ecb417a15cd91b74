"""What a build returns, by its MLflow signature: kinds of columns, and how two builds' outputs differ. Pure."""

from __future__ import annotations

from enum import StrEnum

from sluicegate.registry.words.build import Build

BARE = "prediction"
"""Name of a column to which the signature gives none."""


class OutputKind(StrEnum):
    """What a column of predictions holds."""

    LABEL = "label"
    NUMBER = "number"
    TEXT = "text"


_LABELS = frozenset({"boolean", "integer", "long", "datetime", "binary"})
_NUMBERS = frozenset({"float", "double"})


def output_kinds(build: Build) -> dict[str, OutputKind]:
    """The kind of each column. Columns whose kind the signature does not settle are left out.

    A string may be a label or a text; only its length could tell, so it is left out.
    """
    kinds: dict[str, OutputKind] = {}
    for output in _outputs(build):
        if output.get("type") == "tensor":
            kinds |= _tensor(output)
        elif output.get("type") in _LABELS:
            kinds[str(output.get("name") or BARE)] = OutputKind.LABEL
        elif output.get("type") in _NUMBERS:
            kinds[str(output.get("name") or BARE)] = OutputKind.NUMBER
    return kinds


def output_differences(stable: Build, candidate: Build) -> tuple[str, ...]:
    """How the candidate's declared outputs differ from stable's; empty if either build declares none."""
    mine, its = _declared(stable), _declared(candidate)
    if not mine or not its:
        return ()
    gone = (f"{name} ({kind}) is missing" for name, kind in mine.items() if name not in its)
    new = (f"{name} ({kind}) is new" for name, kind in its.items() if name not in mine)
    changed = (
        f"{name} is {its[name]}, but stable's is {kind}"
        for name, kind in mine.items()
        if name in its and its[name] != kind
    )
    return (*gone, *new, *changed)


def _outputs(build: Build) -> list[dict[str, object]]:
    outputs = (build.signature or {}).get("outputs")
    return [each for each in outputs if isinstance(each, dict)] if isinstance(outputs, list) else []


def _tensor(output: dict[str, object]) -> dict[str, OutputKind]:
    spec = output.get("tensor-spec")
    dtype, shape = (str(spec.get("dtype")), spec.get("shape")) if isinstance(spec, dict) else ("", None)
    kind = OutputKind.NUMBER if dtype.startswith("float") else OutputKind.LABEL
    if not dtype.startswith(("float", "int", "uint", "bool")) or not isinstance(shape, list):
        return {}
    if output.get("name") or len(shape) < 2:
        return {str(output.get("name") or BARE): kind}
    return {str(position): kind for position in range(max(int(shape[-1]), 0))}


def _declared(build: Build) -> dict[str, str]:
    """Name and declared type of every column."""
    kinds = {}
    for output in _outputs(build):
        spec = output.get("tensor-spec")
        kind = f"{spec.get('dtype')}{spec.get('shape')}" if isinstance(spec, dict) else str(output.get("type"))
        kinds[str(output.get("name") or BARE)] = kind
    return kinds
