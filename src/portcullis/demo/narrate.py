"""Tell the story on a terminal: 80 columns, and no meaning in colour alone."""

from __future__ import annotations

from typing import Final

from rich.console import Console
from rich.table import Table
from rich.text import Text

from portcullis.demo.story import Step

WIDTH: Final = 80
_LABELS: Final = 10
_INDENT: Final = 4


class Narrator:
    """Writes to one console, in lines of at most 80 columns."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._console.width = min(console.width, WIDTH)
        self._told = 0

    def opening(self, text: str) -> None:
        """What this is about, before it begins."""
        self._console.print(Text(text))

    def step(self, step: Step) -> None:
        """One step: what was tried, what should and what did come of it, where it is recorded."""
        self._told += 1
        mark = Text("as told", "green") if step.ok else Text("NOT AS TOLD", "bold red")
        head = Table.grid(padding=(0, 1), expand=True)
        head.add_column(width=_INDENT - 1, justify="right")
        head.add_column(ratio=1)
        head.add_column(justify="right")
        head.add_row(Text(f"{self._told}"), Text(step.title, "bold"), mark)
        body = Table.grid(padding=(0, 1))
        body.add_column(width=_INDENT - 1)
        body.add_column(width=_LABELS - 1, style="dim")
        body.add_column()
        body.add_row("", "tries", Text(step.attempt))
        body.add_row("", "expects", Text(step.expected))
        body.add_row("", "happened", Text(step.actual))
        if step.events:
            body.add_row("", "record", Text(step.events[0]))
        self._console.print()
        self._console.print(head)
        self._console.print(body)

    def closing(self, *, ok: bool, steps: int) -> None:
        """The last word of the story."""
        words = f"All {steps} steps went as told." if ok else "The story did NOT go as told."
        self._console.print()
        self._console.print(Text(words, "bold green" if ok else "bold red"))

    def verbatim(self, lines: str) -> None:
        """Lines to copy, which are never wrapped."""
        self._console.print(Text(lines), soft_wrap=True)
