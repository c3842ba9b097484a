"""What a page of the docs tells its reader to do.

A fenced block of ``console`` holds commands, each after ``$ ``, going on after ``> ``, and what
they print. An indented block whose lines are commands holds these, with nothing of what they print
(or like ``console``, when they stand after ``$ ``). All are run. A comment before a block says more::

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

ORDERS = re.compile(r"background|exit \d+|file [\w./-]+|not, .{8,}")
COMMENT = re.compile(r"<!-- run: (.+?) -->")
KINDS = {"", "console", "ini", "json", "nginx", "python", "rego", "text", "toml", "yaml"}
"""What a fence may say that it holds; one that begins with ``{`` is for the builder of the pages."""
PROGRAM = re.compile(
    r"(\$ |> )?(\w+=\S+ +|sudo +)*(\S*/)?(portcullis|make|curl|wget|git|pip3?|pipx|uv|npx?|python3?|"
    r"pytest|ssh|scp|openssl|docker|podman|kubectl|helm|systemctl|journalctl|apt|apt-get|export|"
    r"source|\.|cd|cp|mv|rm|mkdir|chmod|echo|printf|jq|sed|cat|\$EDITOR|\w+=\$\(.*)(\s|$)"
)
"""How a line begins that somebody is to type."""
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
    line: int = field(compare=False)

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
    text = page.read_text(encoding="utf-8")
    for block in blocks(page):
        yield from ((command, True) for command, _ in block.commands())
        for line in block.text.splitlines():
            text = text.replace(line + "\n", "\n", 1)
    for span in re.findall(r"`(portcullis [^`]+)`", text):
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
            yield Command(command, printed, stays, int(rest) if word == "exit" and last else 0)


def _parts(page: Path) -> Iterator[Block | str]:
    """The blocks and, as texts, the headings."""
    lines = page.read_text(encoding="utf-8").split("\n")
    order, number = "", 0
    while number < len(lines):
        line, begin = lines[number], number
        number += 1
        if line.lstrip().startswith(("```", "~~~")):
            if line[0] != "`":
                raise _fault(page, number, "a fence begins with ``` at the margin")
            end = next((n for n in range(number, len(lines)) if lines[n] == "```"), len(lines))
            body, number = lines[number:end], end + 1
            block = Block(order, line[3:], "".join(f"{one}\n" for one in body), begin + 1)
        elif line[:4] == "    " and not (begin and lines[begin - 1].strip()):
            while number < len(lines) and (lines[number][:4] == "    " or not lines[number]):
                number += 1
            text = "\n".join(one[4:] for one in lines[begin:number]).rstrip("\n")
            block = Block(order, "indented", text + "\n", begin + 1)
        else:
            if order and line:
                raise _fault(page, number, f"no block comes after {order!r}")
            said = COMMENT.fullmatch(line)
            if "<!-- run:" in line and not (said and ORDERS.fullmatch(said[1])):
                raise _fault(page, number, f"{line!r} is no order")
            order = said[1] if said else order
            if line.startswith("#"):
                yield line.lstrip("# ")
            continue
        if fault := _unclear(block):
            raise _fault(page, block.line, fault)
        yield block
        order = ""
    if order:
        raise _fault(page, len(lines), f"no block comes after {order!r}")


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


def _fault(page: Path, line: int, what: str) -> ValueError:
    return ValueError(f"{page.name}:{line}: {what}")
