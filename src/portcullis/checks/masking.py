"""What stands in a masked column: a token, a keyed digest, or nothing; as the schema lets it."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypeAlias

from portcullis.checks.columns import Place, Steps, Unreadable, at, leads, members, places, without
from portcullis.checks.shapes import Change, fitted
from portcullis.checks.treat import Span, mask
from portcullis.core.errors import Problem
from portcullis.core.inspection import Treatment
from portcullis.core.obligation import EACH, NAMES, ColumnMask, MaskTreatment
from portcullis.wire.json import encode
from portcullis.wire.replace import replaced

Commit: TypeAlias = Callable[[bytes], str]
Fits: TypeAlias = Callable[[Any], bool]
Treated: TypeAlias = dict[Place, tuple[MaskTreatment, str]]
_ORDER = tuple(MaskTreatment)
_DIGITS = 16
"""Of a keyed digest: two of a thousand million values are alike once in 37 times."""


def masked(
    document: Any,
    masks: Sequence[ColumnMask],
    commit: Commit,
    schema: Any = None,
    fits: Fits | None = None,
) -> tuple[Any, tuple[ColumnMask, ...]]:
    """The document with its columns masked, and those of which there was any.

    ``commit`` is a keyed digest in hex. With ``fits``, what stands in a column has a form that
    ``schema`` lets stand there, and what must be there is masked and not dropped. Raises
    ``columns.Unreadable``, also for a document in which no mask leads anywhere, and Problem PC3030
    when nothing is known that fits.
    """
    if masks and not any(leads(document, one.path) for one in masks):
        raise Unreadable
    named = [one for one in masks if one.path[-1:] == (NAMES,)]
    values = [one for one in masks if one not in named]
    (treated, hit), (renamed, also) = _treated(document, values), _treated(document, named)
    gone = [
        place
        for part in (treated, renamed)
        for place, (how, _) in part.items()
        if how is MaskTreatment.DROP
    ]
    hit += also
    if gone and (fits is None or fits(without(document, _outermost(gone)))):
        document = without(document, _outermost(gone))
        treated, _ = _treated(document, [one for one in values if one in hit])
        renamed, _ = _treated(document, [one for one in named if one in hit])
    changes = {
        place: _change(at(document, place), how, name, commit)
        for place, (how, name) in treated.items()
        if not any(place[:length] in treated for length in range(len(place)))
    }
    names = {
        place: _change(place[-1], how, name, commit).plain
        for place, (how, name) in renamed.items()
        if not any(place[:length] in treated for length in range(len(place)))
    }
    if not changes and not names:
        return document, hit
    new = replaced(document, _chosen(document, changes, schema, fits), names)
    if names and fits is not None and not fits(new):
        raise Problem("PC3030", "no mask of its members' names fits the tool's schema")
    return new, hit


def _treated(document: Any, masks: Iterable[ColumnMask]) -> tuple[Treated, tuple[ColumnMask, ...]]:
    """What is done at each place, the strictest where several masks meet; and whose masks."""
    found: Treated = {}
    hit = []
    for one in masks:
        path = one.path
        here = members(document, path[:-1]) if path[-1:] == (NAMES,) else places(document, path)
        hit += [one] if here else []
        for place in here:
            known = found.get(place)
            if known is None or _ORDER.index(known[0]) < _ORDER.index(one.treatment):
                found[place] = one.treatment, column(path)
    return found, tuple(hit)


def column(path: Steps) -> str:
    """The name of a column as it stands in a mask: the last name on its path."""
    last = next((step for step in reversed(path) if step not in {EACH, NAMES}), "")
    return re.sub(r"[^A-Z0-9]+", "_", last.upper()).strip("_") or "MASKED"


def _outermost(gone: Iterable[Place]) -> list[Place]:
    known = set(gone)
    return [one for one in known if not any(one[:size] in known for size in range(len(one)))]


def _change(value: Any, how: MaskTreatment, name: str, commit: Commit) -> Change:
    text = value if isinstance(value, str) else encode(value).decode()
    plain = mask(name)
    if how is MaskTreatment.HASH:
        digest = commit(f"{name}\0{text}".encode("utf-8", "surrogatepass"))
        plain = f"<{name}#{digest[-_DIGITS:]}>"
    number = isinstance(value, int | float) and not isinstance(value, bool)
    whole = (Span(0, len(text), "", Treatment.MASK),)
    return Change(text=text, plain=plain, spans=whole, number=number)


def _chosen(
    document: Any, changes: Mapping[Place, Change], schema: Any, fits: Fits | None
) -> dict[Place, Any]:
    plain: dict[Place, Any] = {place: change.plain for place, change in changes.items()}
    if fits is None or fits(replaced(document, plain)):
        return plain
    chosen = fitted(changes, schema, lambda new: fits(replaced(document, new)))
    if chosen is None:
        raise Problem("PC3030", "no mask of its columns fits the tool's schema")
    return chosen
