"""A call's arguments as the catalogue knows them: leaves, roles, and the parts of values."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

from portcullis.core.call import RiskClass
from portcullis.core.containment import ANY, ArgumentModel, ArgumentRole, ToolModel
from portcullis.core.inspection import SHOWN
from portcullis.provenance import paths

UNLISTED: Final = ToolModel(tool="", risk=RiskClass.DELETE)
_LIST: Final = re.compile(r"\s*[,;]\s*")


def counts(role: ArgumentRole) -> bool:
    """Whether a value of this role is a number that says how much."""
    return role is ArgumentRole.AMOUNT


def argument_of(model: ToolModel, path: str) -> ArgumentModel | None:
    """What an argument is: by its own line, the nearest part of its path, or the line for any."""
    return resolved(model, tuple(path.split(".")))[0]


def resolved(
    model: ToolModel, path: tuple[str, ...]
) -> tuple[ArgumentModel | None, tuple[str, ...]]:
    """What an argument is, and the names on its path that no line knows: they are values too.

    A name with a dot in it is no path: it has no line of its own.
    """
    plain = next((at for at, name in enumerate(path) if "." in name), len(path))
    for end in range(plain, 0, -1):
        found = model.arguments.get(".".join(path[:end]))
        if found is not None:
            return found, path[end:]
    return model.arguments.get(ANY), path[1:]


def leaves(arguments: Mapping[str, Any]) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Every value in the arguments, with its path."""
    for name, value in arguments.items():
        yield from paths.leaves((name,), value)


def says(value: Any) -> bool:
    """Whether a value names something: a truth value and an empty text do not."""
    return value is not None and not isinstance(value, bool) and value != ""


def shown_as(path: str) -> str:
    """A path as it may stand in a record: a name that is no name is the agent's text."""
    return ".".join(part if SHOWN.fullmatch(part) else ANY for part in path.split("."))


def parts(role: ArgumentRole, value: Any) -> tuple[Any, ...]:
    """A value in its parts: of a list of addresses in one text, each has to have a source."""
    if role is ArgumentRole.DESTINATION and isinstance(value, str) and value.count("@") > 1:
        parts = tuple(part for part in _LIST.split(value) if part)
        if len(parts) > 1 and all("@" in part for part in parts):
            return parts
    return (value,)
