"""deploy, undeploy, scale, and variation list, connect, set, disconnect: a model's slots and their audiences."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from cyclopts import Parameter

from sluicegate.flows.cli import completing
from sluicegate.flows.cli.deployment_files import apply_audiences, routing
from sluicegate.flows.cli.models import Model, Variation
from sluicegate.flows.cli.output import Format, Output, columns, emit, emit_rows, remark
from sluicegate.flows.cli.reach import call, segment
from sluicegate.flows.cli.rollouts import OverrideAssessment, OverrideFreeze, Reason
from sluicegate.flows.cli.tree import tree
from sluicegate.flows.cli.waiting import Timeout, Wait, until_it_serves
from sluicegate.registry.audience.qwak_deployment import QwakDeployment
from sluicegate.registry.documents.deployment_file import read_deployment_file
from sluicegate.registry.words.errors import UsageError

Slot = Annotated[str, Parameter(help="The slot of the model.")]
Audiences = Annotated[
    tuple[str, ...],
    Parameter(
        name="--audience",
        negative=(),
        help="An audience to send there; default stands for requests that no audience matches.",
    ),
]
Weights = Annotated[
    tuple[int, ...],
    Parameter(
        name="--weight",
        negative=(),
        help="One for each --audience, relative to its other variations; 1 if none is given.",
    ),
]
Samples = Annotated[
    tuple[float, ...],
    Parameter(name="--sample", negative=(), help="Instead of weights: copies, in per cent of the audience's requests."),
]
Fallback = Annotated[bool, Parameter(negative=(), help="The variation takes the requests that no audience matches.")]

_WHERE = {"unreachable": "where it cannot be reached", "errors": "where it cannot be reached or fails"}


def deploy(
    model: Annotated[str | None, Parameter(help="The MLflow registered model.", completer=completing.models)] = None,
    *,
    from_file: Annotated[
        Path | None,
        Parameter(help="A deployment file of Qwak's (JFrog ML). Options on the command line override it."),
    ] = None,
    build: Annotated[
        str | None, Parameter(help="A version, an alias such as @champion, or latest; by default latest.")
    ] = None,
    variation: Annotated[
        str | None,
        Parameter(help="The slot of the model; by default the one called default.", completer=completing.variations),
    ] = None,
    audience: Audiences = (),
    weight: Weights = (),
    sample: Samples = (),
    fallback: Fallback = False,
    now: Annotated[
        bool,
        Parameter(
            negative=(),
            help="Replace a build that has traffic at once instead of by a canary; the ledger records your override.",
        ),
    ] = False,
    override_freeze: OverrideFreeze = None,
    override_assessment: OverrideAssessment = None,
    reason: Reason = "no reason given",
    wait: Wait = True,
    timeout: Timeout = 300.0,
    output: Output = Format.TABLE,
) -> None:
    """Put a build into a variation: pack it, probe it, then give it the variation's traffic.

    If the variation has traffic, the build starts as a canary by the model's plan.
    """
    file = QwakDeployment() if from_file is None else read_deployment_file(from_file)
    model, variation = model or file.model, variation or file.variation or "default"
    if model is None:
        raise UsageError("name a model.", fix="sluice deploy MODEL, or model_id: in the file")
    if file.audiences and audience:
        raise UsageError("both the file and --audience name audiences.", fix="use one of the two")
    body = {
        "build": build or file.build or "latest", "variation": variation,
        "audiences": _shares(audience, weight, sample), "fallback": fallback, "at_once": reason if now else None,
        "protected": file.protected, **routing(file, is_fallback=fallback),
    }  # fmt: skip
    apply_audiences(file, from_file)
    if override_freeze:
        body["override_freeze"] = override_freeze
    if override_assessment:
        body["override_assessment"] = override_assessment
    view = call("POST", f"/api/v1/models/{segment(model)}/deploy", body)
    if view["strategy"] not in ("deploy", "replace"):
        remark(
            f"{model}/{variation} has traffic, so v{view['candidate']} starts as a canary; to replace it at once: --now"
        )
    elif wait:
        view = until_it_serves(view, timeout)
    emit(view, output, table=tree(view))


def undeploy(
    model: Model,
    *,
    variation: Variation,
    last: Annotated[bool, Parameter(negative=(), help="Allow it for the model's last variation.")] = False,
    reason: Reason = "no reason given",
    output: Output = Format.TABLE,
) -> None:
    """Empty a variation: remove its routes, then drain and stop its service.

    Refused if nothing else would answer its requests.
    """
    view = call("POST", f"{_path(model, variation)}/undeploy", {"last": last, "reason": reason})
    emit(view, output, table=f"{model}/{variation}: v{view['candidate']} is undeployed")


def scale(
    model: Model,
    *,
    replicas: Annotated[int, Parameter(help="How many services of the build run side by side.")],
    variation: Variation = "default",
    reason: Reason = "no reason given",
    output: Output = Format.TABLE,
) -> None:
    """Run the stable build of a variation with another number of replicas, at once.

    It keeps this number until the variation gets another build, which starts with the `serve.replicas` of its plan.
    """
    view = call("POST", f"{_path(model, variation)}/scale", {"replicas": replicas, "reason": reason})
    summary = f"{model}/{variation}: v{view['build']} runs with {view['replicas']} replica(s); see sluice status"
    emit(view, output, table=summary)


def list_(
    model: Annotated[str | None, Parameter(help="Only this model.")] = None, *, output: Output = Format.TABLE
) -> None:
    """List variations with their builds and audiences."""
    emit_rows(
        call("GET", "/api/v1/variations", query={"model": model})["variations"], output,
        ("MODEL", "VARIATION", "STABLE", "CANDIDATE", "AUDIENCES", "ROLLOUT"),
        lambda v: (
            v["model"], v["variation"], f"v{v['stable']}", v["candidate"] and f"v{v['candidate']} {v['weight']:g}%",
            _audiences(v) or "nobody", v["rollout"],
        ),
        none="nothing is served yet; to deploy a first build: sluice deploy MODEL --build 1",
    )  # fmt: skip


def connect(
    model: Model,
    variation: Slot,
    *,
    audience: Audiences = (),
    weight: Weights = (),
    sample: Samples = (),
    fallback: Fallback = False,
    output: Output = Format.TABLE,
) -> None:
    """Send audiences to a variation too, with a relative weight; 0 takes the variation out."""
    if not audience and not fallback:
        raise UsageError("name an audience, or --fallback.", fix="--audience NAME --weight 1")
    body = {"audiences": _shares(audience, weight, sample), "fallback": fallback}
    emit_connections(call("POST", f"{_path(model, variation)}/connect", body), output)


def disconnect(
    model: Model,
    variation: Slot,
    *,
    audience: Annotated[str, Parameter(help="The audience.")],
    output: Output = Format.TABLE,
) -> None:
    """Stop sending an audience to a variation. With no variation left, the next match or the fallback answers."""
    emit_connections(call("POST", f"{_path(model, variation)}/disconnect", {"audience": audience}), output)


def set_terms(
    model: Model,
    variation: Slot,
    *,
    by_name: Annotated[
        bool | None, Parameter(negative="--not-by-name", help="Whether callers may ask for the variation by name.")
    ] = None,
    stand_in: Annotated[
        Literal["never", "unreachable", "errors"] | None,
        Parameter(help="When the fallback variation answers in its place; with errors also instead of its 5xx."),
    ] = None,
    protected: Annotated[
        bool | None,
        Parameter(
            negative="--not-protected", help="Whether two named people must agree to each change of what it serves."
        ),
    ] = None,
    output: Output = Format.TABLE,
) -> None:
    """Set properties of a variation that hold for all its audiences. Options that you leave out change nothing."""
    body = {"by_name": by_name, "stand_in": stand_in, "protected": protected}
    if all(each is None for each in body.values()):
        raise UsageError(
            "name at least one property to set.",
            fix="--by-name, --not-by-name, --stand-in unreachable, --protected or --not-protected",
        )
    emit_connections(call("POST", f"{_path(model, variation)}/terms", body), output)


def _path(model: str, variation: str) -> str:
    return f"/api/v1/models/{segment(model)}/variations/{segment(variation)}"


def _shares(names: tuple[str, ...], weights: tuple[int, ...], samples: tuple[float, ...]) -> list[dict[str, Any]]:
    """Each audience with its weight or its sample. Raises UsageError if the numbers of options differ."""
    if weights and samples:
        raise UsageError(
            "give either weights or samples, not both.", fix="connect the copies by a command of their own"
        )
    key, shares = ("sample", list(samples)) if samples else ("weight", list(weights) or [1] * len(names))
    if len(shares) != len(names):
        raise UsageError(
            f"there are {len(names)} audiences and {len(shares)} {key}s.", fix=f"one --{key} for each --audience"
        )
    return [{"audience": name, key: share} for name, share in zip(names, shares, strict=True)]


def _audiences(variation: dict[str, Any]) -> str:
    shares = [f"{each['audience']} {each['weight']}" for each in variation["audiences"] if each["weight"]]
    copies = [
        f"copies of {each['sample']:g}% of {each['audience']}" for each in variation["audiences"] if each["sample"]
    ]
    words = (
        "fallback" if variation["fallback"] else "",
        "by name" if variation["by_name"] else "",
        "stood in for" if variation["stand_in"] != "never" else "",
        "protected" if variation["protected"] else "",
    )
    return ", ".join((*shares, *copies, *filter(None, words)))


def emit_connections(connections: dict[str, Any], output: Format) -> None:
    """Show which variations each audience gets, in the order in which the gateway tries the audiences."""
    rows = [(str(place + 1), each["audience"], each["shares"]) for place, each in enumerate(connections["audiences"])]
    rows.append(("", "fallback", connections["fallback"]))
    rows += [
        ("", "stand-in", f"fallback for {each['variation']}, {_WHERE[each['stand_in']]}")
        for each in connections["terms"]
        if each["stand_in"] != "never"
    ]
    rows += [("", "by name", each["variation"]) for each in connections["terms"] if each["by_name"]]
    rows += [("", "protected", each["variation"]) for each in connections["terms"] if each["protected"]]
    emit(connections, output, table=columns(("ORDER", "AUDIENCE", "GETS"), rows))
