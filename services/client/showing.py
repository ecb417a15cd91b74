"""How notebooks show rollouts, verdicts and reports: as self-contained HTML. Pure.

The console writes the sentence with a gate's figures; the client does not format any.
"""

from __future__ import annotations

from html import escape
from typing import Any

_MARKS = {"PASS": "✓", "OK": "✓", "FAIL": "✕", "UNDECIDED": "…", "NO DATA": "○"}
_HEADS = ("metric", "verdict", "evidence")
_REPORT_HEIGHT = 900


class Verdict(dict[str, Any]):
    """A gate with its last verdict; notebooks show it as a table with one row."""

    def _repr_html_(self) -> str:
        return _table([self])


class View(dict[str, Any]):
    """A rollout as the console shows it: `id`, `model`, `phase`, `ending`, `weight`, `gates`, `reason`, …"""

    @property
    def verdicts(self) -> list[Verdict]:
        """Its gates, then its guardrails."""
        return [Verdict(gate) for gate in self["gates"]]

    def _repr_html_(self) -> str:
        state = str(self["ending"] or self["phase"]).upper()
        came = f"v{self['stable']} → " if self["stable"] else ""
        head = f"<b>{_text(self['model'])} {_text(came)}v{_text(self['candidate'])}</b> {_text(state)}"
        observed = "" if self["observed_weight"] is None else f", {self['observed_weight']:.3g} % observed"
        where = f"step {self['step']} of {self['steps']}, weight {self['weight']:g} %{observed}"
        waits = f"<br>next: {_text(self['waits_for'])}" if self["waits_for"] else ""
        waits += "".join(f"<br>{_text(self[name])}" for name in ("blind", "no_driver") if self[name])
        gates = _table(self["gates"]) if self["gates"] else ""
        return f"<div>{head} · {where}<br>{_text(self['reason'])}{waits}</div>{gates}"


class Report(dict[str, Any]):
    """A rollout's report: `rollout`, `steps`, `gates` with every look, `exposures`, `timeline`, `plan`, …"""

    def __init__(self, document: dict[str, Any], html: str) -> None:
        super().__init__(document)
        self.html = html
        """The whole page."""

    def _repr_html_(self) -> str:
        page = escape(self.html, quote=True)
        style = f"width: 100%; height: {_REPORT_HEIGHT}px; border: 0"
        return f'<iframe sandbox title="rollout report" style="{style}" srcdoc="{page}"></iframe>'


def _table(gates: list[dict[str, Any]]) -> str:
    heads = "".join(f"<th>{head}</th>" for head in _HEADS)
    rows = "".join(f"<tr>{''.join(f'<td>{_text(cell)}</td>' for cell in _cells(gate))}</tr>" for gate in gates)
    return f"<table><thead><tr>{heads}</tr></thead><tbody>{rows}</tbody></table>"


def _cells(gate: dict[str, Any]) -> tuple[str, ...]:
    kind = " (watches)" if gate.get("then") == "nothing" else " (guardrail)" if gate["guardrail"] else ""
    return (
        f"{gate['metric']}{kind}",
        f"{_MARKS.get(gate['verdict'], '')} {gate['verdict']}",
        gate["reason"],
    )


def _text(value: object) -> str:
    return escape(str(value))
