"""The packing subprocess: imports one model into the bento store and builds one bento from it. Run as a file.

Each build needs its own process, because a second `bentoml.build` in one process silently packs the first model.
Reads a job as JSON from standard input, and writes the result as the last line of standard output.
"""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from typing import Any


def main() -> None:
    """Pack one job."""
    job: dict[str, Any] = json.load(sys.stdin)
    _drop_remains(job["tag"])
    _import_model(job["tag"], Path(job["model_path"]))
    _build(job)
    sys.stdout.write("\n" + json.dumps({"tag": job["tag"]}) + "\n")


def _drop_remains(tag: str) -> None:
    """Delete what interrupted packing left under this tag."""
    import bentoml

    for store in (bentoml, bentoml.models):
        try:
            store.delete(tag)
        except bentoml.exceptions.NotFound:
            continue


def _import_model(tag: str, source: Path) -> None:
    import bentoml

    with bentoml.models.create(tag) as model:
        shutil.copytree(source, model.path_of("mlflow"))


def _build(job: dict[str, Any]) -> None:
    import bentoml

    name, _, version = job["tag"].partition(":")
    bentoml.build(
        "predictor.service:Predictor",
        name=name,
        version=version,
        labels=job["labels"],
        build_ctx=job["context"],
        include=job["include"],
        # By default BentoML resolves and locks packages over the network.
        python={"packages": job["requirements"], "lock_packages": False},
    )


if __name__ == "__main__":
    main()
