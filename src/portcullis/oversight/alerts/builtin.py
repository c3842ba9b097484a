"""The rules that are there from the start, and how rules of one's own join them."""

from __future__ import annotations

from functools import cache
from importlib import resources
from pathlib import Path

from portcullis.oversight.alerts.loader import load
from portcullis.oversight.alerts.rule import Rule
from portcullis.policy.source import SourceFile, read

_FILE = "builtin.yaml"


@cache
def builtin() -> tuple[Rule, ...]:
    """The built-in rules."""
    text = resources.files(__package__).joinpath(_FILE).read_text(encoding="utf-8")
    return load((SourceFile(_FILE, text),))


def rules(folder: Path | None) -> tuple[Rule, ...]:
    """The built-in rules and those of a folder, which take the place of ones of the same name.

    Raises Problem PC7002 with every fault and its line.
    """
    own = () if folder is None else load(read(folder))
    names = {rule.name for rule in own}
    return (*(rule for rule in builtin() if rule.name not in names), *own)
