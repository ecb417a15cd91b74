"""webhook register, test, remove: the webhook by which your own MLflow server notifies the console."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from sluicegate.flows.cli.output import remark

if TYPE_CHECKING:
    from sluicegate.services.host.webhook import Webhook

Url = Annotated[
    str | None,
    Parameter(help="Where MLflow reaches the console, such as https://sluice.example; by default its own address."),
]


def register(*, url: Url = None) -> None:
    """Register the webhook at MLflow, or replace it if the address or the secret has changed."""
    hook = _webhook(url)
    hook.begin()
    remark(f"registered: MLflow at {hook.server} notifies {hook.target}")


def deliver(*, url: Url = None) -> int:
    """Have MLflow send a test delivery, and say whether the console accepted it."""
    wrong = _webhook(url).deliver_test()
    remark(wrong or "the console accepted the test delivery")
    return 1 if wrong else 0


def remove() -> None:
    """Remove this installation's webhooks from MLflow. The keeper still polls for changes."""
    remark(f"removed {_webhook(None).remove()}")


def _webhook(url: str | None) -> Webhook:
    from sluicegate.flows.wiring.machine import webhook

    return webhook(url)
