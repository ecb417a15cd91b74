"""How a flow run looks in the Prefect UI: its name, its tags, and links to its rollout.

Showing never stops the run: if Prefect's API does not answer, the run's log gets a warning.
"""

from __future__ import annotations

from collections.abc import Callable
from urllib.parse import quote

from prefect import get_run_logger
from prefect.runtime import flow_run

from sluicegate.flows.wiring.runtime import Runtime, current_runtime
from sluicegate.registry.rollout.rollout import Rollout
from sluicegate.registry.words.errors import SluiceError
from sluicegate.services.host.addresses import console_api
from sluicegate.services.keeper.drivers import run_name, run_tags

_named: dict[str, str] = {}


def show(publish: Callable[[], object]) -> None:
    """Publish something; log a warning if that fails."""
    try:
        publish()
    except Exception as error:  # noqa: BLE001
        get_run_logger().warning("not shown in the Prefect UI: %r", error)


def show_rollout(rollout: Rollout) -> None:
    """Tag this run with its rollout and publish links to the rollout."""
    show(lambda: _describe(rollout, name=None))
    show(lambda: _link(rollout))


def show_progress(rollout: Rollout) -> None:
    """Rename the driver's run after the rollout's progress, such as `fraud v7 25 %`, if that has changed."""
    name = run_name(rollout)
    if _named.get(rollout.id) != name:
        _named[rollout.id] = name
        show(lambda: _describe(rollout, name=name))


def links(runtime: Runtime, rollout: Rollout) -> dict[str, str]:
    """URLs of the rollout's page in the console and of its version in MLflow, as far as they are known."""
    requested = rollout.requested
    urls: dict[str, str] = {}
    api = console_api(runtime.settings)
    if api is not None:
        urls["console"] = f"{api.url}/rollouts/{quote(rollout.id, safe='')}"
    try:
        urls["mlflow"] = f"{runtime.mlflow.url}/#/models/{quote(requested.model)}/versions/{requested.version}"
    except SluiceError:
        return urls
    return urls


def this_run() -> str | None:
    """The URL of the current flow run; None outside of one."""
    return flow_run.get_flow_run_ui_url() if flow_run.get_id() else None


def _describe(rollout: Rollout, *, name: str | None) -> None:
    from uuid import UUID

    from prefect.client.orchestration import get_client

    identifier = flow_run.get_id()
    if identifier is None:
        return
    tags = sorted({*flow_run.get_tags(), *run_tags(rollout)})
    with get_client(sync_client=True) as client:
        if name is None:
            client.update_flow_run(UUID(identifier), tags=tags)
        else:
            client.update_flow_run(UUID(identifier), name=name, tags=tags)


def _link(rollout: Rollout) -> None:
    from prefect.artifacts import create_markdown_artifact

    urls = links(current_runtime(), rollout)
    if not urls:
        return
    listed = "\n".join(f"- [{where}]({url})" for where, url in urls.items())
    key = f"where-{rollout.id}".lower()
    create_markdown_artifact(key=key, markdown=f"# {run_name(rollout)}\n\n{rollout.id}\n\n{listed}\n")
