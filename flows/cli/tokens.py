"""token give, list, revoke, prefect: access to the console."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from cyclopts import Parameter

from sluicegate.flows.cli import completing
from sluicegate.flows.cli.output import Format, Output, emit, emit_rows, remark
from sluicegate.flows.cli.reach import call, segment

Name = Annotated[str, Parameter(help="Who gets it; the ledger records this name with everything they do.")]


def give(
    name: Name,
    *,
    role: Annotated[
        Literal["gateway", "reporter", "viewer", "analyst", "operator", "approver", "admin"],
        Parameter(
            help="gateway fetches the routes of one gateway of another host, which has the token's name, and sends its "
            "log; reporter only sends outcomes; viewer reads; analyst also reads captured requests; "
            "operator starts, pauses, aborts, applies; approver also "
            "approves, promotes and changes who gets which variation."
        ),
    ] = "viewer",
    model: Annotated[str | None, Parameter(help="For a reporter: the only model whose outcomes it may send.")] = None,
    expires: Annotated[
        str | None, Parameter(help="How long it is valid, such as 90d, at most 366d; by default until it is revoked.")
    ] = None,
    person: Annotated[
        str | None,
        Parameter(help="The person it belongs to: where two people are needed, all tokens of one person count as one."),
    ] = None,
    output: Output = Format.TABLE,
) -> None:
    """Make a token and show it once; only its hash is stored."""
    answer = call(
        "POST", "/api/v1/tokens", {"name": name, "role": role, "model": model, "expires": expires, "person": person}
    )
    emit(answer, output, table=answer["token"])
    remark(f"a token for {name}, {role}. It is not shown again.")


def list_(*, output: Output = Format.TABLE) -> None:
    """List who has a token, and with which role."""
    answer = call("GET", "/api/v1/tokens")
    emit_rows(
        answer["tokens"], output, ("NAME", "ROLE", "MODEL", "GIVEN BY", "GIVEN AT", "EXPIRES"),
        lambda token: (
            token["name"], token["role"], token["model"] or "", token["given_by"], token["given_at"][:19],
            _expiry(token),
        ),
        none="only the admin has a token; to create one: sluice token give NAME",
    )  # fmt: skip
    remark(f"runs started in Prefect act as prefect, with the role {answer['prefect']}: sluice token prefect ROLE")


def _expiry(token: Mapping[str, Any]) -> str:
    at = (token["expires_at"] or "")[:19]
    return f"{at} (expired)" if token["expired"] else at


def prefect(
    role: Annotated[
        Literal["viewer", "operator", "approver"],
        Parameter(help="viewer: no orders; operator: start, pause, abort; approver: also approve and promote."),
    ],
    *,
    output: Output = Format.TABLE,
) -> None:
    """Set what runs started in Prefect may do. Prefect does not tell people apart, so all runs act as prefect."""
    answer = call("PUT", "/api/v1/roles/prefect", {"role": role})
    emit(answer, output, table=f"runs started in Prefect act with the role {answer['role']} from now on")


def revoke(
    name: Annotated[str, Parameter(help="The token's name.", completer=completing.tokens)],
    *,
    output: Output = Format.TABLE,
) -> None:
    """Revoke a token at once."""
    answer = call("DELETE", f"/api/v1/tokens/{segment(name)}")
    emit(answer, output, table=f"{name} has no token any more")
