"""Tell Prefect about our flows: the work pool, and the deployments of `prefect.yaml`.

`is_current` and `ensure_pool` speak plain HTTP and are cheap. Deploying imports Prefect and the flows, some eight
seconds of a core, so it runs in a process of its own (`deploy_command`) and only when something changed.
"""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path

from sluicegate.registry.words.errors import Unreachable
from sluicegate.services import durable
from sluicegate.services.host.folder import StateFolder
from sluicegate.services.host.parts import HttpProbe
from sluicegate.services.host.stack import POOL
from sluicegate.services.host.wire import Answer, ask, prefect_authorization

_SECONDS = 15.0


def deploy_command() -> tuple[str, ...]:
    """The command that deploys everything in the `prefect.yaml` of its working folder."""
    return (sys.executable, "-P", "-m", "prefect", "--no-prompt", "deploy", "--all")


def digest(prefect_file: Path, code: Iterable[Path]) -> str:
    """Changes with the file, with the flows' source (their parameters become forms) and with where it all is."""
    text = hashlib.sha256(f"{prefect_file}\n{sys.executable}\n".encode())
    for path in (prefect_file, *sorted(file for folder in code for file in folder.rglob("*.py"))):
        text.update(path.read_bytes())
    return text.hexdigest()


def is_current(folder: StateFolder, environment: Mapping[str, str], wanted: str) -> bool:
    """Whether this digest was deployed to this server and its deployments are still there."""
    try:
        known = json.loads(_record(folder).read_text())
    except (OSError, ValueError):
        return False
    if known.get("digest") != wanted or known.get("server") != environment["PREFECT_API_URL"]:
        return False
    return bool(known.get("deployments")) and set(known["deployments"]) <= set(deployments(environment))


def remember(folder: StateFolder, environment: Mapping[str, str], wanted: str) -> None:
    """Record that this digest has been deployed."""
    known = {"digest": wanted, "server": environment["PREFECT_API_URL"], "deployments": deployments(environment)}
    durable.replace(_record(folder), json.dumps(known), mode=durable.PRIVATE)


def deployments(environment: Mapping[str, str]) -> list[str]:
    """The names of the deployments that use our pool."""
    body = json.dumps({"work_pools": {"name": {"any_": [POOL]}}, "limit": 200})
    answer = _post(environment, "/deployments/filter", body, good=(200,))
    return sorted(str(each["name"]) for each in json.loads(answer.text))


def ensure_pool(environment: Mapping[str, str]) -> None:
    """Create our work pool unless it is there; its worker fills in how runs are started."""
    _post(environment, "/work_pools/", json.dumps({"name": POOL, "type": "process"}), good=(201, 409))


def _post(environment: Mapping[str, str], path: str, body: str, *, good: tuple[int, ...]) -> Answer:
    url = environment["PREFECT_API_URL"].rstrip("/") + path
    answer = ask(HttpProbe(url=url, body=body, headers=prefect_authorization(environment)), seconds=_SECONDS)
    if answer is None or answer.status not in good:
        said = "nothing" if answer is None else f"{answer.status}: {answer.text[:200]}"
        raise Unreachable(
            f"the Prefect server answered {said} to {path}.",
            fix="See that PREFECT_API_URL and its credentials are right and the server runs.",
        )
    return answer


def _record(folder: StateFolder) -> Path:
    return folder.run / "deployed.json"
