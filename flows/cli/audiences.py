"""audience apply, check, order, list, show, delete, test: groups of callers."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from sluicegate.flows.cli import completing
from sluicegate.flows.cli.documents import Files
from sluicegate.flows.cli.models import pair
from sluicegate.flows.cli.output import Format, Output, columns, emit, emit_rows, plain, remark
from sluicegate.flows.cli.reach import call, segment
from sluicegate.flows.cli.variations import emit_connections
from sluicegate.registry.audience.connections import FALLBACK
from sluicegate.registry.documents.documents import ReadDocument
from sluicegate.registry.words import figures
from sluicegate.registry.words.settings import Settings

Name = Annotated[str, Parameter(help="The audience.", completer=completing.audiences)]


def apply(
    *,
    file: Files,
    model: Annotated[
        str | None, Parameter(help="Connect the variations that a Qwak file names under routes, for this model.")
    ] = None,
    output: Output = Format.TABLE,
) -> None:
    """Apply every audience of the files; idempotent by name. Models that use one change their routes at once."""
    documents = _read(file)
    done = [_applied(each) for each in documents]
    lines = [f"audience {d['name']}: {'applied' if d['changed'] else 'unchanged'}" for d in done]
    for document in documents:
        if model is not None:
            lines += _connected(document, model)
        elif document.note is not None:
            remark(document.note)
    emit(done, output, table="\n".join(lines))


def list_(*, output: Output = Format.TABLE) -> None:
    """List audiences and who uses them."""
    emit_rows(
        call("GET", "/api/v1/audiences")["audiences"], output, ("AUDIENCE", "WHEN", "USED BY", "DESCRIPTION"),
        lambda a: (a["name"], _words(a["when"]), _users(a) or None, a["description"] or None),
        none="no audiences yet; to apply one: sluice audience apply -f FILE",
    )  # fmt: skip


def show(name: Name, *, output: Output = Format.YAML) -> None:
    """Show one audience in the short form, and who uses it."""
    audience = call("GET", f"/api/v1/audiences/{segment(name)}")
    row = (name, _words(audience["when"]), _users(audience))
    emit(audience, output, table=columns(("AUDIENCE", "WHEN", "USED BY"), [row]))


def delete(name: Name, *, output: Output = Format.TABLE) -> None:
    """Delete an audience. Refused while a model uses it, with the models' names."""
    answer = call("DELETE", f"/api/v1/audiences/{segment(name)}")
    emit(answer, output, table=f"audience {name}: deleted")


def try_out(
    *,
    metadata: Annotated[
        tuple[str, ...],
        Parameter(help="Metadata of the request as name=value; repeat the option for more.", negative=()),
    ] = (),
    model: Annotated[str | None, Parameter(help="The model.")] = None,
    unit: Annotated[str | None, Parameter(help="The id that is hashed.")] = None,
    output: Output = Format.TABLE,
) -> None:
    """Show which audience a request matches, which build it would get, and why. Sends nothing."""
    body = {"metadata": dict(pair(text) for text in metadata), "model": model, "unit": unit}
    trial = call("POST", "/api/v1/audiences/test", body)
    emit(trial, output, table=_trial(trial) if model is not None else _considered(trial["considered"]))


def check(
    *,
    file: Files,
    model: Annotated[
        str | None, Parameter(help="Use this model's order of audiences; by default the order of the files.")
    ] = None,
    requests: Annotated[
        Path | None,
        Parameter(
            help="With --model: metadata of real requests, one JSON object a line, to count how many would move."
        ),
    ] = None,
    output: Output = Format.TABLE,
) -> int:
    """Report audiences that overlap, are hidden by others or can never match, each with a request that shows it.

    Exit code 2 if an audience can never match a request.
    """
    from sluicegate.flows.prover.checking import check as checked
    from sluicegate.flows.prover.checking import in_words, read_requests
    from sluicegate.registry.orders.connections_record import read
    from sluicegate.registry.words.errors import UsageError

    if requests is not None and model is None:
        raise UsageError(
            "--requests needs a model: whether requests move depends on its connections.", fix="add --model MODEL"
        )
    now = read(call("GET", f"/api/v1/models/{segment(model)}/connections")) if model is not None else None
    sample = read_requests(requests) if requests is not None else None
    proof = checked([document.value for document in _read(file)], now, sample)
    lines = [in_words(finding) for finding in proof.findings]
    if (moves := proof.moves) is not None:
        lines.append(
            f"of {moves.requests:,} requests {moves.changed:,} would change audience, {moves.variation:,} of them "
            f"certainly also the variation; the fallback's share would be {figures.share(moves.fallback_share or 0)}"
        )
    elif model is not None:
        lines += _fallback_now(model)
        remark(
            "unknown whether real requests would move, because their metadata are not kept; "
            "pass some with --requests FILE"
        )
    emit(plain(proof), output, table="\n".join(lines))
    return 0 if proof.is_sound else 2


