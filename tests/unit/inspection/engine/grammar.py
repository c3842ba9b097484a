"""Texts made from a pattern's own tree."""

from __future__ import annotations

import random

from portcullis.inspection.syntax import Alt, Cat, Char, Edge, Node, Rep


def sample(node: Node, source: random.Random) -> str:
    """A text that matches (edges aside)."""
    match node:
        case Char(ranges):
            ascii_only = [one for one in ranges if one[0] < 0x7F and one[1] > 0x1F] or ranges
            low, high = source.choice(ascii_only)
            if ascii_only is not ranges:
                low, high = max(low, 0x20), min(high, 0x7E)
            return chr(source.randint(low, min(high, max(low, 0xD7FF))))
        case Cat(parts):
            return "".join(sample(part, source) for part in parts)
        case Alt(options):
            return sample(source.choice(options), source)
        case Rep(body, low, high, _):
            times = source.randint(low, min(high, low + 4))
            return "".join(sample(body, source) for _ in range(times))
        case Edge():
            return ""


def attacks(node: Node, source: random.Random, size: int) -> list[str]:
    """Texts that are made to be slow to look through: runs, near matches, true matches."""
    whole = sample(node, source) or "a"
    parts = [whole[:1], whole[: len(whole) // 2 + 1], whole[:-1] + " ", whole + " ", whole]
    return [part * (size // len(part) + 1) for part in parts]
