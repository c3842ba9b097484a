"""What a rule of a pack says, and whether it can be used."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import Annotated, Literal, TypeAlias

import msgspec

from portcullis.core.inspection import Category
from portcullis.inspection.syntax import Parsed, parse
from portcullis.inspection.validators import Validator

Beside: TypeAlias = Literal["word", "digit", "any"]
Example: TypeAlias = str | list[str]
"""A text, or its pieces, which are joined (so that no scanner takes the file for a leak)."""


class Rule(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, dict=True):
    """One way to find an entity.

    ``pattern`` finds the datum (or, with ``group``, what surrounds it too); ``left`` and ``right``
    say what may not stand directly beside the whole. Then, in this order, as far as they are
    given: one of the ``context`` words stands within ``within`` characters before the datum, or
    the text is the value of a JSON member in ``keys``; the datum's ``entropy``; its ``validator``.
    Where context is not ``required``, its absence makes the score ``base``. With ``whole`` the
    entire value of a member in ``keys`` is a match by itself, if the validator agrees.
    """

    id: Annotated[str, msgspec.Meta(pattern=r"^[a-z0-9]+(-[a-z0-9]+)*$", max_length=64)]
    entity: Annotated[str, msgspec.Meta(pattern=r"^[A-Z][A-Z0-9_]{1,62}$")]
    category: Category
    pattern: str = ""
    flags: Literal["", "i"] = ""
    left: Beside = "word"
    right: Beside = "word"
    group: Annotated[int, msgspec.Meta(ge=0, le=20)] = 0
    validator: str = ""
    context: tuple[Annotated[str, msgspec.Meta(min_length=1)], ...] = ()
    within: Annotated[int, msgspec.Meta(ge=1, le=512)] = 60
    required: bool | None = None
    score: Annotated[float, msgspec.Meta(gt=0, le=1)] = 1.0
    base: Annotated[float, msgspec.Meta(gt=0, le=1)] = 0.4
    entropy: Annotated[float, msgspec.Meta(ge=0, le=8)] = 0.0
    keys: tuple[Annotated[str, msgspec.Meta(pattern=r"^[a-z0-9]+(_[a-z0-9]+)*$")], ...] = ()
    whole: bool = False
    match: tuple[Example, ...] = ()
    reject: tuple[Example, ...] = ()

    @property
    def needs_context(self) -> bool:
        """Whether nothing is found without context."""
        return bool(self.context) if self.required is None else self.required

    @cached_property
    def parsed(self) -> Parsed | None:
        """The pattern's tree; None for a rule that has only ``keys``. Raises ValueError."""
        if not self.pattern:
            return None
        return parse(self.pattern, group=self.group, caseless=self.flags == "i")


def fault(rule: Rule, validators: Mapping[str, Validator]) -> str:
    """Why a rule cannot be used, or nothing. Its examples are not run."""
    try:
        parsed = rule.parsed
    except ValueError as error:
        return f"pattern: {error}"
    faults = {
        "needs a pattern, or `keys` and `whole`": parsed is None and not (rule.whole and rule.keys),
        "`group` and `context` need a pattern": parsed is None and bool(rule.group or rule.context),
        "`whole` needs `keys`": rule.whole and not rule.keys,
        "`required` needs `context` or `keys`": bool(rule.required)
        and not (rule.context or rule.keys),
        f"no validator is named {rule.validator}": bool(rule.validator)
        and rule.validator not in validators,
        "needs at least one example that must match": not rule.match,
        "needs at least one example that must not match": parsed is not None and not rule.reject,
    }
    return next((reason for reason, applies in faults.items() if applies), "")
