"""``portcullis inspect``: what the gate would see in a text, as JSON lines."""

from __future__ import annotations

import codecs
import re
import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from enum import StrEnum
from io import BufferedIOBase
from pathlib import Path
from typing import Annotated, Final, cast

import msgspec
import typer

from portcullis.cli.options import Json
from portcullis.core.errors import Problem
from portcullis.core.inspection import Category, InjectionVerdict, Match, Source, Text
from portcullis.inspection.build import Built, build, own_cache
from portcullis.inspection.inspector import Inspector
from portcullis.inspection.reading import Hidden, Reading, Wanted
from portcullis.wire.json import decode

_CHUNK: Final = 1 << 18
_SHOWN_DIGITS: Final = 4
_INJECTION: Final = frozenset({InjectionVerdict.INJECTION.value, InjectionVerdict.SUSPECT.value})
_ENTITY: Final = re.compile("[A-Z][A-Z0-9_]+")


class Format(StrEnum):
    """How the input is read; ``auto`` looks at its first line."""

    AUTO = "auto"
    TEXT = "text"
    JSONL = "jsonl"


class _Line(msgspec.Struct):
    """A line of the input; other members are left alone."""

    text: str
    id: str | int | None = None
    source: Source | None = None


_MEANT: Final = 'a JSON object {"text": ..., "id": ..., "source": ...}'


def inspect(
    source: Annotated[
        Source, typer.Option("--source", help="Who wrote texts that do not say so themselves.")
    ] = Source.USER,
    shape: Annotated[
        Format, typer.Option("--format", help="One text, or a JSON object a line.")
    ] = Format.AUTO,
    packs: Annotated[
        list[Path] | None, typer.Option("--packs", help="A rule pack of your own; repeatable.")
    ] = None,
    without: Annotated[
        list[str] | None, typer.Option("--without", help="A rule to leave out; repeatable.")
    ] = None,
    only: Annotated[
        list[str] | None,
        typer.Option("--only", help="Look for this entity only, such as EMAIL_ADDRESS; repeatable"),
    ] = None,
    fail_on: Annotated[
        list[str] | None,
        typer.Option(
            "--fail-on",
            help="Exit with 3 when there is one: a category, an entity, injection, suspect or "
            "hidden; repeatable.",
        ),
    ] = None,
    as_json: Json = True,
) -> None:
    """Read text, or JSON lines {"id", "text", "source"}, from stdin and print findings.

    Each text gives a line {"id", "injection", "findings", "hidden", "tricks"}; what was found is
    named and placed, never printed. A line that cannot be read is told on stderr and the exit
    code is 2, after all other lines. For a pre-commit hook: --fail-on secret.
    """
    del as_json  # its answers are JSON lines, whether that is said or not
    built = build(packs or (), without or (), cache=own_cache())
    inspector = built.inspector
    entities = _entities(only or (), inspector)
    failing = _failing(frozenset(fail_on or ()), built, entities)
    work = _Work(inspector, Wanted(entities=entities, canaries=False), source)
    for batch in _batches(cast("BufferedIOBase", sys.stdin.buffer), shape):
        sys.stdout.buffer.write(work.batch(batch))
        sys.stdout.buffer.flush()
    work.end(failing)


class _Work:
    """Reads batches of lines and counts what was seen."""

    def __init__(self, inspector: Inspector, wanted: Wanted, source: Source) -> None:
        self._inspector = inspector
        self._wanted = wanted
        self._source = source
        self._seen: Counter[str] = Counter()
        self._bad = 0

    def batch(self, lines: Iterable[tuple[int, bytes | _Line]]) -> bytes:
        """The answers to some lines, in order."""
        asked: list[tuple[int, _Line]] = []
        for number, line in lines:
            if isinstance(line, _Line):
                asked.append((number, line))
                continue
            try:
                asked.append((number, msgspec.convert(decode(line), _Line)))
            except Problem as problem:
                self._refuse(number, f"not {_MEANT}: {problem.detail}")
            except msgspec.ValidationError:
                self._refuse(number, f"not {_MEANT}")
        return b"".join(
            msgspec.json.encode(self._answer(number, line, reading)) + b"\n"
            for number, line, reading in self._read(asked)
        )

    def end(self, failing: frozenset[str]) -> None:
        """Raise what the run comes to: Problem PC7004, or PC3021 or PC3022 for what was found."""
        if self._bad:
            raise Problem("PC7004", f"{self._bad} lines could not be inspected")
        found = {name: self._seen[name] for name in sorted(failing) if self._seen[name]}
        if found:
            told = ", ".join(f"{name} in {count}" for name, count in found.items())
            code = "PC3022" if found.keys() <= _INJECTION else "PC3021"
            raise Problem(code, f"texts: {told}")

    def _read(self, asked: list[tuple[int, _Line]]) -> Iterator[tuple[int, _Line, Reading]]:
        texts = [
            Text(path=(), text=line.text, source=line.source or self._source) for _, line in asked
        ]
        try:
            readings = self._inspector.read(texts, self._wanted)
        except Problem as problem:
            if len(asked) == 1:
                self._refuse(asked[0][0], f"{problem.code} {problem.detail}")
                return
            for one in asked:  # some line is too much; the others are not
                yield from self._read([one])
            return
        for (number, line), reading in zip(asked, readings, strict=True):
            yield number, line, reading

    def _answer(self, number: int, line: _Line, reading: Reading) -> dict[str, object]:
        self._seen.update(_kinds(reading))
        injection = reading.injection
        return {
            "id": number if line.id is None else line.id,
            "injection": injection
            and {
                "score": round(injection.score, _SHOWN_DIGITS),
                "verdict": injection.verdict,
                "reasons": injection.reasons,
            },
            "findings": [
                {
                    "entity": match.entity,
                    "category": match.category,
                    "start": match.start,
                    "end": match.end,
                    "score": round(match.score, _SHOWN_DIGITS),
                    "rule": match.rule,
                }
                for match in reading.matches
            ],
            "hidden": reading.hidden,
            "tricks": reading.tricks,
        }

    def _refuse(self, number: int, reason: str) -> None:
        self._bad += 1
        sys.stderr.write(f"line {number}: {reason}\n")


