"""What of a pattern is worth asking first: a wider and cheaper expression, and its literals."""

from __future__ import annotations

from portcullis.inspection.syntax import Alt, Cat, Char, Edge, Node, Ranges, Rep, least, most
from portcullis.inspection.writing import ASCII, byte_class

_TIGHT = 16
_ENOUGH = 12


def prefilter(node: Node) -> tuple[str, bool, bool]:
    """A wider, cheaper expression for hyperscan, and whether its left and right ends are exact.

    Every text that matches has a part that begins at or after its start, ends at or before its
    end, and matches this. Where an end is exact, what must not stand beside it may be added.
    """
    parts, open_left = _trimmed(node, -1)
    rest, open_right = _trimmed(Cat(tuple(parts)), 0) if len(parts) > 1 else (parts, False)
    kept, _, cut = _head(Cat(tuple(rest)), _ENOUGH)
    if cut and needles(Cat(tuple(rest))) and not needles(kept):
        kept, cut = Cat(tuple(rest)), False
    return _wide(kept), not open_left, not (open_right or cut)


def _head(node: Node, wanted: int) -> tuple[Node, int, bool]:
    """The beginning of a node that is at least so many bytes, its least bytes, whether cut."""
    match node:
        case Cat(parts):
            return _head_of(parts, wanted)
        case Alt(options):
            heads = [_head(option, wanted) for option in options]
            unlike = tuple(dict.fromkeys(head for head, _, _ in heads))
            return Alt(unlike), min(size for _, size, _ in heads), any(cut for *_, cut in heads)
        case Rep(body, low, _, lazy) if low * least(body) > wanted:
            times = -(-wanted // max(least(body), 1))
            return Rep(body, times, times, lazy), times * least(body), True
        case _:
            return node, least(node), False


def _head_of(parts: tuple[Node, ...], wanted: int) -> tuple[Node, int, bool]:
    kept: list[Node] = []
    size = 0
    for part in parts:
        if size >= wanted:
            return Cat(tuple(kept)), size, True
        head, more, cut = _head(part, wanted - size)
        kept.append(head)
        size += more
        if cut:
            return Cat(tuple(kept)), size, True
    return Cat(tuple(kept)), size, False


def numeric(node: Node) -> bool:
    """Whether every text that matches holds an ASCII digit."""
    match node:
        case Char(ranges):
            return bool(ranges) and ranges[0][0] >= ord("0") and ranges[-1][1] <= ord("9")
        case Cat(parts):
            return any(map(numeric, parts))
        case Alt(options):
            return all(map(numeric, options))
        case Rep(body, low, _, _):
            return low > 0 and numeric(body)
        case Edge():
            return False


def _trimmed(node: Node, end: int) -> tuple[list[Node], bool]:
    """The node's parts with one end (-1 is the left) cut to its least, and whether it was cut."""
    parts = _flat(node)
    index = 0 if end else -1
    cut = False
    while parts and isinstance(last := parts[index], Rep) and last.most > last.least:
        cut = True
        if last.least:
            parts[index] = Rep(last.body, last.least, last.least, last.lazy)
            break
        if len(parts) == 1:
            break
        parts.pop(index)
    return parts, cut


def _flat(node: Node) -> list[Node]:
    if isinstance(node, Cat):
        return [inner for part in node.parts for inner in _flat(part)]
    return [node]


def _wide(node: Node) -> str:
    match node:
        case Char(ranges):
            return f"{_wide_class(ranges)}{_count(least(node), most(node))}"
        case Cat(parts):
            return "".join(map(_wide, parts))
        case Alt(options):
            return f"(?:{'|'.join(map(_wide, options))})"
        case Rep():
            return _wide_repeat(node)
        case Edge():
            return ""


def _wide_repeat(node: Rep) -> str:
    """A wide range of counts has no upper bound here: that is cheaper for hyperscan."""
    low, high = node.least, node.most
    single = _single(node.body)
    if single is not None:
        inner = _wide_class(single.ranges)
        low, high = low * least(single), high * most(single)
    else:
        inner = f"(?:{_wide(node.body)})"
    if high - low > _TIGHT:
        return f"{inner}{{{low},}}"
    return f"{inner}{_count(low, high)}"


def _single(node: Node) -> Char | None:
    while isinstance(node, Cat) and len(node.parts) == 1:
        node = node.parts[0]
    return node if isinstance(node, Char) else None


def _wide_class(ranges: Ranges) -> str:
    """The ASCII characters of the ranges, and every other byte when they reach beyond."""
    low = [(first, min(last, ASCII)) for first, last in ranges if first <= ASCII]
    if ranges and ranges[-1][1] > ASCII:
        low.append((0x80, 0xFE))
    return byte_class(tuple(low))


def _count(low: int, high: int) -> str:
    if low == high:
        return "" if low == 1 else f"{{{low}}}"
    return "?" if (low, high) == (0, 1) else f"{{{low},{high}}}"


def needles(node: Node) -> frozenset[bytes]:
    """Lower-case ASCII literals, one of which stands in every text that matches (lower-cased).

    Empty when there are none of two characters or more.
    """
    best: frozenset[bytes] = frozenset()
    run = ""
    parts = _flat(node)
    for part in [*parts, Edge(inner=False)]:
        letter = _letter(part)
        if letter:
            run += letter
            continue
        best = max(best, _worth(run), _inner(part), key=_rank)
        run = ""
    return best


def _worth(run: str) -> frozenset[bytes]:
    return frozenset({run.encode()}) if len(run) > 1 else frozenset()


def _rank(found: frozenset[bytes]) -> tuple[int, int]:
    return (min(map(len, found), default=0), -len(found))


def _inner(node: Node) -> frozenset[bytes]:
    match node:
        case Alt(options):
            found = [needles(option) for option in options]
            return frozenset().union(*found) if all(found) else frozenset()
        case Rep(body, low, _, _) if low:
            return needles(body)
        case _:
            return frozenset()


def _letter(node: Node) -> str:
    """The one ASCII character (in lower case) that a node matches in either case, or nothing."""
    if not isinstance(node, Char):
        return ""
    points = {point for low, high in node.ranges[:3] for point in (low, high)}
    if any(high - low > 1 for low, high in node.ranges) or len(node.ranges) > 2:  # noqa: PLR2004 - two cases
        return ""
    letters = {chr(point).lower() for point in points}
    return letters.pop() if len(letters) == 1 and max(points) <= ASCII else ""
