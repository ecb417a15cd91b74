"""Reads and changes our deployments, work pools and workers on a Prefect server over its HTTP API."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from typing import Any

from sluicegate.registry.words.errors import ServiceFailed, Unreachable
from sluicegate.registry.words.obstacle import FIXES, Hindrance, Obstacle, hindrance_of
from sluicegate.services.host.authorization import prefect_authorization
from sluicegate.services.host.parts import HttpProbe
from sluicegate.services.host.prefect_setup.deployments import Registered, WorkPool
from sluicegate.services.host.stack import POOL, PYTHON
from sluicegate.services.host.wire import ask

KUBERNETES, PROCESS = "kubernetes", "process"
"""The types of a work pool whose runs are Kubernetes Jobs, or processes of the worker's machine."""
DIRECTLY = f"""sh -c 'exec "${{{PYTHON}:-python}}" -m prefect.engine'"""
"""How a run's process starts. Without a command Prefect starts a process that imports Prefect only to prepare a folder
with the flow's code, and then becomes this one, which imports it again. Our code is installed already."""
PROCESSES: dict[str, Any] = {
    "job_configuration": {
        name: f"{{{{ {name} }}}}" for name in ("name", "command", "env", "labels", "stream_output", "working_dir")
    },
    "variables": {
        "type": "object",
        "properties": {
            "name": {"title": "Name", "type": "string"},
            "command": {"title": "Command", "type": "string", "default": DIRECTLY},
            "env": {"title": "Environment", "type": "object", "additionalProperties": {"type": "string"}},
            "labels": {"title": "Labels", "type": "object", "additionalProperties": {"type": "string"}},
            "stream_output": {"title": "Stream output", "type": "boolean", "default": True},
            "working_dir": {"title": "Working directory", "type": "string", "format": "path"},
        },
    },
}
"""The job template of processes: that of Prefect's own worker, with a command."""
_SECONDS = 15.0


def registered(environment: Mapping[str, str], names: Collection[str]) -> tuple[Registered, ...]:
    """The deployments with these names, which their flows have too. All functions here raise Unreachable."""
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
    """An existing work pool."""
    online = {"workers": {"status": {"any_": ["ONLINE"]}}}
    workers = _ask(environment, f"/work_pools/{name}/workers/filter", online)
    [pool] = _ask(environment, "/work_pools/filter", {"work_pools": {"name": {"any_": [name]}}})
    return WorkPool(name=name, type=pool["type"], paused=pool["is_paused"], workers=len(workers))


def ensure_pool(environment: Mapping[str, str], template: Mapping[str, Any] | None = None) -> None:
    """Create our work pool unless it exists.

    With `template` it is a Kubernetes pool with this job template, which also replaces that of an existing pool.
    Raises ServiceFailed if it exists with another type. Without, its runs are processes that start as `DIRECTLY`.
    """
    if template is None:
        _start_directly(environment)
        return
    jobs = {"name": POOL, "type": KUBERNETES, "base_job_template": template}
    created = _ask(environment, "/work_pools/", jobs, good=(201, 409))
    if "id" not in created:
        _set_template(environment, template)


def _start_directly(environment: Mapping[str, str]) -> None:
    """Create the pool of processes. An existing one keeps its template, and its own command if it has one."""
    pool = {"name": POOL, "type": PROCESS, "base_job_template": PROCESSES}
    created = _ask(environment, "/work_pools/", pool, good=(201, 409))
    if "id" in created:
        return
    [there] = _ask(environment, "/work_pools/filter", {"work_pools": {"name": {"any_": [POOL]}}})
    template = there["base_job_template"]
    command = template.get("variables", {}).get("properties", {}).get("command", {"default": ""})
    if there["type"] == PROCESS and command.get("default") is None:
        command["default"] = DIRECTLY
        _ask(environment, f"/work_pools/{POOL}", {"base_job_template": template}, method="PATCH", good=(204,))


def _set_template(environment: Mapping[str, str], template: Mapping[str, Any]) -> None:
    """Set the job template of the existing pool."""
    [pool] = _ask(environment, "/work_pools/filter", {"work_pools": {"name": {"any_": [POOL]}}})
    if pool["type"] != KUBERNETES:
        raise ServiceFailed(
            f"Prefect has a work pool {POOL} of the type {pool['type']}: its runs would not be Jobs of the cluster.",
            fix=f"delete it in Prefect, if nobody else uses it: prefect work-pool delete {POOL}",
        )
    if pool["base_job_template"] != template:
        _ask(environment, f"/work_pools/{POOL}", {"base_job_template": template}, method="PATCH", good=(204,))


def _ask(
    environment: Mapping[str, str], path: str, body: object, *, method: str = "POST", good: tuple[int, ...] = (200,)
) -> Any:
    url = environment["PREFECT_API_URL"].rstrip("/") + path
    probe = HttpProbe(url=url, body=json.dumps(body), headers=prefect_authorization(environment))
    answer = ask(probe, seconds=_SECONDS, method=method)
    if answer is not None and answer.status in good:
        return json.loads(answer.text or "null")
    if answer is None:
        hindrance = Hindrance(obstacle=Obstacle.UNREACHABLE, detail=f"Prefect does not answer at {url}")
    else:
        hindrance = hindrance_of(path, answer.status, answer.text)
    raise Unreachable(f"{hindrance.detail}.", fix=FIXES[hindrance.obstacle])
