"""notify set, list, test: where notifications go. Addresses are secrets: read from a prompt or a pipe, never shown."""

from __future__ import annotations

import sys
from getpass import getpass
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from sluicegate.flows.cli.output import Format, Output, columns, emit, remark

if TYPE_CHECKING:
    from sluicegate.registry.documents.notification import Notification

Name = Annotated[str, Parameter(help="A notification's name, as in its document.")]
Some = Annotated[str | None, Parameter(help="Only the notification of this name.")]


def set_(name: Name) -> None:
    """Keep the address of a notification: an Apprise URL, or a webhook's URL, a space and its signing key."""
    from sluicegate.flows.wiring.runtime import current_runtime
    from sluicegate.services.outbox.address import Address

    line = getpass("address (not shown): ") if sys.stdin.isatty() else sys.stdin.readline()
    current_runtime().addresses.set(name, Address.read(line))
    remark(f"stored, readable by its owner only; to try it: sluice notify test {name}")


def list_(*, output: Output = Format.TABLE) -> None:
    """List notifications: what each sends, and whether it has an address."""
    rows = [{**each.model_dump(mode="json"), "address": _problem(each.name) or "set"} for each in _notifications()]
    heads = ("name", "send", "severity", "models", "per_hour", "address")
    lines = [[", ".join(row[head]) if head == "models" else row[head] for head in heads] for row in rows]
    emit(rows, output, table=columns([head.upper().replace("_", " ") for head in heads], lines))


def try_(name: Some = None, *, output: Output = Format.TABLE) -> int:
    """Send a test message to every notification, or to one, whatever its filters say. Exit code 1 if one fails."""
    from sluicegate.flows.wiring.runtime import current_runtime
    from sluicegate.registry.report.notice import example
    from sluicegate.registry.words.errors import NotFound, SluiceError
    from sluicegate.services.outbox.notifications import deliver

    runtime, results = current_runtime(), []
    chosen = [notification for notification in _notifications() if name in (None, notification.name)]
    if not chosen:
        raise NotFound(
            f"there is no notification{f' {name}' if name else ''}.", fix="apply a document with kind: notification"
        )
    for notification in chosen:
        why = ""
        try:
            deliver(notification, runtime.addresses, [example(runtime.clock())], runtime.clock(), None)
        except SluiceError as error:
            why = str(error)
        results.append({"name": notification.name, "sent": not why, "why": why})
    rows = [(row["name"], "sent" if row["sent"] else f"NOT SENT: {row['why']}") for row in results]
    emit(results, output, table=columns(("NAME", "RESULT"), rows))
    return 0 if all(row["sent"] for row in results) else 1


def _notifications() -> list[Notification]:
    from sluicegate.flows.cli.reach import call
    from sluicegate.registry.documents.notification import Notification

    documents = call("GET", "/api/v1/documents", query={"kind": "notification"})["documents"]
    return [Notification.model_validate(document["body"]) for document in documents]


def _problem(name: str) -> str | None:
    """What is wrong with the notification's address; None if nothing is."""
    from sluicegate.flows.wiring.runtime import current_runtime
    from sluicegate.registry.words.errors import SluiceError

    try:
        current_runtime().addresses.get(name)
    except SluiceError as error:
        return str(error)
    return None