def order(
    model: Annotated[str, Parameter(help="The model.", completer=completing.models)],
    names: Annotated[tuple[str, ...], Parameter(help="Audiences, in the order in which they are tried.", negative=())],
    /,
    *,
    output: Output = Format.TABLE,
) -> None:
    """Set the order in which the gateway tries a model's audiences; the first that matches takes the request.

    Audiences that are not named come after these, in their present order.
    """
    emit_connections(
        call("POST", f"/api/v1/models/{segment(model)}/connections/order", {"audiences": list(names)}), output
    )


def _fallback_now(model: str) -> list[str]:
    """The fallback's share of the last minute's requests, if there were any."""
    served = call("GET", "/api/v1/overview", query={"model": model})["served"]
    shares = {each["taken"] for each in served if each["audience"] == FALLBACK and each["taken"] is not None}
    return [
        f"fallback: {figures.per_cent(share)} of the last minute's requests, with the audiences in force now"
        for share in shares
    ]


def _read(file: tuple[Path, ...]) -> list[ReadDocument]:
    from sluicegate.registry.documents.documents import read_documents
    from sluicegate.registry.words.errors import UsageError

    documents = [each for each in read_documents(file, Settings.read().champion_alias) if each.kind == "audience"]
    if not documents:
        raise UsageError(
            "there is no audience among these documents.", fix="name a file that begins with kind: audience"
        )
    return documents


def _applied(document: ReadDocument) -> dict[str, Any]:
    body = {"values": document.body, "where": document.where}
    answer = call("POST", "/api/v1/documents", body)
    return {"name": document.name, "changed": answer["changed"]}


def _connected(document: ReadDocument, model: str) -> list[str]:
    """Connect the routes of a Qwak file: first those that answer requests, then those that get copies."""
    lines = []
    for route in sorted(document.routes, key=lambda route: route.shadow):
        share = {"sample": float(route.weight)} if route.shadow else {"weight": route.weight}
        path = f"/api/v1/models/{segment(model)}/variations/{segment(route.variation)}/connect"
        call("POST", path, {"audiences": [{"audience": document.name, **share}]})
        lines.append(f"{document.name} -> {model}/{route.variation}: connected")
    return lines


def _words(when: dict[str, Any]) -> str:
    from ruamel.yaml import YAML
    from ruamel.yaml.compat import StringIO

    writer, text = YAML(typ="safe"), StringIO()
    writer.default_flow_style = True
    writer.width = 10_000
    writer.dump(when, text)
    return text.getvalue().strip().removeprefix("{").removesuffix("}") or "everybody"


def _users(audience: dict[str, Any]) -> str:
    return "; ".join(f"{user['model']} -> {user['shares']}" for user in audience["users"])


def _considered(considered: list[dict[str, Any]]) -> str:
    rows = [("takes it" if each["takes"] else "-", each["audience"], each["why"]) for each in considered]
    return (
        columns(("", "AUDIENCE", "WHY"), rows)
        if rows
        else "no audiences yet; to apply one: sluice audience apply -f FILE"
    )


def _trial(trial: dict[str, Any]) -> str:
    *passed, taking = trial["considered"]
    lines = [f"audience   {taking['audience']}: {taking['why']}"]
    lines += [f"  not      {each['audience']}: {each['why']}" for each in passed]
    slot, header = trial["slot"], trial["unit_header"]
    if slot is not None:
        lines.append(f"variation  {slot['variation']}")
        lines.append(f"build      v{slot['build']} ({slot['arm']}): slot {slot['slot']} of 10,000 by the unit's hash")
        return "\n".join(lines)
    parts = [f"{p['share']:g} % {p['variation']} v{p['build']} ({p['arm']})" for p in trial["parts"]]
    lines.append(f"gets       {', '.join(parts)}")
    if len(parts) > 1:
        lines.append(
            f"           assigned at random for each request{f'; the same for one {header}: --unit' if header else ''}"
        )
    return "\n".join(lines)
