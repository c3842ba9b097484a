"""Dictionaries: a customer's own names, codenames, products, one phrase a line, as rules.

A file is UTF-8; empty lines and lines that begin with ``#`` are skipped. Phrases match in either
case, as whole words, with one to three spaces or a line's end where the phrase has a space. They
become ordinary rules, so that they work in streams and cost one pass together with all others.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

from portcullis.core.errors import Problem
from portcullis.core.inspection import Category
from portcullis.inspection.rules import Rule

MAX_PHRASES: Final = 20_000
MAX_CHARACTERS: Final = 100
"""Of one phrase."""

_CHUNK: Final = 250
"""Phrases of one rule: small enough that the engines take its pattern, whatever the phrases."""


def rules(
    dictionaries: Mapping[str, Path], categories: Mapping[str, Category] | None = None
) -> tuple[Rule, ...]:
    """The rules of all dictionaries, from an entity to its file.

    An entity that ``categories`` does not name is personal. Raises Problem PC7014 with the file
    and the line.
    """
    known = categories or {}
    return tuple(
        rule
        for entity, path in dictionaries.items()
        for rule in _rules(entity, phrases(path), known.get(entity, Category.PERSONAL))
    )


def phrases(path: Path) -> tuple[str, ...]:
    """The phrases of a file, sorted, each once. Raises Problem PC7014 with file and line."""
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "not UTF-8"
        raise Problem("PC7014", f"{path.name}: {reason}") from None
    found: set[str] = set()
    for number, line in enumerate(lines, 1):
        phrase = " ".join(line.split())
        if not phrase or phrase.startswith("#"):
            continue
        if reason := _fault(phrase):
            raise Problem("PC7014", f"{path.name}:{number}: {reason}")
        found.add(phrase)
    if len(found) > MAX_PHRASES:
        raise Problem("PC7014", f"{path.name}: more than {MAX_PHRASES} phrases")
    return tuple(sorted(found))


def _fault(phrase: str) -> str:
    if len(phrase) > MAX_CHARACTERS:
        return f"a phrase of more than {MAX_CHARACTERS} characters"
    if sum(map(str.isalnum, phrase)) < 2:  # noqa: PLR2004 - it would match everywhere
        return "a phrase needs two letters or digits"
    return ""


def _rules(entity: str, found: Sequence[str], category: Category) -> Iterator[Rule]:
    name = entity.lower().replace("_", "-")
    for start in range(0, len(found), _CHUNK):
        chunk = found[start : start + _CHUNK]
        yield Rule(
            id=f"dictionary-{name}-{start // _CHUNK + 1}",
            entity=entity,
            category=category,
            pattern=_alternation(chunk),
            flags="i",
            match=(chunk[0],),
        )


def _alternation(found: Sequence[str]) -> str:
    """A pattern of sorted, distinct phrases that shares their beginnings, the longest first."""
    first, last = found[0], found[-1]
    size = next((at for at, one in enumerate(first) if one != last[at : at + 1]), len(first))
    prefix = first[:size]
    branches: dict[str, list[str]] = {}
    for phrase in found:
        rest = phrase[len(prefix) :]
        branches.setdefault(rest[:1], []).append(rest)
    ends = bool(branches.pop("", None))
    if not branches:
        return _escaped(prefix)
    options = "|".join(_alternation(branch) for branch in branches.values())
    return f"{_escaped(prefix)}(?:{options}){'?' if ends else ''}"


def _escaped(text: str) -> str:
    return re.escape(text).replace(r"\ ", r"\s{1,3}")
