"""Where the parts of a data-flow diagram stand: callers, the gate, and what is beyond, in layers.

The gate is one tall box between the other two layers, so that every flow is one straight line, and
no two cross. What is too much for a zone to be read is joined: agents by role, then whatever is
threatened least.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from portcullis.review.threats_map import Node, Side, Zone

MOST: Final = 12
"""Boxes in one zone."""
WIDTH: Final = 268
HEIGHT: Final = 62
_GAP: Final = 12
_PAD: Final = 14
_HEAD: Final = 44
_BETWEEN: Final = 96
_ZONES: Final = 22
_MARGIN: Final = 24
_TOP: Final = 24


@dataclass(frozen=True, slots=True)
class Rect:
    """A rectangle: its upper left corner and its size, in the drawing's units."""

    x: float
    y: float
    width: float
    height: float

    def overlaps(self, other: Rect) -> bool:
        """Whether they share more than an edge."""
        return (
            self.x < other.x + other.width
            and other.x < self.x + self.width
            and self.y < other.y + other.height
            and other.y < self.y + self.height
        )

    def holds(self, other: Rect) -> bool:
        """Whether the other lies within."""
        return (
            self.x <= other.x
            and self.y <= other.y
            and other.x + other.width <= self.x + self.width
            and other.y + other.height <= self.y + self.height
        )


@dataclass(frozen=True, slots=True)
class Box:
    """A part, or several joined, and where it stands."""

    node: Node
    rect: Rect


@dataclass(frozen=True, slots=True)
class Frame:
    """A trust boundary and what is within."""

    zone: Zone
    rect: Rect
    boxes: tuple[Box, ...]


@dataclass(frozen=True, slots=True)
class Flow:
    """A straight line between two boxes."""

    x1: float
    y1: float
    x2: float
    y2: float


@dataclass(frozen=True, slots=True)
class Layout:
    """The whole drawing."""

    width: float
    height: float
    frames: tuple[Frame, ...]
    flows: tuple[Flow, ...]


def layout(zones: Iterable[Zone], weights: Mapping[str, int]) -> Layout:
    """Where everything stands. ``weights`` says how much a subject of threats is threatened."""
    sides: dict[Side, list[Zone]] = {"callers": [], "gate": [], "stores": [], "beyond": []}
    for zone in zones:
        sides[zone.side].append(joined(zone, weights))
    columns = [_MARGIN + place * (WIDTH + 2 * _PAD + _BETWEEN) for place in range(3)]
    callers = _stacked(sides["callers"], columns[0], _TOP)
    beyond = _stacked(sides["beyond"], columns[2], _TOP)
    bottom = max((_end(one.rect) for one in (*callers, *beyond)), default=_TOP + _HEAD + HEIGHT)
    gate = [_tall(zone, columns[1], bottom) for zone in sides["gate"]]
    below = max((_end(one.rect) for one in gate), default=_TOP)
    stores = _stacked(sides["stores"], columns[1], below + _BETWEEN / 2)
    frames = (*callers, *gate, *stores, *beyond)
    return Layout(
        width=columns[2] + WIDTH + 2 * _PAD + _MARGIN,
        height=max(_end(one.rect) for one in frames) + _MARGIN,
        frames=frames,
        flows=tuple(_flows(callers, gate, stores, beyond)),
    )


def joined(zone: Zone, weights: Mapping[str, int]) -> Zone:
    """A zone of at most MOST parts: by group first; then the least threatened are one."""
    nodes = zone.nodes
    if len(nodes) > MOST:
        groups: dict[str, list[Node]] = {}
        for node in nodes:
            groups.setdefault(node.group or node.name, []).append(node)
        nodes = tuple(_join(name, found) for name, found in groups.items())
    if len(nodes) > MOST:
        ranked = sorted(nodes, key=lambda one: (-_weight(one, weights), one.name))
        rest = sorted(ranked[MOST - 1 :], key=lambda one: one.name)
        kept = [node for node in nodes if node not in rest]
        nodes = (*kept, _join(f"{len(rest)} more", rest))
    return Zone(title=zone.title, trust=zone.trust, side=zone.side, nodes=nodes)


def _weight(node: Node, weights: Mapping[str, int]) -> int:
    return max((weights.get(about, 0) for about in node.about), default=0)


def _join(name: str, nodes: list[Node]) -> Node:
    if len(nodes) == 1:
        return nodes[0]
    about = tuple(each for node in nodes for each in node.about)
    return Node(name=name, detail=f"{len(nodes)}: {', '.join(n.name for n in nodes)}", about=about)


def _stacked(zones: list[Zone], x: float, y: float) -> list[Frame]:
    frames = []
    for zone in zones:
        boxes = tuple(
            Box(node, Rect(x + _PAD, y + _HEAD + place * (HEIGHT + _GAP), WIDTH, HEIGHT))
            for place, node in enumerate(zone.nodes)
        )
        height = _HEAD + len(boxes) * (HEIGHT + _GAP) - _GAP + _PAD
        frames.append(Frame(zone, Rect(x, y, WIDTH + 2 * _PAD, height), boxes))
        y += height + _ZONES
    return frames


def _tall(zone: Zone, x: float, bottom: float) -> Frame:
    inner = Rect(x + _PAD, _TOP + _HEAD, WIDTH, bottom - _TOP - _HEAD - _PAD)
    boxes = tuple(Box(node, inner) for node in zone.nodes[:1])
    return Frame(zone, Rect(x, _TOP, WIDTH + 2 * _PAD, bottom - _TOP), boxes)


def _end(rect: Rect) -> float:
    return rect.y + rect.height


def _flows(
    callers: list[Frame], gate: list[Frame], stores: list[Frame], beyond: list[Frame]
) -> Iterable[Flow]:
    for middle in (box.rect for frame in gate for box in frame.boxes):
        for box in (box.rect for frame in callers for box in frame.boxes):
            y = box.y + box.height / 2
            yield Flow(box.x + box.width, y, middle.x, y)
        for box in (box.rect for frame in beyond for box in frame.boxes):
            y = box.y + box.height / 2
            yield Flow(middle.x + middle.width, y, box.x, y)
        for frame in stores:
            x = middle.x + middle.width / 2
            yield Flow(x, _end(middle), x, frame.rect.y)
