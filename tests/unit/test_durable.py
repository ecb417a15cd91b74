"""Files that are written whole, by writers that know nothing of each other."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

_WRITER = """
import os, sys
from pathlib import Path
os.getpid = lambda: 1
from sluicegate.services import durable
for _ in range(100):
    durable.replace(Path(sys.argv[1]), "x" * 10_000)
    durable.create(Path(sys.argv[1] + ".once"), "y")
"""


def test_containers_of_one_pod_share_a_folder_and_each_is_process_1(tmp_path: Path) -> None:
    path = tmp_path / "work-pool.json"
    writers = [subprocess.Popen([sys.executable, "-c", _WRITER, str(path)], stderr=subprocess.PIPE) for _ in range(3)]
    said = [writer.communicate()[1].decode() for writer in writers]
    assert [writer.returncode for writer in writers] == [0, 0, 0], said
    assert sorted(each.name for each in tmp_path.iterdir()) == ["work-pool.json", "work-pool.json.once"]
