"""Tools of the gate's own: each call is a command in a box (docs/tools-in-boxes.md)."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Final, Literal, NamedTuple, Protocol

from pydantic import AfterValidator, Field

from portcullis.config.boxed import NONE, STRICT, MountText, ProfileName
from portcullis.config.common import Section
from portcullis.config.programs import program_before

PLACE: Final = re.compile(r"\{([A-Za-z_][A-Za-z0-9_]{0,63})\}")
"""In a word of a command: where the argument of this name goes."""


ToolName = Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_.-]{0,63}$")]
EXECUTE: Final = "execute_code"


def _held(profile: str) -> str:
    if profile == NONE:
        msg = "a tool of the gate's own runs in a box; none is for servers under mcp"
        raise ValueError(msg)
    return profile


class OneShot(Section):
    """What holds each call. Times in seconds, sizes in bytes.

    After ``seconds`` the box is ended. ``output_bytes`` bounds what is read of standard output, of
    standard error and of all output files together: more is cut off and said to be.
    """

    sandbox: Annotated[ProfileName, AfterValidator(_held)] = STRICT
    mounts: tuple[MountText, ...] = ()
    env: dict[str, str] = Field(default_factory=dict)
    """The environment beyond PATH and HOME; values may be secret references."""
    seconds: float = Field(default=30, gt=0, le=600)
    output_bytes: int = Field(default=65_536, ge=256, le=8 * 2**20)


class CommandTool(OneShot):
    """A command, started without a shell; ``{name}`` in one of its words is that argument.

    A word whose argument is not given is left out. ``stdin: json`` hands all arguments over as one
    JSON object. ``arguments`` is their JSON Schema, an object's; arguments that it does not name
    are refused.
    """

    command: tuple[Annotated[str, Field(min_length=1)], ...] = Field(min_length=1)
    description: str = ""
    arguments: dict[str, Any] = Field(default_factory=lambda: {"type": "object"})
    stdin: Literal["json", "none"] = "json"
    cwd: Path | None = None

    def model_post_init(self, context: Any, /) -> None:
        """Each place in the command is an argument, and the program itself is none."""
        del context
        if self.arguments.get("type") != "object":
            msg = "arguments is the schema of an object: type: object"
            raise ValueError(msg)
        if PLACE.search(self.command[0]):
            msg = "the program is no argument: write its name"
            raise ValueError(msg)
        known = self.arguments.get("properties", {})
        for place, word in enumerate(self.command):
            if PLACE.search(word) and (before := program_before(self.command[:place], word)):
                msg = f"an argument after {before} would be a program: take it from standard input"
                raise ValueError(msg)
            for name in PLACE.findall(word):
                if name not in known:
                    msg = f"{{{name}}} is not among the properties of arguments"
                    raise ValueError(msg)

    @property
    def input_schema(self) -> dict[str, Any]:
        """The schema of the arguments, closed unless it says otherwise."""
        return {"additionalProperties": False} | self.arguments


class CodeTool(OneShot):
    """``execute_code``: what a model wrote runs in a box that is made for it and then ended."""

    languages: tuple[Literal["python", "shell"], ...] = Field(
        default=("python", "shell"), min_length=1
    )
    python: str = "/usr/bin/python3"
    shell: str = "/bin/sh"
    warm: int = Field(default=1, ge=0, le=16)
    """How many boxes of each language are ready before anybody asks."""


class ToolServer(Section):
    """Tools that agents reach as the MCP server of this name: commands, and code where it is given.

    Other settings of ``execute_code`` than the default are under ``code``; ``code: {}`` has none.
    """

    commands: dict[ToolName, CommandTool] = Field(default_factory=dict)
    code: CodeTool | None = None

    def model_post_init(self, context: Any, /) -> None:
        """There is a tool, and no two of one name."""
        del context
        if not self.commands and self.code is None:
            msg = "give commands, or code"
            raise ValueError(msg)
        if self.code is not None and EXECUTE in self.commands:
            msg = f"{EXECUTE} is the tool of code; give the command another name"
            raise ValueError(msg)


class Held(NamedTuple):
    """What is in a box, or says that it is in none, by its name in the configuration."""

    name: str
    sandbox: str
    cwd: Path | None
    mounts: tuple[str, ...]


class Server(Protocol):
    """A server that may be a command."""

    @property
    def sandbox(self) -> str: ...  # noqa: D102
    @property
    def cwd(self) -> Path | None: ...  # noqa: D102
    @property
    def mounts(self) -> tuple[str, ...]: ...  # noqa: D102


def held(servers: Mapping[str, Server], tools: Mapping[str, ToolServer]) -> Iterator[Held]:
    """All of them."""
    for name, server in servers.items():
        yield Held(f"mcp.{name}", server.sandbox, server.cwd, server.mounts)
    for name, tool in tools.items():
        for one, command in tool.commands.items():
            place = f"tools.{name}.commands.{one}"
            yield Held(place, command.sandbox, command.cwd, command.mounts)
        if tool.code is not None:
            yield Held(f"tools.{name}.code", tool.code.sandbox, None, tool.code.mounts)


def profiles(
    servers: Mapping[str, Server], tools: Mapping[str, ToolServer]
) -> Iterator[tuple[str, str]]:
    """The name of each one's profile."""
    for one in held(servers, tools):
        yield one.name, one.sandbox
