"""What a Prefect server has of ours, over its plain HTTP API: deployments, work pools, workers."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from typing import Any

from sluicegate.registry.words.errors import Unreachable
from sluicegate.registry.words.obstacle import FIXES, Hindrance, Obstacle, hindrance_of
from sluicegate.services.host.parts import HttpProbe
from sluicegate.services.host.prefect_setup.deployments import Registered, WorkPool
from sluicegate.services.host.stack import POOL
from sluicegate.services.host.wire import ask, prefect_authorization

_SECONDS = 15.0


def registered(environment: Mapping[str, str], names: Collection[str]) -> tuple[Registered, ...]:
    """The deployments of these names, whose flows are called the same. Raises Unreachable, here and below."""
    wanted = {"name": {"any_": list(names)}}
    answer = _ask(environment, "/deployments/filter", {"flows": wanted, "deployments": wanted, "limit": 200})
    return tuple(
        Registered(
            name=each["name"],
            version=each["version"] or "",
            pool=each["work_pool_name"],
            paused=each["paused"],
        )
        for each in answer
    )


def work_pool(environment: Mapping[str, str], name: str) -> WorkPool:
    """A work pool that is there."""
    online = {"workers": {"status": {"any_": ["ONLINE"]}}}
    workers = _ask(environment, f"/work_pools/{name}/workers/filter", online)
    [pool] = _ask(environment, "/work_pools/filter", {"work_pools": {"name": {"any_": [name]}}})
    return WorkPool(name=name, paused=pool["is_paused"], workers=len(workers))


def ensure_pool(environment: Mapping[str, str]) -> None:
    """Create our work pool unless it is there; its worker fills in how runs are started."""
    _ask(environment, "/work_pools/", {"name": POOL, "type": "process"}, good=(201, 409))


def _ask(environment: Mapping[str, str], path: str, body: object, *, good: tuple[int, ...] = (200,)) -> Any:
    url = environment["PREFECT_API_URL"].rstrip("/") + path
    probe = HttpProbe(url=url, body=json.dumps(body), headers=prefect_authorization(environment))
    answer = ask(probe, seconds=_SECONDS)
    if answer is not None and answer.status in good:
        return json.loads(answer.text)
    if answer is None:
        hindrance = Hindrance(obstacle=Obstacle.UNREACHABLE, detail=f"Prefect does not answer at {url}")
    else:
        hindrance = hindrance_of(path, answer.status, answer.text)
    raise Unreachable(f"{hindrance.detail}.", fix=FIXES[hindrance.obstacle])
