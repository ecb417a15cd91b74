"""shadow show, shadow replay: compare two builds' answers to the same requests, live or offline."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from sluicegate.flows.cli import completing
from sluicegate.flows.cli.output import Format, Output, columns, emit
from sluicegate.flows.cli.reach import call, segment
from sluicegate.registry.words.figures import Unit, difference, interval, number, per_cent, share

Id = Annotated[
    str,
    Parameter(help="A shadow's rollout id, or a model's name for its latest rollout.", completer=completing.rollouts),
]


def show(rollout: Id, *, output: Output = Format.TABLE) -> None:
    """Show how a shadow's answers differ: coverage, differences, slices, the worst disagreements."""
    view = call("GET", f"/api/v1/rollouts/{segment(rollout)}/shadow")
    names = f"{view['model']} v{view['candidate']} beside v{view['stable']}"
    emit(view, output, table=_table(view, head=f"{names}, {per_cent(view['sample'])} copied ({view['rollout']})"))


def replay(
    model: Annotated[str, Parameter(help="The MLflow registered model.")],
    *,
    source: Annotated[Path, Parameter(name="--from", help="Captured requests, or plain JSON lines of requests.")],
    build: Annotated[str, Parameter(help="The build to try: a version, @alias or latest.")] = "latest",
    against: Annotated[
        str | None, Parameter(help="The build to compare with; without it, the captured answers.")
    ] = None,
    slices: Annotated[tuple[str, ...], Parameter(name="--slice", help="A captured header to split by.")] = (),
    show_values: Annotated[bool, Parameter(negative=(), help="Show the answers of the worst disagreements.")] = False,
    compare: Annotated[
        str | None, Parameter(help="A function MODULE:NAME that takes two values and returns their distance.")
    ] = None,
    html: Annotated[Path | None, Parameter(help="Write the report here.")] = None,
    output: Output = Format.TABLE,
) -> None:
    """Run a build on captured requests and compare its answers, without touching production."""
    from pydantic_core import to_jsonable_python

    from sluicegate.flows.rehearsal.shadow_replay import ReplayRequest
    from sluicegate.flows.rehearsal.shadow_replay import replay as run
    from sluicegate.flows.wiring.runtime import current_runtime

    runtime = current_runtime()
    request = ReplayRequest(
        model=model, requests_file=source, build=build, against=against, slices=slices, show_values=show_values,
        compare=compare,
    )  # fmt: skip
    view = run(request, runtime.catalog, runtime.builds_folder)
    if html is not None:
        from sluicegate.services.report.page import shadow_page

        html.write_text(shadow_page(view), encoding="utf-8")
    comparison = to_jsonable_python(view)
    beside = f"v{comparison['stable']}" if against is not None else "the captured answers"
    head = f"{model} v{comparison['candidate']} compared with {beside}, replayed from {source.name}"
    emit(comparison, output, table=_table(comparison, head=head))


def _table(view: dict[str, Any], head: str) -> str:
    coverage = view["coverage"]
    ended, pairs = _counted(coverage["ended"]), _counted(coverage["pairs"])
    lines = [
        head,
        f"copies   {coverage['copies']}: {ended}; dropped {coverage['dropped']}, waiting {coverage['waiting']}",
        f"pairs    {pairs}",
        *(f"differ   {j['metric']} {_percent(j['disagreement'])}{_within(j)}" for j in view["judged"]),
        f"differ   in anything, however little {_percent(view['disagreement'])}",
        *(f"declared {how}" for how in view["declared"]),
        *(f"shape    {how}: {n}" for how, n in view["schema"].items()),
        *(line for column in view["columns"] for line in _column(column)),
    ]
    if view["latency"] is not None:
        lines.append(f"latency  {_number(view['latency']['difference'], Unit.SECONDS)}, candidate minus stable")
    for metric, estimate in view["quality"].items():
        lines.append(f"quality  {metric}: {_number(estimate)}, candidate minus stable")
    return "\n".join([*lines, *_slices(view), *_worst(view)])


def _counted(counts_by_kind: dict[str, int]) -> str:
    return ", ".join(f"{kind} {n}" for kind, n in counts_by_kind.items()) or "none yet"


def _within(judged: dict[str, Any]) -> str:
    return "" if judged["within"] is None else f"; numbers that differ by at most {number(judged['within'])} agree"


def _column(column: dict[str, Any]) -> list[str]:
    head = f"column   {column['column']} ({column['kind']}, {column['n']})"
    missing = [f"         no number ({whose}): {n}" for whose, n in column["missing"].items()]
    if column["kind"] == "label":
        flips = [f for f in column["confusion"] if f["stable"] != f["candidate"]]
        shown = ", ".join(f"{f['stable']} -> {f['candidate']} {f['n']}" for f in flips[:6])
        return [f"{head}: flips {_percent(column['flips'])}", *([f"         {shown}"] if shown else []), *missing]
    names = {"spread": "spread", "correlation": "correlation", "rank": "rank_agreement"}
    details = "".join(f", {name} {number(column[key])}" for name, key in names.items() if column[key] is not None)
    return [f"{head}: {_number(column['difference'])}{details}", *missing]


def _slices(view: dict[str, Any]) -> list[str]:
    rows = [
        (
            s["slice"],
            s["disagreement"]["n"],
            "; ".join(f"{metric} {_percent(each)}" for metric, each in s["judged"].items())
            or _percent(s["disagreement"]),
            ", ".join((["stands out"] if s["stands_out"] else []) + [f"worse {m}" for m in s["harmed"]]),
        )
        for s in view["slices"][:20]
    ]
    return ["", columns(("SLICE", "PAIRS", "DIFFER", ""), rows)] if rows else []


def _worst(view: dict[str, Any]) -> list[str]:
    rows = [(w["request"], ", ".join(w["slices"]), w["schema"] or _cells(w["cells"])) for w in view["worst"][:10]]
    return ["", columns(("WORST", "WHERE", "WHAT"), rows)] if rows else []


def _cells(cells: list[dict[str, Any]]) -> str:
    return "; ".join(f"{cell['column']}: {_apart(cell)}" for cell in cells[:3])


def _apart(cell: dict[str, Any]) -> str:
    return f"{cell['served']} -> {cell['copied']}" if "served" in cell else f"{number(cell['distance'])} apart"


def _percent(estimate: dict[str, Any] | None) -> str:
    if estimate is None:
        return "nothing compared yet"
    ends = f"{share(estimate['low'])} to {share(estimate['high'])}"
    return f"{share(estimate['value'])}, CI {ends}, of {estimate['n']:,}"


def _number(estimate: dict[str, Any] | None, unit: Unit = Unit.PLAIN) -> str:
    if estimate is None:
        return "nothing compared yet"
    return f"{difference(estimate['value'], unit)}, CI {interval(estimate['low'], estimate['high'], unit)}"
