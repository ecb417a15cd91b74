"""The console's process: the HTTP API, the pages and the intakes."""

from __future__ import annotations

import asyncio

import uvicorn

from sluicegate.flows.wiring.answering import Answering, answering_others
from sluicegate.flows.wiring.desk import desk
from sluicegate.flows.wiring.in_cluster import hosts
from sluicegate.flows.wiring.listening import listen_to_ledger
from sluicegate.flows.wiring.loops import BEAT_SECONDS, Loops
from sluicegate.flows.wiring.program_watch import end_hanging
from sluicegate.flows.wiring.runtime import current_runtime
from sluicegate.services.console.app import create


def run() -> None:
    """Serve the API, the pages and the intakes until stopped."""
    runtime = current_runtime()
    site, console_desk = runtime.site, desk()
    port = site.ports["console"]
    app = create(console_desk, hosts=["127.0.0.1", "localhost", *hosts(runtime.settings)])
    place = "127.0.0.1" if runtime.settings.cluster is None else "0.0.0.0"
    config = uvicorn.Config(app, host=place, port=port, log_level="warning", server_header=False)
    loops = Loops("console", runtime.heartbeats)
    loops.beside("watch", end_hanging(runtime, loops, "console"))
    listen_to_ledger(runtime, loops, console_desk.changes.notify)
    served_name, others = runtime.served_name(site), None
    if served_name is not None:
        names = [str(site.listen), str(site.address)]
        others = answering_others(create(console_desk, hosts=names, secure=True), served_name.in_use)
    answering = Answering(uvicorn.Server(config), others, at=(str(site.address), port))
    asyncio.run(answering.serve(lambda: runtime.heartbeats.beat("console"), BEAT_SECONDS))
