"""Waiting until an ordered build serves."""

from __future__ import annotations

import time
from typing import Annotated, Any

from cyclopts import Parameter

from sluicegate.flows.cli.output import remark
from sluicegate.flows.cli.reach import call, segment
from sluicegate.registry.words.errors import ServiceFailed, TimedOut

LOOK_SECONDS = 0.5
Wait = Annotated[bool, Parameter(help="Wait until the build answers requests.")]
Timeout = Annotated[float, Parameter(help="Wait at most this many seconds; then exit with code 5.")]


def until_it_serves(view: dict[str, Any], timeout: float) -> dict[str, Any]:
    """Poll a first build, a replacement or a rollback until it serves or waits for a person.

    Raises ServiceFailed, TimedOut.
    """
    started, last_reason = time.monotonic(), ""
    while not _serves(view):
        if view["ending"] in ("failed", "aborted"):
            raise ServiceFailed(f"{view['id']}: {view['reason']}", fix=f"sluice rollout history {view['id']}")
        if view["phase"] == "launching" and view["needs_person"]:
            remark(view["waits_for"])
            return view
        if view["reason"] != last_reason:
            last_reason = view["reason"]
            remark(f"{view['model']} v{view['candidate']}: {last_reason}")
        if time.monotonic() - started > timeout:
            raise TimedOut(f"{view['id']} is still {view['phase']}.", fix=f"sluice rollout show {view['id']} --watch")
        time.sleep(LOOK_SECONDS)
        view = call("GET", f"/api/v1/rollouts/{segment(view['id'])}")
    return view


def _serves(view: dict[str, Any]) -> bool:
    took_over = view["phase"] in ("confirming", "baking") or view["ending"] in ("established", "promoted")
    return took_over and bool(view["observed"])
