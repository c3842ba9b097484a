"""The small machine under every grammar: dice, templates with slots, banks of text.

A template holds slots ``{name}`` and choices ``((this|that))``. A paragraph sign stands for a
line break where a bank keeps one entry per line. The dice are our own, so that the same seed gives
the same rows under every Python.
"""

import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, TypeVar

T = TypeVar("T")
MASK = (1 << 64) - 1
TOKEN = re.compile(r"\(\(([^()]*)\)\)|\{([A-Za-z][A-Za-z_0-9]*)\}")
UPPER = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
LOWER = UPPER.lower()
DIGITS = "0123456789"
HEX = "0123456789abcdef"
ALNUM = UPPER + LOWER + DIGITS


class Span(NamedTuple):
    """One entity in a text, by code points, end exclusive."""

    entity: str
    start: int
    end: int


class Value(NamedTuple):
    """What a slot becomes; an entity makes it a span."""

    text: str
    entity: str | None = None


class Dice:
    """A splitmix64 generator."""

    def __init__(self, seed: str) -> None:
        state = 1469598103934665603
        for byte in seed.encode():
            state = ((state ^ byte) * 1099511628211) & MASK
        self._state = state

    def below(self, bound: int) -> int:
        """A number in 0..bound-1."""
        self._state = (self._state + 0x9E3779B97F4A7C15) & MASK
        mixed = self._state
        mixed = ((mixed ^ (mixed >> 30)) * 0xBF58476D1CE4E5B9) & MASK
        mixed = ((mixed ^ (mixed >> 27)) * 0x94D049BB133111EB) & MASK
        return (mixed ^ (mixed >> 31)) % bound

    def between(self, low: int, high: int) -> int:
        """A number in low..high, both included."""
        return low + self.below(high - low + 1)

    def pick(self, items: Sequence[T]) -> T:
        """One of the items."""
        return items[self.below(len(items))]

    def chance(self, percent: int) -> bool:
        """True in so many of a hundred cases."""
        return self.below(100) < percent

    def text(self, alphabet: str, length: int) -> str:
        """A random string."""
        return "".join(self.pick(alphabet) for _ in range(length))

    def sample(self, items: Sequence[T], count: int) -> list[T]:
        """Some different items in random order."""
        pool = list(items)
        return [pool.pop(self.below(len(pool))) for _ in range(min(count, len(pool)))]


Lookup = Callable[[str], Value | None]


def render(template: str, dice: Dice, lookup: Lookup, base: int = 0) -> tuple[str, list[Span]]:
    """Fill a template; the spans of its values come with the text."""
    parts: list[str] = []
    spans: list[Span] = []
    length = last = 0

    def add(text: str) -> None:
        nonlocal length
        parts.append(text)
        length += len(text)

    for match in TOKEN.finditer(template):
        add(template[last : match.start()])
        last = match.end()
        if match[1] is not None:
            inner, found = render(dice.pick(match[1].split("|")), dice, lookup, base + length)
            spans += found
            add(inner)
            continue
        value = lookup(match[2])
        if value is None:
            add(match[0])
        elif value.entity is None:
            inner, found = render(value.text, dice, lookup, base + length)
            spans += found
            add(inner)
        else:
            spans.append(Span(value.entity, base + length, base + length + len(value.text)))
            add(value.text)
    add(template[last:])
    return "".join(parts), spans


def listed(text: str, by: str | None = None) -> list[str]:
    """Words, or what stands between separators."""
    return text.split(by)


def lines(block: str) -> list[str]:
    """A bank with one entry a line."""
    return [line.strip().replace("¶", "\n") for line in block.strip().splitlines() if line.strip()]


def sections(block: str) -> dict[str, list[str]]:
    """A bank of ``# title`` sections with one entry a line."""
    found: dict[str, list[str]] = {}
    parts = re.split(r"^# ([a-z_]+(?:\.[a-z]+)?)\n", block, flags=re.MULTILINE)[1:]
    for title, rest in zip(parts[::2], parts[1::2], strict=True):
        found[title] = lines(rest)
    return found


@dataclass(frozen=True, slots=True)
class Carrier:
    """A raw text with places for prose; mode says how prose is escaped in it."""

    name: str
    mode: str
    body: str


def carriers(block: str) -> list[Carrier]:
    """Carriers that begin with a line ``==== name mode``."""
    found = []
    for chunk in re.split(r"^==== ", block, flags=re.MULTILINE)[1:]:
        head, _, body = chunk.partition("\n")
        name, mode = head.split()
        found.append(Carrier(name, mode, body.rstrip("\n")))
    return found


def repeated(body: str, dice: Dice) -> str:
    """Repeat the lines that begin with ``%%`` (``%%,`` joins them with commas, as JSON wants)."""
    out = []
    for line in body.split("\n"):
        if line.startswith("%%,"):
            out.append(",\n".join([line[3:]] * dice.between(2, 5)))
        elif line.startswith("%%"):
            out += [line[2:]] * dice.between(3, 8)
        else:
            out.append(line)
    return "\n".join(out)


def escaped(text: str, mode: str) -> str:
    """Prose as it stands inside this kind of text."""
    if mode == "json":
        return json.dumps(text, ensure_ascii=False)[1:-1]
    if mode == "csv":
        return text.replace('"', '""')
    if mode == "line":
        return text.replace("\n", " ")
    return text


@dataclass(slots=True)
class Rows:
    """The rows of one set; equal texts are taken once."""

    name: str
    rows: list[dict[str, object]] = field(default_factory=list)
    _seen: set[str] = field(default_factory=set)

    def add(
        self,
        template: str,
        text: str,
        *,
        source: str,
        label: int,
        kind: str,
        spans: Sequence[Span] = (),
    ) -> bool:
        """Take a row unless its text is there; false then."""
        if text in self._seen:
            return False
        self._seen.add(text)
        self.rows.append(
            {
                "id": f"{template}:{len(self.rows):05d}",
                "set": self.name,
                "text": text,
                "source": source,
                "label": label,
                "kind": kind,
                "spans": [span._asdict() for span in spans],
            }
        )
        return True
