"""What a command prints: data on stdout as a table, JSON or YAML; remarks on stderr."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from enum import StrEnum
from typing import Annotated, Any

from cyclopts import Parameter

from sluicegate.registry.words.errors import SluiceError


class Format(StrEnum):
    """The form of a command's data."""

    TABLE = "table"
    JSON = "json"
    YAML = "yaml"


Output = Annotated[Format, Parameter(name=["--output", "-o"], help="Form of the output.")]


def emit(value: object, output: Format, *, table: str | None = None) -> None:
    """Print data in the chosen format. `table` is the text for the table format."""
    match output:
        case Format.JSON:
            print(json.dumps(value, indent=2, ensure_ascii=False))
        case Format.YAML:
            _yaml(value)
        case Format.TABLE:
            print(table if table is not None else json.dumps(value, indent=2, ensure_ascii=False))


def remark(text: str) -> None:
    """Print a message for the person to stderr, apart from the data."""
    print(text, file=sys.stderr, flush=True)


@contextmanager
def errors_exit_with_1() -> Iterator[None]:
    """For commands whose exit code 2 means that something differs: no error has another exit code than 1."""
    try:
        yield
    except SluiceError as error:
        raise SluiceError(error.message, fix=error.fix) from error


def emit_rows(
    items: Sequence[Any], output: Format, heads: Sequence[str], row: Callable[[Any], Sequence[object]], *, none: str
) -> None:
    """Print items. The table has a row for each item under the heads, or is the text `none` if there are no items."""
    emit(items, output, table=columns(heads, [row(item) for item in items]) if items else none)


def plain(value: object) -> Any:
    """Convert a value such as a dataclass to JSON values."""
    from pydantic_core import to_jsonable_python

    return to_jsonable_python(value)


def columns(heads: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """A plain-text table with aligned columns."""
    cells = [[str(cell) if cell is not None else "-" for cell in row] for row in rows]
    widths = [max(len(line[i]) for line in [list(heads), *cells]) for i in range(len(heads))]
    lines = [list(heads), *cells]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines
    )


def _yaml(value: object) -> None:
    from ruamel.yaml import YAML

    writer = YAML(typ="safe")
    writer.default_flow_style = False
    writer.dump(value, sys.stdout)
