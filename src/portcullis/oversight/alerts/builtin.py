"""The rules that are there from the start, and how rules of one's own join them."""

from __future__ import annotations

import stat
from dataclasses import replace
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Final

from portcullis.core.alert import UNSILENCED
from portcullis.core.errors import Problem
from portcullis.oversight.alerts.loader import load
from portcullis.oversight.alerts.rule import Rule
from portcullis.policy.source import MAX_FILE_BYTES, SourceFile

_FILE = "builtin.yaml"
FIXED: Final = frozenset({UNSILENCED, "rules-changed", "rules-refused"})
"""The rules about the alerts themselves, which no other takes the place of."""


@cache
def builtin() -> tuple[Rule, ...]:
    """The built-in rules."""
    text = resources.files(__package__).joinpath(_FILE).read_text(encoding="utf-8")
    return load((SourceFile(_FILE, text),))


def rules(folder: Path | None) -> tuple[Rule, ...]:
    """The built-in rules and those of a folder, which take the place of ones of the same name.

    Raises Problem PC7002 with every fault and its line.
    """
    return builtin() if folder is None else beside(load(sources(folder)))


def beside(own: tuple[Rule, ...]) -> tuple[Rule, ...]:
    """The built-in rules that these do not replace, and these.

    What takes the place of one that must not be missed must not be missed either. Raises Problem
    PC7002 for one in the place of ``FIXED``.
    """
    names, kept = {rule.name for rule in own}, {rule.name for rule in builtin() if rule.kept}
    for name in sorted(names & FIXED):
        hint = "It tells of changes like this one; give yours another name."
        raise Problem("PC7002", f"the rule {name} stays as it is", hint=hint)
    there = (rule for rule in builtin() if rule.name not in names)
    return (
        *there,
        *(replace(one, kept=True, quiet=0.0) if one.name in kept else one for one in own),
    )


def sources(place: Path) -> tuple[SourceFile, ...]:
    """A file of rules, or every ``*.yaml`` of a folder, by name.

    Nothing is skipped in silence: ``.yml`` and subfolders are refused. Raises Problem PC7002.
    """
    try:
        entries = sorted(place.iterdir()) if place.is_dir() else [place]
        shown = [one for one in entries if not one.name.startswith(".")]
        for one in shown:
            if place != one and (one.is_dir() or one.suffix == ".yml"):
                hint = "Rules lie in *.yaml files of the folder itself."
                raise Problem("PC7002", f"{place.name}/{one.name}: not read", hint=hint)
        files = [one for one in shown if one == place or one.suffix == ".yaml"]
        return tuple(_source(place, one) for one in files)
    except OSError as error:
        reason = error.strerror or type(error).__name__
        hint = "Make it, or change alerts.rules in portcullis.yaml."
        raise Problem("PC7002", f"cannot read {place}: {reason}", hint=hint) from None


def _source(place: Path, path: Path) -> SourceFile:
    name = path.name if path == place else f"{place.resolve().name}/{path.name}"
    found = path.stat()
    if not stat.S_ISREG(found.st_mode):
        raise Problem("PC7002", f"{name}: not a file")  # what is read for ever keeps nobody waiting
    if found.st_size > MAX_FILE_BYTES:
        raise Problem("PC7002", f"{name}: larger than {MAX_FILE_BYTES} bytes")
    body = path.read_bytes()
    try:
        return SourceFile(name, body.decode("utf-8"))
    except UnicodeDecodeError as error:
        line = body.count(b"\n", 0, error.start) + 1
        raise Problem("PC7002", f"{name}:{line}: not valid UTF-8") from None
