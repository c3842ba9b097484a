"""The servers and tools behind the gate as operators are shown them: where they run, what holds it.

No address, no word of a command but the program's name, and no reference to a secret.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import PurePath
from typing import Final

import msgspec

from portcullis.config import Config
from portcullis.config.boxed import NONE
from portcullis.config.sandbox import lowered
from portcullis.config.tools import OneShot
from portcullis.core.sandbox import Profile

ELSEWHERE: Final = "elsewhere"
BOXED: Final = "boxed"
BARE: Final = "bare"


class Standing(msgspec.Struct, frozen=True, kw_only=True):
    """One server or tool. ``how`` is ``elsewhere`` (over HTTP), ``boxed`` or ``bare`` (no box).

    ``profile`` is of its box, ``less`` in what that holds less than strict, ``mounts`` what the
    configuration puts into it, ``each`` for whom one is made.
    """

    name: str
    how: str
    program: str = ""
    profile: str = ""
    less: tuple[str, ...] = ()
    mounts: tuple[str, ...] = ()
    each: str = ""


def standing(config: Config) -> tuple[Standing, ...]:
    """All of them, those without a box first."""
    known = config.sandbox.named()
    found: list[Standing] = []
    for name, server in config.mcp.items():
        if server.command is None:
            found.append(Standing(name=name, how=ELSEWHERE))
            continue
        boxed = server.sandbox != NONE
        found.append(
            Standing(
                name=name,
                how=BOXED if boxed else BARE,
                program=PurePath(server.command[0]).name,
                profile=server.sandbox if boxed else "",
                less=lowered(known[server.sandbox]) if boxed else (),
                mounts=server.mounts,
                each="session" if server.per_session else "conversation",
            )
        )
    for server_name, tools in config.tools.items():
        if tools.code is not None:
            languages = ", ".join(tools.code.languages)
            found.append(_call(f"{server_name}.execute_code", tools.code, languages, known))
        found += [
            _call(f"{server_name}.{name}", one, PurePath(one.command[0]).name, known)
            for name, one in tools.commands.items()
        ]
    return tuple(sorted(found, key=lambda one: (one.how != BARE, one.how, one.name)))


def _call(name: str, tool: OneShot, program: str, known: Mapping[str, Profile]) -> Standing:
    return Standing(
        name=name,
        how=BOXED,
        program=program,
        profile=tool.sandbox,
        less=lowered(known[tool.sandbox]),
        mounts=tool.mounts,
        each="call",
    )
