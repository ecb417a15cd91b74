"""A gateway of a cluster without its collector: the agent and its Envoy, as a process that tests kill."""

from __future__ import annotations

import json
import os
import sys
import threading
from pathlib import Path

from sluicegate.flows.wiring.cluster_gateway import ClusterAgent
from sluicegate.flows.wiring.loops import log_plainly
from sluicegate.services.cluster.access import Access, TextOrFile
from sluicegate.services.cluster.api import Api, Limits
from sluicegate.services.traffic.envoy.plane import Envoy


class Telling(ClusterAgent):
    """Leaves in a file which EndpointSlices it has taken up."""

    def hold(self, *, is_watched: bool = True) -> None:
        """As ever."""
        taken = [(each["metadata"]["name"], each["metadata"]["resourceVersion"]) for each in self._slices or ()]
        super().hold(is_watched=is_watched)
        self.mounted.with_name(f"{self.name}-taken.json").write_text(json.dumps(sorted(taken)))


def main(said: dict) -> None:
    """Run until killed."""
    log_plainly()
    envoy = Envoy(Path(said["folder"]), port=said["port"])
    envoy.prepare()
    limits = Limits(connect=0.5, whole=1.0, watch=10.0, grace=1.0)
    api = Api(Access(url=said["url"], token=TextOrFile(text=said["token"])), said["namespace"], limits=limits)
    agent = Telling(
        envoy=envoy, unwatched=said["unwatched"], api=api, name=said["name"], mounted=Path(said["mounted"]),
        beat_every=said["beat_every"], greeting=said["greeting"],
    )  # fmt: skip
    threading.Thread(target=_end_with, args=(os.getppid(), agent), daemon=True).start()
    agent.begin()
    stop = threading.Event()
    loops = (
        agent.keep_running,
        agent.follow_table,
        agent.follow_addresses,
        agent.follow_keeper,
        agent.look_whether_watched,
    )
    for each in loops:
        threading.Thread(target=each, args=(stop,), daemon=True).start()
    agent.run(stop)


def _end_with(parent: int, agent: ClusterAgent) -> None:
    """Nothing is left behind where the tests are killed."""
    wait = threading.Event()
    while os.getppid() == parent:
        wait.wait(0.5)
    if agent._process is not None:
        agent._process.kill()
    os._exit(1)


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
