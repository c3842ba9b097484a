"""The commands as data: what each takes, and what is said of it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any


def described(command: Any) -> dict[str, Any]:
    """A command with those below it: ``commands``, ``options``, ``arguments``, what it is about.

    An option or argument has its ``name``, the ``names`` it is said by, whether it ``takes`` a
    value, the ``values`` that there are when these are few, and ``about``.
    """
    found = [_parameter(one) for one in command.params if not getattr(one, "hidden", False)]
    return {
        "about": (command.help or "").partition("\n")[0],
        "commands": {name: described(one) for name, one in below(command)},
        "options": [*(one for one in found if one["names"][0].startswith("-")), _HELP],
        "arguments": [one for one in found if not one["names"][0].startswith("-")],
    }


def below(command: Any) -> Iterator[tuple[str, Any]]:
    """The commands below one."""
    yield from getattr(command, "commands", {}).items()


def leaves(name: str, command: Any) -> Iterator[tuple[str, Any]]:
    """All commands below one that do something, by what is typed for them."""
    under = list(below(command))
    if not under:
        yield name, command
    for each, one in under:
        yield from leaves(f"{name} {each}", one)


def _parameter(one: Any) -> dict[str, Any]:
    kind = getattr(one, "type_descriptor", None)
    choices = getattr(kind, "choices", None) or ()
    return {
        "name": one.name,
        "names": [*one.opts, *one.secondary_opts],
        "takes": not getattr(one, "is_flag", False),
        "values": [str(getattr(value, "value", value)) for value in choices],
        "about": getattr(one, "help", None) or "",
    }


_HELP = {
    "name": "help",
    "names": ["--help"],
    "takes": False,
    "values": [],
    "about": "Show this message and exit.",
}
