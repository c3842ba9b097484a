"""What of a pattern is worth asking first: a wider and cheaper expression, and its literals."""

from __future__ import annotations

from portcullis.inspection.syntax import (
    LAST,
    MAX_BYTES,
    Alt,
    Cat,
    Char,
    Edge,
    Node,
    Ranges,
    Rep,
    least,
    merged,
    most,
)
from portcullis.inspection.writing import ASCII, alphabet, byte_class, firsts

_TIGHT = 16
_ENOUGH = 12
_WORD = 16
"""Bytes of a pattern's beginning that are worth asking for; of an alternative, a word's."""
_MOST = 246
"""Edges that allow more bytes than all but the digits are not worth asking for."""
_SHORT = 64
"""Longer matches are dear to find with their beginnings."""


def prefilter(node: Node, before: frozenset[int], after: frozenset[int]) -> tuple[str, int]:
    """A wider, cheaper expression for hyperscan; ``before`` and ``after`` may stand beside a match.

    Every text that matches, with the byte on each side of it, has a part that matches this; it
    begins at least so many bytes before the part's end.
    """
    parts, before = _trimmed(_flat(node), 0, before)
    parts, after = _trimmed(parts, -1, after)
    head, then = _cut(parts, after)
    if then is not after and needles(Cat(tuple(parts))) and not needles(head):
        head, then = Cat(tuple(parts)), after
    follows = _beside(then)
    return f"{_beside(before)}(?:{_wide(head)}){follows}", least(head) + bool(follows)


def _beside(allowed: frozenset[int]) -> str:
    """One of these bytes; nothing where hardly any is excluded."""
    if len(allowed) > _MOST:
        return ""
    return byte_class(merged([(byte, byte) for byte in allowed]))


def _trimmed(
    parts: list[Node], end: int, beside: frozenset[int]
) -> tuple[list[Node], frozenset[int]]:
    """The parts, the one at the end (0 or -1) cut to its least, and what may stand beside them.

    A few characters whose number is plain to see stay as they are.
    """
    while isinstance(part := parts[end], Rep) and part.most > part.least:
        near, _ = firsts(part.body)
        if part.most - part.least <= _TIGHT and _single(part.body) and not (end and near & beside):
            break
        if len(parts) == 1 and not part.least:
            break
        beside |= near if end else alphabet(part.body)
        some: list[Node] = [Rep(part.body, part.least, part.least, part.lazy)] if part.least else []
        if part.least == 1:
            some = _flat(part.body)
        parts = [*parts[:-1], *some] if end else [*some, *parts[1:]]
    return parts, beside


def _cut(parts: list[Node], after: frozenset[int]) -> tuple[Node, frozenset[int]]:
    """The beginning of the parts that is long enough, and the bytes that may follow it."""
    size = 0
    for index, part in enumerate(parts):
        head, more, cut = _head(part, _ENOUGH - size)
        size += more
        rest = Cat(tuple(parts[index + 1 :]))
        if cut or (size >= _ENOUGH and rest.parts):
            then, empty = firsts(rest)
            then = then | after if empty else then
            return Cat((*parts[:index], head)), then | alphabet(part) if cut else then
    return Cat(tuple(parts)), after


def _head(node: Node, wanted: int) -> tuple[Node, int, bool]:
    """The beginning of a node that is at least so many bytes, its least bytes, whether cut."""
    match node:
        case Cat(parts):
            return _head_of(parts, wanted)
        case Alt(options):
            wanted = max(wanted, _WORD)
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


def told_apart(node: Node, after: frozenset[int]) -> bool:
    """Whether a short match ends in one place only, given where it begins and what may follow."""
    return most(node) <= _SHORT and max(alphabet(node), default=0) <= ASCII and _ends(node, after)


def _ends(node: Node, after: frozenset[int]) -> bool:
    """Whether a node can end in one place only; ``after`` are the bytes that may follow it."""
    if least(node) == most(node) or not alphabet(node) & after:
        return not _edged(node)
    match node:
        case Cat(parts):
            for part in reversed(parts):
                if not _ends(part, after):
                    return False
                begin, empty = firsts(part)
                after = begin | after if empty else begin
            return True
        case Rep(body, low, high, _):
            begin, _ = firsts(body)
            return (low == high or not begin & after) and _ends(body, begin | after)
        case _:
            return False


def _edged(node: Node) -> bool:
    """Whether an edge is in it."""
    match node:
        case Cat(parts) | Alt(parts):
            return any(map(_edged, parts))
        case Rep(body, _, _, _):
            return _edged(body)
        case Edge():
            return True
        case Char():
            return False


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


def sure(node: Node, counted: int, *, edged: bool) -> int:
    """How long a match of the loose expression may be for certainly being one of the exact one.

    Both prefer the same; the loose one counts less and, where an edge follows (``edged``), may
    end within a character. 0 where nothing is certain.
    """
    excess = _excess(node, counted, edged=edged)
    return max(least(node) + excess - 1, 0) if excess else 0


def _excess(node: Node, counted: int, *, edged: bool) -> int:
    """The least bytes by which a text must be too long to match only loosely; 0 if any may be."""
    match node:
        case Char(ranges):
            return 0 if edged and ranges and ranges[-1][1] == LAST else MAX_BYTES
        case Cat(parts) | Alt(parts):
            return min((_excess(part, counted, edged=edged) for part in parts), default=MAX_BYTES)
        case Rep(body, low, high, lazy):
            if lazy:
                return 0
            inner = _excess(body, counted, edged=edged)
            return min(inner, (high + 1 - low) * least(body)) if high - low > counted else inner
        case Edge(inner):
            return 0 if inner else MAX_BYTES


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
