"""Allow-lists of fields: small checks that compose into the shape of a whole API.

A check takes a JSON value and a ``Seen``, in which it notes features and tool names. A value that
does not fit raises ``Misfit``, which learns its path on the way out: a request that fits pays
nothing for it. A null stands for an absent field wherever the field may be absent.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final, TypeAlias

import msgspec

from portcullis.core.errors import Problem
from portcullis.core.inspection import SHOWN

_MAX_COUNT: Final = 2**53


class Seen:
    """What a walk over a value came across."""

    __slots__ = ("features", "tools")

    def __init__(self) -> None:
        self.features: list[str] = []
        self.tools: list[str] = []


class Misfit(Exception):  # noqa: N818 - it never leaves this package: it becomes a Problem
    """A value that does not fit. ``unknown`` marks what the gate has no table row for."""

    def __init__(self, reason: str, at: str | None = None, *, unknown: bool = False) -> None:
        super().__init__(reason)
        self.reason = reason
        self.unknown = unknown
        self.path: list[str | int] = [] if at is None else [at]

    def __str__(self) -> str:
        text = ""
        for part in reversed(self.path):
            if isinstance(part, int):
                text += f"[{part}]"
            else:
                text += f".{part}" if SHOWN.fullmatch(part) else ".(a name that is not printed)"
        return f"{text.lstrip('.') or 'the body'}: {self.reason}"


Check: TypeAlias = Callable[[Any, Seen], None]


class Need(msgspec.Struct, frozen=True):
    """Marks a field that must be there, and not null unless its check takes null."""

    check: Check


Fields: TypeAlias = Mapping[str, "Check | Need"]


def need(check: Check) -> Need:
    """The field is required."""
    return Need(check)


def fit_request(check: Check, payload: Any) -> Seen:
    """Hold a request against its shape: Problem PC1020, or PC1021 for what is unknown."""
    seen = Seen()
    try:
        check(payload, seen)
    except Misfit as misfit:
        raise Problem("PC1021" if misfit.unknown else "PC1020", str(misfit)) from None
    return seen


def fit_result(check: Check, payload: Any, features: tuple[str, ...]) -> None:
    """Hold an answer against its shape: Problem PC5003, also for a feature nobody asked for."""
    seen = Seen()
    try:
        check(payload, seen)
    except Misfit as misfit:
        raise Problem("PC5003", str(misfit)) from None
    for feature in seen.features:
        if feature not in features:
            raise Problem("PC5003", f"the answer uses {feature}, which was not asked for")


def string(value: Any, _: Seen) -> None:
    """A string."""
    if type(value) is not str:
        raise Misfit("expected a string")


def integer(value: Any, _: Seen) -> None:
    """An integer (a boolean is none)."""
    if type(value) is not int:
        raise Misfit("expected an integer")


def count(value: Any, _: Seen) -> None:
    """An integer that counts or numbers something: what every reader of JSON reads alike."""
    if type(value) is not int or not 0 <= value < _MAX_COUNT:
        raise Misfit("expected a count")


def number(value: Any, _: Seen) -> None:
    """An integer or a float."""
    if type(value) is not int and type(value) is not float:
        raise Misfit("expected a number")


def boolean(value: Any, _: Seen) -> None:
    """True or false."""
    if type(value) is not bool:
        raise Misfit("expected a boolean")


def mapping(value: Any, _: Seen) -> None:
    """An object whose members are the caller's own (a JSON Schema, metadata)."""
    if type(value) is not dict:
        raise Misfit("expected an object")


def scalar(value: Any, _: Seen) -> None:
    """Anything but an object or an array: what an unknown field of an answer may be."""
    if type(value) is dict or type(value) is list:
        raise Misfit("unknown structure", unknown=True)


def anything(_value: Any, _: Seen) -> None:
    """Any JSON value."""


def tool_name(value: Any, seen: Seen) -> None:
    """The name of a tool that the caller offers."""
    string(value, seen)
    seen.tools.append(value)


OPEN: Final[Fields] = {"*": scalar}
"""For objects in answers that carry content or actions: unknown fields may only be scalars."""
LOOSE: Final[Fields] = {"*": anything}
"""For objects in answers around them: unknown fields pass."""


def one_of(*allowed: str) -> Check:
    """Exactly one of these strings."""

    def check(value: Any, _: Seen) -> None:
        if value not in allowed:
            raise Misfit(f"expected {' or '.join(allowed)}")

    return check


