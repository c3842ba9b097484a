"""Writing a pattern's tree as byte-level expressions: exact, prefixes, prefilter.

All of them are over bytes (RE2 in Latin-1 mode, hyperscan without its UTF-8 mode) and spell out
UTF-8, so that both engines see the same language. The text must be valid UTF-8.
"""

from __future__ import annotations

from functools import lru_cache

from portcullis.inspection.syntax import (
    LAST,
    Alt,
    Cat,
    Char,
    Edge,
    Node,
    Ranges,
    Rep,
    width,
)

_RE2_REPEAT = 1000
_COUNTED = 64
ASCII = 0x7F


def forward(node: Node) -> str:
    """The expression itself."""
    return _written(node, counted=None)


def loosely(node: Node, counted: int = _COUNTED) -> str:
    """The same for an automaton that need not count far.

    A repeat with a range of more than ``counted`` has no upper bound here: whoever uses it bounds
    the length in another way.
    """
    return _written(node, counted=counted)


def costly(node: Node, counted: int) -> bool:
    """Whether the exact expression counts farther than that."""
    match node:
        case Cat(parts) | Alt(parts):
            return any(costly(part, counted) for part in parts)
        case Rep(body, low, high, _):
            return high - low > counted or costly(body, counted)
        case _:
            return False


def prefixes(node: Node, counted: int = _COUNTED) -> str | None:
    """The (loose) expression for every proper prefix, the empty one included.

    None when there is none, which is so when the node matches only the empty text. An edge counts
    as something that is still to come: it depends on the next character.
    """
    match node:
        case Char() | Edge():
            return ""
        case Cat(parts):
            nested: str | None = None
            for part in reversed(parts):
                longer = None if nested is None else f"{loosely(part, counted)}{nested}"
                nested = _either(longer, prefixes(part, counted))
            return nested
        case Alt(options):
            found = [text for one in options if (text := prefixes(one, counted)) is not None]
            return f"(?:{'|'.join(found)})" if found else None
        case Rep(body, _, high, _):
            inner = prefixes(body, counted)
            if high == 0 or inner is None:
                return None
            some = _uncounted(loosely(body, counted), 0, high - 1, _weight(body), counted)
            return f"{some}{inner}"


def _either(first: str | None, second: str | None) -> str | None:
    if first is None or second is None:
        return second if first is None else first
    return f"(?:{first}|{second})"


def firsts(node: Node) -> tuple[frozenset[int], bool]:
    """The bytes that a match can begin with, and whether it may be empty."""
    match node:
        case Char(ranges):
            return _beginnings(ranges), False
        case Cat(parts):
            found: frozenset[int] = frozenset()
            for part in parts:
                more, empty = firsts(part)
                found |= more
                if not empty:
                    return found, False
            return found, True
        case Alt(options):
            each = [firsts(option) for option in options]
            return frozenset().union(*(more for more, _ in each)), any(empty for _, empty in each)
        case Rep(body, low, _, _):
            more, empty = firsts(body)
            return more, empty or low == 0
        case Edge():
            return frozenset(), True


@lru_cache(maxsize=1024)
def _beginnings(ranges: tuple[tuple[int, int], ...]) -> frozenset[int]:
    """The first bytes of the characters in some ranges: most rules share a few classes."""
    return frozenset(
        point if point <= ASCII else _encoded(point)[0]
        for low, high in ranges
        for point in (*range(low, min(high, ASCII) + 1), *_leads(low, high))
    )


def alphabet(node: Node) -> frozenset[int]:
    """The bytes that a match can hold."""
    match node:
        case Char():
            more, _ = firsts(node)
            return more | _CONTINUATION if more and max(more) > ASCII else more
        case Cat(parts) | Alt(parts):
            return frozenset().union(*map(alphabet, parts))
        case Rep(body, _, _, _):
            return alphabet(body)
        case Edge():
            return frozenset()


_CONTINUATION = frozenset(range(0x80, 0xC0))


