"""What a page of the docs tells its reader to do.

A fenced block of ``console`` holds commands, each after ``$ ``, going on after ``> ``, and what
they print. A comment before a fenced block says more::

    <!-- run: background -->            the commands stay: they stand in another terminal
    <!-- run: exit 3 -->                the last command ends with this code
    <!-- run: file agent.py -->         the block is a file, of this name
    <!-- run: not, it needs a cloud --> not run, for this reason
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

FENCE = re.compile(
    r"^(?:<!-- run: (?P<run>[^\n]+?) -->\n+)?```(?P<kind>[a-z]*)\n(?P<text>.*?)^```$",
    re.MULTILINE | re.DOTALL,
)
INDENTED = re.compile(r"^ {4}(?:\$ )?(.*)$", re.MULTILINE)
OURS = re.compile(r"(?<!from )\bportcullis (?!import)")
ORDERS = re.compile(r"background|exit \d+|file [\w./-]+|not, .{8,}")


@dataclass(frozen=True, slots=True)
class Command:
    """A command and what it prints, as the page has it."""

    text: str
    printed: tuple[str, ...]
    background: bool = False
    code: int = 0


@dataclass(frozen=True, slots=True)
class File:
    """A file that the reader writes."""

    name: str
    text: str


def steps(page: Path) -> Iterator[Command | File]:
    """What there is to do, in order. ValueError for a comment that says nothing known."""
    for block in FENCE.finditer(page.read_text(encoding="utf-8")):
        order, text = block["run"] or "", block["text"]
        if order and not ORDERS.fullmatch(order):
            raise ValueError(f"{page.name}: {order!r} is no order")
        word, _, rest = order.partition(" ")
        if word == "file":
            yield File(rest, text)
        elif block["kind"] == "console" and word != "not,":
            found = list(commands(text))
            for position, (command, printed) in enumerate(found):
                last = position == len(found) - 1
                code = int(rest) if word == "exit" and last else 0
                yield Command(command, printed, word == "background", code)


def commands(text: str) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Each command of a block, with the lines that it prints."""
    for part in re.split(r"^\$ ", text, flags=re.MULTILINE)[1:]:
        lines = part.rstrip("\n").split("\n")
        more = next((n for n, line in enumerate(lines[1:], 1) if line[:2] != "> "), len(lines))
        command = "\n".join([lines[0], *(line[2:] for line in lines[1:more])])
        yield command, tuple(line for line in lines[more:] if line.strip())


def shown(page: Path) -> Iterator[tuple[str, bool]]:
    """Every command line of ours that a page shows, and whether it stands there as a whole.

    A whole one is in a block; within a sentence a command may be named without what it needs.
    """
    text = page.read_text(encoding="utf-8")
    for block in FENCE.finditer(text):
        if block["kind"] == "console":
            yield from ((command, True) for command, _ in commands(block["text"]))
    rest = re.sub(r"\\\n +", " ", FENCE.sub("", text))
    yield from ((found, True) for found in INDENTED.findall(rest) if OURS.search(found))
    for span in re.findall(r"`(portcullis [^`]+)`", INDENTED.sub("", rest)):
        yield " ".join(span.split()), False
