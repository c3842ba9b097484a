"""What goes into memories that sessions share, and what comes out of them again.

Pure. A record is as confidential as the sessions that wrote it, and of what was written it vouches
for those values only that had a source then. Who writes and who reads may be taken over: what a
call does not surely say, it says of the whole store.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from itertools import chain, islice
from typing import Any, Final

import msgspec

from portcullis.core.containment import (
    ANY,
    ITEMS,
    KEYS,
    LEVELS,
    LINES,
    VALUES,
    ArgumentRole,
    Confidentiality,
    ToolModel,
)
from portcullis.provenance import numbers, paths
from portcullis.provenance.canonical import mentions, offers
from portcullis.provenance.judge import MAX_PAYLOAD
from portcullis.provenance.labels import Labels, trusting
from portcullis.provenance.learning import MAX_LEARNED, learn
from portcullis.provenance.words import Words

MAX_NAMED: Final = 512
"""Records that one call or result can name; one that names more may mean any."""
MAX_VOUCHED: Final = 256
"""Trusted values of one record; what does not fit is not trusted."""
MAX_SOURCED: Final = 2048
"""Values of one call that are looked at for a source; the others have none."""

WHOLE: Final = ""
"""The row of what any record of a store may hold."""
ANYWHERE: Final = "*"
"""The row of what was written nobody knows where; names of records are of letters and digits."""
ANY_STORE: Final = "?"
"""The row of what any record of any store may hold, since records of labels were put back."""

_ROLES: Final = (
    ArgumentRole.DESTINATION,
    ArgumentRole.OBJECT,
    ArgumentRole.AMOUNT,
    ArgumentRole.CREDENTIAL,
)
_NAME: Final = re.compile(r"[\w @:+/.-]{1,256}")
"""A name that servers read in one way, but for its case, its spaces and the like."""
_ZEROS: Final = re.compile(r"0+(?=.)")


def folded(name: Any) -> str | None:
    """A record's name as it is compared; None for what servers may take for different names.

    What differs in case, accents, spaces, punctuation or zeros only (but for one at the end) is one
    record: without punctuation nobody knows which zeros lead.
    """
    text = numbers.plain(name) if isinstance(name, int | float) else name
    if not isinstance(text, str) or _NAME.fullmatch(text) is None or ".." in text:
        return None
    plain = unicodedata.normalize("NFKD", unicodedata.normalize("NFKD", text).casefold())
    return _ZEROS.sub("", "".join(filter(str.isalnum, plain))) or None


def written(model: ToolModel, arguments: Mapping[str, Any]) -> frozenset[str] | None:
    """The records that a call of a writing tool may change; None for any."""
    memory = model.memory
    return None if memory is None else _named(model, arguments, memory.record)


def taken(model: ToolModel, arguments: Mapping[str, Any]) -> frozenset[str] | None:
    """The records whose content a call may put into others; None for any."""
    memory = model.memory
    if memory is None or not memory.sources:
        return frozenset()
    return _named(model, arguments, memory.sources)


def told(model: ToolModel, arguments: Mapping[str, Any], result: Any) -> frozenset[str] | None:
    """The records of which a result tells; None for any."""
    memory = model.memory
    if memory is None:
        return None
    found: frozenset[str] | None = None
    asked = (*memory.record, *memory.sources)
    if asked:
        found = _named(model, arguments, asked)
        if found is None:
            return None
    if not memory.records:
        return found
    shown = _all(result, memory.records) if result else frozenset[str]()
    if shown is None or (not shown and any(value for _, value in paths.leaves((), result))):
        return None
    return shown | (found or frozenset())


def _named(
    model: ToolModel, arguments: Mapping[str, Any], places: Sequence[tuple[str, ...]]
) -> frozenset[str] | None:
    """The records at these places of a call's arguments.

    None where none is said, and where a value has no line, its own or that of what it is part of
    (its own only, in an argument that names records): a tool may go by it.
    """
    naming = {place[0] for place in places}
    for name, value in arguments.items():
        for path, _ in paths.leaves((name,), value):
            least = len(path) if name in naming else 1
            if name == ANY or not _listed(model, path, least):
                return None
    return _all(dict(arguments), places) or None


def _listed(model: ToolModel, path: tuple[str, ...], least: int) -> bool:
    """Whether so many of the first names on a path, or more, have a line of their own."""
    ends = range(least, len(path) + 1)
    plain = next((at for at, name in enumerate(path) if "." in name), len(path))
    return any(end <= plain and ".".join(path[:end]) in model.arguments for end in ends)


def _all(value: Any, places: Sequence[tuple[str, ...]]) -> frozenset[str] | None:
    found: set[str] = set()
    for place in places:
        for name in _names(value, place):
            if name is None or len(found) >= MAX_NAMED:
                return None
            found.add(name)
    return frozenset(found)


def _names(value: Any, place: Sequence[str]) -> Iterator[str | None]:
    """The names at a place; None for one that is missing or that cannot be told."""
    if not place:
        for one in value if isinstance(value, list) else (value,):
            yield folded(one)
        return
    step, rest = place[0], place[1:]
    inner: Iterable[Any]
    if step == ITEMS and isinstance(value, list):
        inner = value
    elif step == VALUES and isinstance(value, Mapping):
        inner = value.values()
    elif step == KEYS and isinstance(value, Mapping):
        inner = value.keys()
    elif isinstance(value, Mapping) and step in value:
        inner = (value[step],)
    else:
        yield None
        return
    for one in inner:
        yield from _names(one, rest)


def sourced(arguments: Mapping[str, Any], words: Words, labels: Labels) -> Labels:
    """The labels of what a session writes: its level, and which values had a source, and for what.

    The user's own are good up to every level, trusted ones up to theirs, approved ones for what is
    not confidential.
    """
    offered = list(islice(_offered(arguments), MAX_SOURCED))
    own = {key for key in offered if words.say(key)}
    others = [key for key in offered if key not in own]
    found = Labels(confidentiality=labels.confidentiality)
    for role in _ROLES:
        found = found.merge(trusting(role, own, Confidentiality.SECRET))
        approved = [key for key in others if labels.approves(role, (key,))]
        found = found.merge(trusting(role, approved, Confidentiality.INTERNAL))
        found = found.merge(_up_to(role, others, labels))
    return found


def _up_to(
    role: ArgumentRole,
    offered: Iterable[str],
    known: Labels,
    most: Confidentiality = Confidentiality.SECRET,
) -> Labels:
    """What is trusted of these in a role, each as far as it is known to be good, and no further."""
    good: dict[Confidentiality, list[str]] = {}
    for key in offered if known.trusted else ():
        level = known.cleared(role, key)
        if level is not None:
            good.setdefault(min(level, most, key=LEVELS.__getitem__), []).append(key)
    found = Labels()
    for level, held in good.items():
        found = found.merge(trusting(role, held, level))
    return found


def _offered(arguments: Mapping[str, Any]) -> Iterator[str]:
    """Every key under which something in the arguments may be asked for later, each once."""
    seen: set[str] = set()
    room = MAX_PAYLOAD
    for name, value in arguments.items():
        for _, leaf in paths.leaves((name,), value):
            parts: Iterable[str] = ()
            if isinstance(leaf, str):
                room -= len(leaf)
                if room < 0:
                    return
                lines = (offers(line) for line in paths.found(leaf, (LINES,)))
                parts = chain(offers(leaf), chain.from_iterable(lines), mentions(leaf))
            elif isinstance(leaf, int | float):
                parts = offers(leaf)
            for key in parts:
                if key not in seen:
                    seen.add(key)
                    yield key


def recalled(model: ToolModel, result: Any, known: Labels) -> Labels:
    """What a result of a reading tool teaches, where ``known`` are the labels of its records.

    A field labelled trusted teaches those values that had a source when they were written, each
    for no more than it was good for then.
    """
    bare = tuple(msgspec.structs.replace(one, trusted=(), links=False) for one in model.results)
    found = learn(msgspec.structs.replace(model, results=bare), result, Labels())
    found = found.merge(Labels(confidentiality=known.confidentiality))
    for field in model.results:
        if not field.trusted:
            continue
        values = islice(paths.found(result, field.path), MAX_LEARNED)
        vouched = {
            key for value in values if isinstance(value, str | int | float) for key in offers(value)
        }
        for role in field.trusted:
            found = found.merge(_up_to(role, vouched, known, field.clearance))
    return found


def recall(rows: Mapping[str, Labels], records: Collection[str] | None) -> Labels:
    """What reading these records tells, None for any; ``rows`` are what is known of them.

    A record without a row may hold something as confidential as any other, without a source.
    """
    lost = rows.get(ANY_STORE, Labels())
    whole = rows.get(WHOLE, Labels()).merge(lost)
    if records is None:
        return whole
    found = rows.get(ANYWHERE, Labels()).merge(lost) if records else Labels()
    for record in records:
        found = found.merge(rows.get(record, Labels(confidentiality=whole.confidentiality)))
    return found


def keep(
    rows: Mapping[str, Labels], records: Collection[str] | None, labels: Labels
) -> dict[str, Labels]:
    """The rows that a write into these records raises or makes.

    One into any record may have moved what any other holds.
    """
    whole = rows.get(WHOLE, Labels()).merge(labels)
    found = {WHOLE: whole}
    if records is None:
        found[ANYWHERE] = whole
    for record in records or ():
        found[record] = rows.get(record, Labels()).merge(labels).of_record(MAX_VOUCHED)
    return {name: one for name, one in found.items() if rows.get(name) != one}
