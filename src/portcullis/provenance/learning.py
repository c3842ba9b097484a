"""What a session learns: from results that came back, and from a human's approval."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from itertools import islice
from typing import Any, Final

from portcullis.core.containment import (
    LEVELS,
    ArgumentRole,
    Confidentiality,
    ToolModel,
)
from portcullis.provenance import paths
from portcullis.provenance.arguments import UNLISTED, counts, leaves, parts, resolved, says
from portcullis.provenance.canonical import bearing, keys, links, mentions, offers
from portcullis.provenance.labels import Labels, approving, linking, reading, trusting
from portcullis.provenance.words import Words

MAX_LEARNED: Final = 1024
"""Values of one field of one result that can become trusted."""

MAX_READ: Final = 1 << 17
"""Characters of one field of one result that are looked through for links and addresses."""

_EACH_TIME: Final = frozenset({ArgumentRole.SELECTOR, ArgumentRole.AMOUNT, ArgumentRole.CREDENTIAL})
"""Roles of which an approval is for the one call: paid once is not paid for ever."""


def learn(
    model: ToolModel | None, result: Any, labels: Labels, names: Collection[str] = ()
) -> Labels:
    """The labels after a result (a JSON value) of a tool came back.

    Values of fields labelled trusted become trusted for that role, what is confidential makes the
    session so, and everything else is nothing. A tool without a model may have told anything
    confidential. ``names`` are those whose addresses the user said to find there (``awaited``).
    """
    if model is None:
        return labels.merge(reading(Confidentiality.CONFIDENTIAL))
    found = labels.merge(reading(Confidentiality.INTERNAL)) if not model.results else labels
    seen = result in (None, "", [], {})
    for field in model.results:
        values = list(islice(paths.found(result, field.path), MAX_LEARNED))
        seen = seen or bool(values)
        if len(values) == MAX_LEARNED or any(one not in (None, "", [], {}) for one in values):
            found = found.merge(reading(field.confidentiality))
        if field.links:
            found = found.merge(linking(key for text in _texts(values) for key in links(text)))
        if field.named and names:
            borne = {key for text in _texts(values) for key in bearing(text, names)}
            found = found.merge(trusting(ArgumentRole.DESTINATION, borne, field.clearance))
        if not field.trusted:
            continue
        vouched = {
            key for value in values if isinstance(value, str | int | float) for key in offers(value)
        }
        for role in field.trusted:
            found = found.merge(trusting(role, vouched, field.clearance))
    if not seen:  # it has another shape than the catalogue says: anything may stand there
        found = found.merge(reading(level(model)))
    return found


def _texts(values: list[Any]) -> Iterator[str]:
    """The texts among values, as far as they are looked through."""
    room = MAX_READ
    for value in values:
        if isinstance(value, str) and room > 0:
            yield value[:room]
            room -= len(value)


def awaited(arguments: Mapping[str, Any], prompts: Words) -> frozenset[str]:
    """The names that the user gave, when what is read is what he said; else none."""
    told = list(leaves(arguments))
    plain = all(len(path) == 1 for path, _ in told)
    said = [value for _, value in told if says(value)]
    own = (
        plain
        and bool(said)
        and len(said) == len(told)
        and all(any(map(prompts.say, keys(value))) for value in said)
    )
    return prompts.names if own else frozenset()


def level(model: ToolModel | None) -> Confidentiality:
    """The highest that a tool's results are labelled with."""
    if model is None:
        return Confidentiality.CONFIDENTIAL
    levels = (field.confidentiality for field in model.results)
    return max(levels, key=LEVELS.__getitem__, default=Confidentiality.INTERNAL)


def approve(model: ToolModel | None, arguments: Mapping[str, Any], labels: Labels) -> Labels:
    """The labels after a human approved a call: its values are trusted for their roles."""
    found = labels
    for path, value in leaves(arguments):
        argument, names = resolved(model or UNLISTED, path)
        if argument is None:
            continue  # nobody knows what it is for
        for one in (value, *names):
            found = found.merge(_approval(argument.role, one))
    return found


def _approval(role: ArgumentRole, value: Any) -> Labels:
    if role in _EACH_TIME:
        return Labels()
    if role is ArgumentRole.PAYLOAD:
        return approving(role, mentions(value) if isinstance(value, str) else ())
    known = (key for part in parts(role, value) for key in keys(part, number=counts(role)))
    return approving(role, known)
