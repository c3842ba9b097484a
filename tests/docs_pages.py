"""What a page of the docs tells its reader to do.

A fenced block of ``console`` holds commands, each after ``$ ``, going on after ``> ``, and what
they print. An indented block whose lines are commands holds these, with nothing of what they print
(or like ``console``, when they stand after ``$ ``). All are run. A comment before a block says
more::

    <!-- run: background -->            the commands stay: they stand in another terminal
    <!-- run: exit 3 -->                the last command ends with this code
    <!-- run: file agent.py -->         the block is a file, of this name
    <!-- run: not, it needs a cloud --> not run, for this reason

So that no command is forgotten, a block that has commands and is none of these is an error.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from textwrap import dedent

ORDERS = re.compile(r"background|exit \d+|file [\w./-]+|not, .{8,}")
COMMENT = re.compile(r"<!-- run: (.+?) -->")
KINDS = {"", "console", "ini", "json", "nginx", "python", "rego", "text", "toml", "yaml"}
"""What a fence may say that it holds; what begins with ``{`` is for the builder of the pages."""
FENCES = {"```", "~~~"}
PROGRAM = re.compile(
    r"\$ \S|(\w+=\S+ +|sudo +)*(\S*/)?(portcullis|make|curl|wget|git|pip3?|pipx|uv|npx?|python3?|"
    r"pytest|ssh|scp|openssl|docker|podman|kubectl|helm|systemctl|journalctl|apt|apt-get|export|"
    r"source|\.|cd|cp|mv|rm|ls|mkdir|touch|chmod|echo|printf|jq|sed|grep|cat|tar|sleep|kill|"
    r"\$EDITOR|\w+=\$\(.*)(\s|$)"
)
"""How a line begins that somebody is to type."""
ALONE = re.compile(r"portcullis up *(#|$)")
"""What says its addresses when it is there; whoever reads on sees them first."""
STAYS = re.compile(
    r"\bportcullis (up|demo|\w+ connect|audit witness|audit mirror(?!.* --once)|approval watch|"
    r"audit (tail|export)\b.* (-f|--follow))\b(?!.*--show-key)"
)


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


@dataclass(frozen=True, slots=True)
class Block:
    """A block of a page; ``order`` is what the comment before it says, ``kind`` the fence's."""

    order: str
    kind: str
    text: str
    lines: range = field(compare=False)

    def commands(self) -> list[tuple[str, tuple[str, ...]]]:
        """Each command of it, with the lines that it prints; none when it is no such block."""
        if self.kind == "console" or (self.kind == "indented" and _typed(self.text)):
            return list(commands(self.text))
        return []


@dataclass(frozen=True, slots=True)
class Section:
    """What stands under a heading; the first has none."""

    heading: str
    steps: tuple[Command | File, ...]


def blocks(page: Path) -> Iterator[Block]:
    """The blocks of a page. ValueError where one is written so that nobody knows what it is."""
    for found in _parts(page):
        if isinstance(found, Block):
            yield found


def sections(page: Path) -> Iterator[Section]:
    """What there is to do, in order, by the headings. ValueError as above."""
    heading, steps = "", []
    for part in _parts(page):
        if isinstance(part, Block):
            steps += _steps(part)
        else:
            yield Section(heading, tuple(steps))
            heading, steps = part, []
    yield Section(heading, tuple(steps))


def steps(page: Path) -> Iterator[Command | File]:
    """What there is to do, in order. ValueError as above."""
    for section in sections(page):
        yield from section.steps


def commands(text: str) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Each command of a block, with the lines that it prints."""
    if not re.search(r"^\$ ", text, re.MULTILINE):
        whole = re.sub(r"\\\n +", "\\\n  ", text).replace("\\\n", "\\\0")
        lines = (line.replace("\0", "\n") for line in whole.splitlines())
        yield from ((line, ()) for line in lines if line.strip() and line[0] != "#")
        return
    for part in re.split(r"^\$ ", text, flags=re.MULTILINE)[1:]:
        lines = part.rstrip("\n").split("\n")
        more = next((n for n, line in enumerate(lines[1:], 1) if line[:2] != "> "), len(lines))
        command = "\n".join([lines[0], *(line[2:] for line in lines[1:more])])
        yield command, tuple(line for line in lines[more:] if line.strip())


def shown(page: Path) -> Iterator[tuple[str, bool]]:
    """Every command line of ours that a page shows, and whether it stands there as a whole.

    A whole one is in a block; within a sentence a command may be named without what it needs.
    """
    prose = dict(enumerate(page.read_text(encoding="utf-8").split("\n")))
    for block in blocks(page):
        yield from ((command, True) for command, _ in block.commands())
        for line in block.lines:
            prose.pop(line, None)
    for span in re.findall(r"`(portcullis [^`]+)`", "\n".join(prose.values())):
        yield " ".join(span.split()), False


def _steps(block: Block) -> Iterator[Command | File]:
    word, _, rest = block.order.partition(" ")
    if word == "file":
        yield File(rest, block.text)
    elif word != "not,":
        found = block.commands()
        for position, (command, printed) in enumerate(found):
            last = position == len(found) - 1
            stays = word == "background" or STAYS.search(command) is not None
            said = printed or (("gate ...",) if ALONE.match(command) else ())
            yield Command(command, said, stays, int(rest) if word == "exit" and last else 0)


def _parts(page: Path) -> Iterator[Block | str]:
    """The blocks and, as texts, the headings."""
    lines = page.read_text(encoding="utf-8").split("\n")
    order, number = "", 0
    while number < len(lines):
        line = lines[number]
        if found := _block(lines, number, order):
            if fault := _unclear(found):
                raise _fault(page, number, fault)
            yield found
            order, number = "", found.lines.stop
            continue
        if fault := _wrong(line, order):
            raise _fault(page, number, fault)
        if said := COMMENT.fullmatch(line):
            order = said[1]
        elif line.startswith("#"):
            yield line.lstrip("# ")
        number += 1
    if order:
        raise _fault(page, number, f"no block comes after {order!r}")


def _block(lines: list[str], begin: int, order: str) -> Block | None:
    """The block that begins in a line."""
    line, end = lines[begin], begin + 1
    if line.startswith("```"):
        while end < len(lines) and lines[end] != "```":
            end += 1
        text = "".join(f"{one}\n" for one in lines[begin + 1 : end])
        return Block(order, line[3:], text, range(begin, end + 1))
    if line[:4] != "    " or line.lstrip()[:3] in FENCES or (begin and lines[begin - 1].strip()):
        return None
    while end < len(lines) and (lines[end][:4] == "    " or not lines[end]):
        end += 1
    text = dedent("\n".join(lines[begin:end])).rstrip("\n") + "\n"
    return Block(order, "indented", text, range(begin, end))


def _wrong(line: str, order: str) -> str:
    """Why nobody knows what a line between blocks is for; "" when it is clear."""
    said = COMMENT.fullmatch(line)
    if line.lstrip()[:3] in FENCES:
        return "a fence begins with ``` at the margin"
    if order and line:
        return f"no block comes after {order!r}"
    if line.startswith("<!-- run:") and not (said and ORDERS.fullmatch(said[1])):
        return f"{line!r} is no order"
    if line.startswith("portcullis ") and "`" not in line:
        return "a command stands in a block"
    return ""


def _unclear(block: Block) -> str:
    """Why nobody knows what a block is; "" when it is clear."""
    kind, word = block.kind, block.order.partition(" ")[0]
    if kind not in KINDS and kind != "indented" and kind[:1] != "{":
        return f"commands stand in `console`; a block of `{kind}` is none of {sorted(KINDS)}"
    if kind in {"", "text", "json"} and word != "file" and _typed(block.text):
        return "commands stand in a block of `console`"
    if word and word not in {"file", "not,"} and not block.commands():
        return f"{block.order!r} is for commands, and there are none"
    return ""


def _typed(text: str) -> bool:
    return any(PROGRAM.match(line) for line in text.splitlines())


def _fault(page: Path, number: int, what: str) -> ValueError:
    return ValueError(f"{page.name}:{number + 1}: {what}")
