"""docs/reference/mlflow-differences.md: from the list that the conformance tests hold both servers against."""

from __future__ import annotations

from pathlib import Path

import yaml

from docs.pages.tables import NOTICE, table

_LIST = Path(__file__).parents[2] / "tests" / "contract" / "mlflow_differences.yaml"
_HEAD = """# Differences from MLflow's scoring server

`POST /<model>/invocations` takes the same requests as `mlflow models serve` and gives the same answers, except for the differences listed here. The same requests are sent
to both servers in one process by `tests/contract/test_mlflow_conformance.py`: every type of MLflow's signatures, every payload, the ends of each type.
The tests fail if a difference is missing from this list, and if a listed one no longer exists.

In the tables, `here` and `MLflow` show what the model receives, or the status code.

"""


def page() -> str:
    """Each difference with its reason and its examples."""
    listed = yaml.safe_load(_LIST.read_text(encoding="utf-8"))
    return _HEAD + NOTICE + "".join(map(_section, listed.values()))


def _section(entry: dict[str, object]) -> str:
    examples = entry["examples"]
    assert isinstance(examples, list)
    rows = [[each["model"], _code(each["request"]), _code(each["here"]), _code(each["there"])] for each in examples]
    told = f"*MLflow* {entry['mlflow']}.\n\n*Here:* {entry['ours']}.\n\n*Because:* {entry['because']}\n"
    return f"\n## {entry['situation']}\n\n{told}\n{table(('model', 'request', 'here', 'MLflow'), rows)}"


def _code(text: str) -> str:
    return f"`{text.encode('unicode_escape').decode() if not text.isprintable() else text}`"