def maybe(check: Check) -> Check:
    """Null, or what ``check`` takes: for required fields."""

    def check_or_null(value: Any, seen: Seen) -> None:
        if value is not None:
            check(value, seen)

    return check_or_null


def items(check: Check) -> Check:
    """An array of what ``check`` takes."""

    def check_items(value: Any, seen: Seen) -> None:
        if type(value) is not list:
            raise Misfit("expected an array")
        for index, item in enumerate(value):
            try:
                check(item, seen)
            except Misfit as misfit:
                misfit.path.append(index)
                raise

    return check_items


def table(check: Check) -> Check:
    """An object with free names, each of whose values ``check`` takes."""

    def check_table(value: Any, seen: Seen) -> None:
        mapping(value, seen)
        for name, item in value.items():
            try:
                check(item, seen)
            except Misfit as misfit:
                misfit.path.append(name)
                raise

    return check_table


def text_or(check: Check) -> Check:
    """A string, or what ``check`` takes."""

    def check_text(value: Any, seen: Seen) -> None:
        if type(value) is not str:
            check(value, seen)

    return check_text


def record(fields: Fields) -> Check:
    """An object with these fields; others are unknown, or what the check under ``*`` takes."""
    checks = {name: f.check if isinstance(f, Need) else f for name, f in fields.items()}
    extra = checks.pop("*", None)
    required = tuple(name for name, f in fields.items() if isinstance(f, Need))
    find = checks.get

    def check_record(value: Any, seen: Seen) -> None:
        if type(value) is not dict:
            raise Misfit("expected an object")
        for name, item in value.items():
            check = find(name, extra)
            if check is None:
                raise Misfit("unknown field", name, unknown=True)
            if item is None and name not in required:
                continue
            try:
                check(item, seen)
            except Misfit as misfit:
                misfit.path.append(name)
                raise
        for name in required:
            if name not in value:
                raise Misfit("missing", name)

    return check_record


def tagged(
    key: str,
    variants: Mapping[str, Fields],
    *,
    features: Mapping[str, str] | None = None,
    default: Callable[[dict[str, Any]], str] | None = None,
) -> Check:
    """An object whose string ``key`` says which variant it is; any other value is a Misfit.

    ``default`` says it for an object without the key. A variant named in ``features`` is noted
    under that feature.
    """
    marks = features or {}
    known = {
        tag: (record({key: string, **fields}), marks.get(tag)) for tag, fields in variants.items()
    }

    def check_tagged(value: Any, seen: Seen) -> None:
        if type(value) is not dict:
            raise Misfit("expected an object")
        tag = value.get(key)
        if tag is None and default is not None:
            tag = default(value)
        if type(tag) is not str:
            raise Misfit("expected a string", key)
        found = known.get(tag)
        if found is None:
            raise Misfit("unknown value", key, unknown=True)
        check, feature = found
        if feature is not None:
            seen.features.append(feature)
        check(value, seen)

    return check_tagged


def plain(names: str) -> dict[str, Check]:
    """Fields, separated by spaces, that are known and carry settings only."""
    return dict.fromkeys(names.split(), anything)


def marks(feature: str, check: Check = string) -> Check:
    """A field whose presence is a feature."""

    def check_marked(value: Any, seen: Seen) -> None:
        check(value, seen)
        seen.features.append(feature)

    return check_marked


def flag(feature: str) -> Check:
    """A boolean that is a feature when true."""

    def check_flag(value: Any, seen: Seen) -> None:
        boolean(value, seen)
        if value:
            seen.features.append(feature)

    return check_flag


def names(features: Mapping[str, str]) -> Check:
    """A string of a closed set, each a feature."""

    def check_name(value: Any, seen: Seen) -> None:
        string(value, seen)
        if value not in features:
            raise Misfit("unknown value", unknown=True)
        seen.features.append(features[value])

    return check_name


def inline_url(feature: str) -> Check:
    """A URL that is a feature unless it holds its data itself (``data:``)."""

    def check_url(value: Any, seen: Seen) -> None:
        string(value, seen)
        if not value.startswith("data:"):
            seen.features.append(feature)

    return check_url


def inline_data(feature: str) -> Check:
    """Base64, bare or as a ``data:`` URL; a URL in its place, to be fetched, is a feature."""

    def check_data(value: Any, seen: Seen) -> None:
        string(value, seen)
        if ":" in value and not value.startswith("data:"):
            seen.features.append(feature)

    return check_data
