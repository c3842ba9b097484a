"""The data-flow diagram of a deployment as SVG: boundaries, parts, flows, and what is uncovered.

It holds no script and no style: all of it is attributes, so that any content security policy lets
it be seen. What it shows in colour it says in words.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

from portcullis.review.incident_text import in_html
from portcullis.review.threats import Model, Threat
from portcullis.review.threats_layout import Box, Flow, Frame, Layout, Rect, layout
from portcullis.review.threats_rating import LEVELS, Coverage, Level

_FONT: Final = "system-ui, 'DejaVu Sans', sans-serif"
_NAME: Final = 30
_LINE: Final = 40
_INK: Final = "#1b1f24"
_SOFT: Final = "#4c5561"
_COLOURS: Final = {
    Level.CRITICAL: "#9b1c1c",
    Level.HIGH: "#a84300",
    Level.MEDIUM: "#6b5900",
    Level.LOW: "#3d4a57",
}
_QUIET: Final = "#1e6b3a"
_FRAMES: Final = {"callers": "#f7f4ee", "gate": "#eaf1f8", "stores": "#eaf1f8", "beyond": "#f7f4ee"}


def svg(model: Model) -> str:
    """The whole drawing, as one element."""
    drawn = layout(model.boundaries, _weights(model.threats))
    counts = model.counts()
    title = f"Data flows of {model.trust_domain}"
    parts = sum(len(zone.nodes) for zone in model.boundaries)
    desc = (
        f"{parts} parts within {len(model.boundaries)} trust boundaries. Callers are on the left,"
        f" the gate is in the middle with its files below, and what it reaches is on the right;"
        f" every flow passes the gate. Of the threats {counts['uncovered']} are uncovered,"
        f" {counts['partly']} partly covered and {counts['covered']} covered."
    )
    return "\n".join([*_head(drawn, title, desc), *_body(drawn, model), "</svg>", ""])


def _weights(threats: Iterable[Threat]) -> dict[str, int]:
    found: dict[str, int] = {}
    for one in threats:
        if one.coverage is not Coverage.COVERED:
            found[one.about] = max(found.get(one.about, 0), LEVELS[one.level] + 1)
    return found


def _head(drawn: Layout, title: str, desc: str) -> Iterator[str]:
    size = f'width="{drawn.width:g}" height="{drawn.height:g}"'
    view = f'viewBox="0 0 {drawn.width:g} {drawn.height:g}"'
    yield (
        f'<svg xmlns="http://www.w3.org/2000/svg" {size} {view} role="img"'
        f' aria-labelledby="flows-title flows-desc" font-family="{_FONT}">'
    )
    yield f'<title id="flows-title">{in_html(title)}</title>'
    yield f'<desc id="flows-desc">{in_html(desc)}</desc>'
    yield (
        '<defs><marker id="flows-end" viewBox="0 0 8 8" refX="8" refY="4" markerWidth="8"'
        f' markerHeight="8" orient="auto"><path d="M0 0 8 4 0 8z" fill="{_SOFT}"/></marker></defs>'
    )
    yield f'<rect width="{drawn.width:g}" height="{drawn.height:g}" fill="#ffffff"/>'


def _body(drawn: Layout, model: Model) -> Iterator[str]:
    for frame in drawn.frames:
        yield from _frame(frame)
    for flow in drawn.flows:
        yield _flow(flow)
    for frame in drawn.frames:
        for box in frame.boxes:
            yield from _box(box, model.threats)


def _frame(frame: Frame) -> Iterator[str]:
    rect, zone = frame.rect, frame.zone
    fill = _FRAMES[zone.side]
    yield _rect(rect, fill, _SOFT, ' stroke-dasharray="7 4" rx="10"')
    yield _text(rect.x + 14, rect.y + 19, zone.title, 14, _INK, _LINE, bold=True)
    yield _text(rect.x + 14, rect.y + 35, zone.trust, 11, _SOFT, _LINE)


def _flow(flow: Flow) -> str:
    ends = f'x1="{flow.x1:g}" y1="{flow.y1:g}" x2="{flow.x2:g}" y2="{flow.y2:g}"'
    return f'<line {ends} stroke="{_SOFT}" stroke-width="1.3" marker-end="url(#flows-end)"/>'


def _box(box: Box, threats: tuple[Threat, ...]) -> Iterator[str]:
    rect, node = box.rect, box.node
    own = [one for one in threats if one.about in node.about]
    found = [one for one in own if one.coverage is not Coverage.COVERED]
    worst = max((one.level for one in found), key=LEVELS.__getitem__, default=None)
    colour = _QUIET if worst is None else _COLOURS[worst]
    yield f"<g><title>{in_html(f'{node.name}: {node.detail}')}</title>"
    yield _rect(rect, "#ffffff", colour, ' rx="6" stroke-width="1.6"')
    yield _rect(Rect(rect.x, rect.y, 6, rect.height), colour, "none", ' rx="3"')
    yield _text(rect.x + 16, rect.y + 20, node.name, 13, _INK, _NAME, bold=True)
    yield _text(rect.x + 16, rect.y + 36, node.detail, 11, _SOFT, _LINE)
    told = _told(found, worst) if own else "no threat of its own"
    yield _text(rect.x + 16, rect.y + 53, told, 11, colour, _LINE)
    yield "</g>"


def _told(found: list[Threat], worst: Level | None) -> str:
    if worst is None:
        return "all covered"
    bare = sum(one.coverage is Coverage.UNCOVERED for one in found)
    return f"{worst}: {bare} uncovered, {len(found) - bare} partly"


def _rect(rect: Rect, fill: str, stroke: str, more: str = "") -> str:
    place = f'x="{rect.x:g}" y="{rect.y:g}" width="{rect.width:g}" height="{rect.height:g}"'
    return f'<rect {place} fill="{fill}" stroke="{stroke}"{more}/>'


def _text(
    x: float, y: float, text: str, size: int, fill: str, most: int, *, bold: bool = False
) -> str:
    cut = text if len(text) <= most else f"{text[: most - 1]}\u2026"
    weight = ' font-weight="600"' if bold else ""
    return (
        f'<text x="{x:g}" y="{y:g}" font-size="{size}" fill="{fill}"{weight}>{in_html(cut)}</text>'
    )
