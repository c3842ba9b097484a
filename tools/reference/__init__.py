"""Pages of ``docs/`` that are generated from what the code itself uses."""

from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parents[2]
"""The repository."""


def heading(title: str, source: str) -> list[str]:
    """The first lines of a generated page; ``source`` is what to edit instead."""
    return [f"# {title}", "", f"Generated from {source} by `make docs`; do not edit.", ""]


def row(*cells: str) -> str:
    """One line of a table."""
    return "| " + " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in cells) + " |"


def table(*heads: str) -> list[str]:
    """The two lines that begin a table."""
    return [row(*heads), "|" + "---|" * len(heads)]


def prose(docstring: str | None) -> str:
    """A docstring as Markdown: one line a paragraph, code in single backticks."""
    paragraphs = (docstring or "").strip().replace("``", "`").split("\n\n")
    return "\n\n".join(" ".join(one.split()) for one in paragraphs)
