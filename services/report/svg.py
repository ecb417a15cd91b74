"""The parts that all charts are drawn from: inline SVG as text, with a title and a description for screen readers.

Charts are laid out for one width. All places across are written as shares of that width, so a wider container stretches
lines and areas, and text keeps its size.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from html import escape

WIDTHS = {"wide": 720, "middle": 480, "narrow": 310}
"""The widths for which each chart is laid out, in pixels."""
ALONE = 760
"""The width of a chart that stands alone."""


@dataclass(frozen=True, kw_only=True)
class Size:
    """The size for which a drawing is laid out, in pixels."""

    width: int
    height: int

    def across(self, length: float) -> str:
        """A place or length across the drawing, as a share of its width."""
        return f"{round(100 * length / self.width, 3):g}%"


Part = Callable[[Size], str]
"""A part of a drawing: its SVG, for the drawing's size."""


def fitting(draw: Callable[[str, int], str], name: str) -> str:
    """A chart in every width. Styles show the widest that has room, and it is stretched to its container."""
    drawn = {which: draw(f"{name}-{which}", width) for which, width in WIDTHS.items()}
    return "".join(f'<div class="{which}">{chart}</div>' for which, chart in drawn.items() if chart)


def left_margin(width: int) -> float:
    """The space for the numbers of the vertical axis, in pixels."""
    return 66.0 if width > WIDTHS["narrow"] else 52.0


def figure(name: str, *, width: int, height: int, title: str, about: str, parts: Iterable[Part]) -> str:
    """A whole drawing; `name` makes its ids unique on the page."""
    size = Size(width=width, height=height)
    inside = "\n".join(part(size) for part in parts)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" class="chart" width="{width}" height="{height}" role="img" '
        f'aria-labelledby="{name}-title {name}-about">\n'
        f'<title id="{name}-title">{escape(title)}</title>\n<desc id="{name}-about">{escape(about)}</desc>\n'
        f"{inside}\n</svg>"
    )


def line(kind: str, x1: float, y1: float, x2: float, y2: float) -> Part:
    """A straight line."""
    return lambda size: f'<line class="{kind}" x1="{size.across(x1)}" y1="{y1:g}" x2="{size.across(x2)}" y2="{y2:g}"/>'


def box(kind: str, x: float, y: float, width: float, height: float) -> Part:
    """A rectangle."""
    return lambda size: (
        f'<rect class="{kind}" x="{size.across(x)}" y="{y:g}" width="{size.across(max(width, 0))}" '
        f'height="{max(height, 0):g}"/>'
    )


def path(
    kind: str, points: Iterable[tuple[float, float]], *, closed: bool = False, rows: tuple[float, float] | None = None
) -> Part:
    """Straight lines from point to point. Nothing is drawn above or below the two `rows`."""
    drawn = way(kind, points, closed=closed)

    def part(size: Size) -> str:
        if not drawn:
            return ""
        top, bottom = rows or (0, size.height)
        return (
            f'<svg viewBox="0 {top:g} {size.width} {bottom - top:g}" y="{top:g}" width="100%" '
            f'height="{bottom - top:g}" preserveAspectRatio="none">{drawn}</svg>'
        )

    return part


def way(kind: str, points: Iterable[tuple[float, float]], *, closed: bool = False) -> str:
    """The SVG of a path in a drawing that is stretched as a whole; its lines keep their thickness."""
    corners = list(points)
    if not corners:
        return ""
    line_to = "M" + "L".join(f"{x:g} {y:g}" for x, y in corners) + ("Z" if closed else "")
    return f'<path class="{kind}" d="{line_to}" vector-effect="non-scaling-stroke"/>'


def dot(kind: str, x: float, y: float, radius: float, tip: str) -> Part:
    """A point with a tooltip."""
    return lambda size: (
        f'<circle class="{kind}" cx="{size.across(x)}" cy="{y:g}" r="{radius:g}"><title>{escape(tip)}</title></circle>'
    )


def tipped(tip: str, part: Part) -> Part:
    """A part with a tooltip."""
    return lambda size: f"<g><title>{escape(tip)}</title>{part(size)}</g>"


def words(kind: str, x: float, y: float, text: str, anchor: str = "start") -> Part:
    """A line of text; `anchor` is start, middle or end."""
    return lambda size: (
        f'<text class="{kind}" x="{size.across(x)}" y="{y:g}" text-anchor="{anchor}">{escape(text)}</text>'
    )
