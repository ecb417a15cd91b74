"""The parts that all charts are drawn from: inline SVG as text, with a title and a description for screen readers."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from html import escape

WIDTHS = {"wide": 900, "middle": 560, "narrow": 340}
"""The widths in which each chart is drawn, in pixels."""
ALONE = 760
"""The width of a chart that stands alone."""


def fitting(draw: Callable[[str, int], str], name: str) -> str:
    """A chart in every width. Styles show the one that fits its container, so that the size of its text never
    changes."""
    drawn = {which: draw(f"{name}-{which}", width) for which, width in WIDTHS.items()}
    return "".join(f'<div class="{which}">{chart}</div>' for which, chart in drawn.items() if chart)


def left_margin(width: int) -> float:
    """The space for the numbers of the vertical axis, in pixels."""
    return 66.0 if width > WIDTHS["narrow"] else 52.0


def figure(name: str, *, width: int, height: int, title: str, about: str, parts: Iterable[str]) -> str:
    """A whole drawing; `name` makes its ids unique on the page."""
    inside = "\n".join(part for part in parts if part)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" class="chart" viewBox="0 0 {width} {height}" role="img" '
        f'aria-labelledby="{name}-title {name}-about">\n'
        f'<title id="{name}-title">{escape(title)}</title>\n<desc id="{name}-about">{escape(about)}</desc>\n'
        f"{inside}\n</svg>"
    )


def line(kind: str, x1: float, y1: float, x2: float, y2: float) -> str:
    """A straight line."""
    return f'<line class="{kind}" x1="{x1:g}" y1="{y1:g}" x2="{x2:g}" y2="{y2:g}"/>'


def box(kind: str, x: float, y: float, width: float, height: float) -> str:
    """A rectangle."""
    return f'<rect class="{kind}" x="{x:g}" y="{y:g}" width="{max(width, 0):g}" height="{max(height, 0):g}"/>'


def path(kind: str, points: Iterable[tuple[float, float]], *, closed: bool = False, clip: str = "") -> str:
    """Straight lines from point to point."""
    corners = list(points)
    if not corners:
        return ""
    clipped = f' clip-path="url(#{clip})"' if clip else ""
    way = "M" + "L".join(f"{x:g} {y:g}" for x, y in corners) + ("Z" if closed else "")
    return f'<path class="{kind}" d="{way}"{clipped}/>'


def dot(kind: str, x: float, y: float, radius: float, tip: str) -> str:
    """A point with a tooltip."""
    return f'<circle class="{kind}" cx="{x:g}" cy="{y:g}" r="{radius:g}"><title>{escape(tip)}</title></circle>'


def tipped(tip: str, part: str) -> str:
    """A part with a tooltip."""
    return f"<g><title>{escape(tip)}</title>{part}</g>"


def words(kind: str, x: float, y: float, text: str, anchor: str = "start") -> str:
    """A line of text; `anchor` is start, middle or end."""
    return f'<text class="{kind}" x="{x:g}" y="{y:g}" text-anchor="{anchor}">{escape(text)}</text>'


def window(name: str, x: float, y: float, width: float, height: float) -> str:
    """A rectangle for clipping paths."""
    return f'<clipPath id="{name}">{box("window", x, y, width, height)}</clipPath>'
