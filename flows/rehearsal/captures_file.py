"""Files of captures: JSON lines, or Parquet with bodies as JSON text; written whole, read a part at a time."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import Any

from sluicegate.flows.rehearsal.captured import Captured, captured, read_captured
from sluicegate.registry.plan.fields import CAPTURED
from sluicegate.registry.words.errors import UsageError

Capture = dict[str, Any]
_PARQUET, _MAGIC = ".parquet", b"PAR1"
_AT_ONCE = 1000
_TEXTS = ("rid", "model", "build", "variation", "audience", "rollout", "arm", "unit")


def write_captures(pages: Iterable[Sequence[Capture]], path: Path) -> int:
    """Write pages of captures in the format of the file's ending, and return how many there are. An existing file is
    replaced at the end; only its owner may read the new one."""
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    write = _write_parquet if path.suffix == _PARQUET else _write_lines
    try:
        draft.touch(mode=0o600, exist_ok=False)
        count = write(pages, draft)
        draft.replace(path)
    except OSError as error:
        fix = "name a file in a folder that exists"
        raise UsageError(f"{path} cannot be written: {error.strerror}.", fix=fix) from None
    finally:
        draft.unlink(missing_ok=True)
    return count


def requests_of(source: str, newest: Callable[[int], Iterable[Mapping[str, Any]]], most: int) -> Iterator[Captured]:
    """The requests that a plan names: the newest that services captured, or those of a file, at most `most`. Raises
    UsageError for a request that cannot be run again."""
    if source != CAPTURED:
        return islice(read_captures(Path(source)), most)
    return (captured(each, f"request {each['rid']}", str(each["rid"])) for each in newest(most))


def read_captures(path: Path) -> Iterator[Captured]:
    """The requests of a file, in order. Raises UsageError for one that cannot be read."""
    if _is_parquet(path):
        lines: Iterable[str] = (json.dumps(each) for each in _parquet_rows(path))
    else:
        lines = _lines(path)
    return read_captured(lines, str(path))


def _write_lines(pages: Iterable[Sequence[Capture]], path: Path) -> int:
    count = 0
    with path.open("a", encoding="utf-8") as file:
        for page in pages:
            file.writelines(json.dumps(each, ensure_ascii=False) + "\n" for each in page)
            count += len(page)
    return count


def _write_parquet(pages: Iterable[Sequence[Capture]], path: Path) -> int:
    import pyarrow as pa
    from pyarrow import parquet

    when = pa.timestamp("us", tz="UTC")
    outcome = pa.struct([("name", pa.string()), ("row", pa.int32()), ("value", pa.string()), ("at", when)])
    schema = pa.schema(
        [*((name, pa.string()) for name in _TEXTS), ("at", when), ("copy", pa.bool_()),
         ("headers", pa.map_(pa.string(), pa.string())), ("request", pa.string()), ("answer", pa.string()),
         ("outcomes", pa.list_(outcome))]
    )  # fmt: skip
    count = 0
    with parquet.ParquetWriter(path, schema) as writer:
        for page in pages:
            writer.write_table(pa.Table.from_pylist([_row(each) for each in page], schema=schema))
            count += len(page)
    return count


def _row(capture: Capture) -> Capture:
    outcomes = [each | {"value": json.dumps(each["value"])} for each in capture["outcomes"]]
    bodies = {name: None if capture[name] is None else json.dumps(capture[name]) for name in ("request", "answer")}
    return capture | bodies | {"outcomes": outcomes, "headers": list(capture["headers"].items())}


def _parquet_rows(path: Path) -> Iterator[Capture]:
    """Captures as they were exported."""
    import pyarrow as pa
    from pyarrow import parquet

    try:
        with parquet.ParquetFile(path) as file:
            for batch in file.iter_batches(batch_size=_AT_ONCE):
                for row in batch.to_pylist():
                    yield _capture(row)
    except (pa.ArrowException, OSError, KeyError, ValueError, TypeError) as error:
        fix = "name a file that sluice captures export has written"
        raise UsageError(f"{path} cannot be read as captures: {error}.", fix=fix) from None


def _capture(row: Capture) -> Capture:
    bodies = {name: None if row[name] is None else json.loads(row[name]) for name in ("request", "answer")}
    at: datetime = row["at"]
    micros = (at.astimezone(UTC) - datetime(1970, 1, 1, tzinfo=UTC)).total_seconds() * 1e6
    known = [each | {"value": json.loads(each["value"]), "at": None} for each in row["outcomes"]]
    fields = {"rid": row["rid"], "at": round(micros), "copy": row["copy"], "headers": dict(row["headers"])}
    return fields | bodies | {"outcomes": known}


def _is_parquet(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            return file.read(len(_MAGIC)) == _MAGIC
    except OSError as error:
        raise _unreadable(path, error.strerror or "cannot be opened") from None


def _lines(path: Path) -> Iterator[str]:
    try:
        with path.open(encoding="utf-8") as lines:
            yield from lines
    except (OSError, UnicodeDecodeError) as error:
        raise _unreadable(path, (error.strerror or "") if isinstance(error, OSError) else "not UTF-8") from None


def _unreadable(path: Path, why: str) -> UsageError:
    return UsageError(f"{path} cannot be read: {why}.", fix="name a file of JSON lines or Parquet: --from FILE")