def _kinds(reading: Reading) -> set[str]:
    """Everything that ``--fail-on`` can name and that is in a reading."""
    seen: tuple[Match | Hidden, ...] = (*reading.matches, *reading.hidden)
    found = {one.entity for one in seen} | {one.category.value for one in seen}
    if reading.hidden:
        found.add("hidden")
    if reading.injection is not None and reading.injection.verdict.value in _INJECTION:
        found |= {reading.injection.verdict.value, InjectionVerdict.SUSPECT.value}
    return found


def _batches(stream: BufferedIOBase, shape: Format) -> Iterator[list[tuple[int, bytes | _Line]]]:
    """The lines that have come so far, with their numbers; or the whole as one text."""
    parts: list[bytes] = []
    number = 0
    begun = False
    while chunk := stream.read1(_CHUNK):
        first = not (number or parts)
        parts.append(chunk.removeprefix(codecs.BOM_UTF8) if first else chunk)
        line = parts[-1] if begun else parts[-1].lstrip()
        begun = begun or bool(line)
        if shape is Format.TEXT or b"\n" not in (line if shape is Format.AUTO else chunk):
            continue
        rest = b"".join(parts)
        if shape is Format.AUTO:
            shape = _shape(rest)
        parts = [rest]
        if shape is Format.JSONL:
            whole, _, partial = rest.rpartition(b"\n")
            yield _lines(whole, number)
            number += whole.count(b"\n") + 1
            parts = [partial]
    rest = b"".join(parts)
    if shape is Format.AUTO:
        shape = _shape(rest)
    if shape is Format.TEXT and rest:
        yield [(1, _Line(text=rest.decode("utf-8", "replace"), id="stdin"))]
    elif shape is Format.JSONL:
        yield _lines(rest, number)


def _lines(data: bytes, before: int) -> list[tuple[int, bytes | _Line]]:
    """The lines that are not empty, with their numbers; ``before`` is how many came before."""
    if not data.strip():
        return []
    return [(at, line) for at, line in enumerate(data.split(b"\n"), before + 1) if line.strip()]


def _shape(start: bytes) -> Format:
    """What the first line that is not empty says.

    Raises Problem PC7004 when it begins as JSON and is none: read as one text, none of the lines
    would be told by its name.
    """
    line = start.lstrip().partition(b"\n")[0]
    if not line.startswith(b"{"):
        return Format.TEXT
    try:
        value = decode(line)
    except Problem as problem:
        detail = f"the first line begins as JSON and cannot be read so: {problem.detail}"
        hint = "Say --format jsonl to read lines all the same, or --format text."
        raise Problem("PC7004", detail, hint=hint) from None
    return Format.JSONL if "text" in value else Format.TEXT


def _entities(only: Iterable[str], inspector: Inspector) -> frozenset[str] | None:
    names = frozenset(only)
    _check(names, inspector, frozenset(), "--only")
    return names or None


def _failing(names: frozenset[str], built: Built, only: frozenset[str] | None) -> frozenset[str]:
    _check(names, built.inspector, _INJECTION | set(Category) | {"hidden"}, "--fail-on")
    wanted = frozenset(built.entities) if only is None else only
    if built.inspector.recognises_more and (only is None or wanted - built.entities.keys()):
        return names  # what recognisers find may be of any category
    found = {category.value for entity in wanted for category in built.entities[entity]}
    never = sorted(names - wanted - found - _INJECTION - {"hidden"})
    if never:
        detail = f"--fail-on {never[0]}: no rule that is looked for here finds it"
        hint = "Leave --only out, or name an entity of it there, too; see --without."
        raise Problem("PC7004", detail, hint=hint)
    return names


def _check(
    names: frozenset[str], inspector: Inspector, others: frozenset[str], option: str
) -> None:
    """Raise Problem PC7004 for a name that nothing here can find: it would silently pass."""
    known = others | inspector.entities
    unknown = sorted(
        name
        for name in names - known
        if not (inspector.recognises_more and _ENTITY.fullmatch(name))
    )
    if unknown:
        raise Problem("PC7004", f"{option}: nothing is named {unknown[0]!r}")