def _leads(low: int, high: int) -> list[int]:
    """A code point for each lead byte of UTF-8 in the range."""
    return [
        max(low, point, first)
        for first, last, step in (
            (0x80, 0x7FF, 0x40),
            (0x800, 0xFFFF, 0x1000),
            (1 << 16, LAST, 1 << 18),
        )
        for point in range(first // step * step, last + 1, step)
        if max(low, point, first) <= min(high, point + step - 1, last)
    ]


def _written(node: Node, *, counted: int | None) -> str:
    match node:
        case Char(ranges):
            return _utf8(ranges, counted=counted)
        case Cat(parts):
            return "".join(_written(part, counted=counted) for part in parts)
        case Alt(options):
            return f"(?:{'|'.join(_written(option, counted=counted) for option in options)})"
        case Rep(body, low, high, lazy):
            inner = _written(body, counted=counted)
            if counted is not None:
                return _uncounted(inner, low, high, _weight(body), counted)
            return _repeated(inner, low, high, _weight(body), lazy=lazy)
        case Edge(inner):
            return r"\B" if inner else r"\b"


def _weight(node: Node) -> int:
    """By how much RE2 counts the repeats inside a node: it refuses more than 1000 in all."""
    match node:
        case Cat(parts) | Alt(parts):
            return max(map(_weight, parts), default=1)
        case Rep(body, _, high, _):
            return min(max(high, 1) * _weight(body), _RE2_REPEAT)
        case _:
            return 1


def _uncounted(inner: str, low: int, high: int, weight: int, counted: int) -> str:
    if high - low <= counted:
        return _repeated(inner, low, high, weight)
    return f"{_repeated(inner, low, low, weight)}(?:{inner})*"


def _repeated(inner: str, low: int, high: int, weight: int, *, lazy: bool = False) -> str:
    """``inner`` from low to high times, in pieces that RE2 takes, without ambiguity."""
    inner = f"(?:{inner})"
    mark = "?" if lazy else ""
    most_at_once = max(_RE2_REPEAT // weight, 1)
    whole, rest = divmod(low, most_at_once)
    text = f"{inner}{{{most_at_once}}}" * whole + (f"{inner}{{{rest}}}" if rest else "")
    optional = high - low
    nested = f"{inner}{{0,{optional % most_at_once}}}{mark}" if optional % most_at_once else ""
    for _ in range(optional // most_at_once):
        longer = f"{inner}{{{most_at_once}}}{nested}"
        shorter = f"{inner}{{0,{most_at_once - 1}}}{mark}" if most_at_once > 1 else ""
        nested = f"(?:{shorter}|{longer})" if lazy else f"(?:{longer}|{shorter})"
    return text + nested


def byte_class(ranges: Ranges) -> str:
    """The expression for one byte out of ranges."""
    if not ranges:
        return r"[^\x00-\xff]"
    if len(ranges) == 1 and ranges[0][0] == ranges[0][1]:
        return _byte(ranges[0][0])
    return f"[{''.join(_byte(a) if a == b else f'{_byte(a)}-{_byte(b)}' for a, b in ranges)}]"


def _byte(value: int) -> str:
    text = chr(value)
    return text if text.isascii() and text.isalnum() else f"\\x{value:02x}"


def _utf8(ranges: Ranges, *, counted: int | None) -> str:
    low = tuple((first, min(last, ASCII)) for first, last in ranges if first <= ASCII)
    if counted is not None and ranges and ranges[-1][0] <= ASCII + 1 and ranges[-1][1] == LAST:
        return rf"{byte_class((*low, (0xC2, 0xF4)))}[\x80-\xbf]*"
    options = [byte_class(low)] if low else []
    for first, last in ranges:
        if last > ASCII:
            options += [
                "".join(byte_class((pair,)) for pair in sequence)
                for sequence in _sequences(max(first, ASCII + 1), last)
            ]
    if not options:
        return byte_class(())
    return options[0] if len(options) == 1 else f"(?:{'|'.join(options)})"


_BLOCKS = ((0x80, 0x7FF), (0x800, 0xFFFF), (0x10000, 0x10FFFF))


def _sequences(low: int, high: int) -> list[tuple[tuple[int, int], ...]]:
    """A range of code points as sequences of ranges of bytes.

    Whole blocks are written loosely (a continuation byte is any): the text is valid UTF-8.
    """
    found: list[tuple[tuple[int, int], ...]] = []
    for first, last in _BLOCKS:
        a, b = max(low, first), min(high, last)
        if a <= b:
            found += [_loose(first)] if (a, b) == (first, last) else _split(a, b)
    return found


def _loose(first: int) -> tuple[tuple[int, int], ...]:
    lead = {2: (0xC2, 0xDF), 3: (0xE0, 0xEF), 4: (0xF0, 0xF4)}[width(first)]
    return (lead, *((0x80, 0xBF),) * (width(first) - 1))


def _split(low: int, high: int) -> list[tuple[tuple[int, int], ...]]:
    for shift in (6, 12, 18):
        mask = (1 << shift) - 1
        if low & ~mask != high & ~mask:
            if low & mask:
                return _split(low, low | mask) + _split((low | mask) + 1, high)
            if high & mask != mask:
                return _split(low, (high & ~mask) - 1) + _split(high & ~mask, high)
    return [tuple(zip(_encoded(low), _encoded(high), strict=True))]


def _encoded(point: int) -> bytes:
    return chr(point).encode("utf-8", "surrogatepass")
