"""A tool that is a command: its words from a template, its arguments as JSON, one box a call."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from portcullis.config.tools import PLACE, CommandTool, OneShot
from portcullis.core.errors import Problem
from portcullis.core.ports import SecretSource
from portcullis.core.sandbox import Order, Profile
from portcullis.execution.boxes import Boxes
from portcullis.execution.inside import inside, order
from portcullis.execution.secrets.broker import SecretBroker
from portcullis.execution.tools.answer import Answer, Secrets, told
from portcullis.execution.tools.run import Runner
from portcullis.wire import json


def words(template: tuple[str, ...], arguments: Mapping[str, Any]) -> tuple[str, ...]:
    """The command's words; one whose argument is not given is left out.

    A text stands as it is, anything else as JSON: it is one word, whatever is in it. Raises
    Problem PC5043 for a null character, and for a value with a hyphen at the beginning of a word,
    which the program would take for an option; after a word ``--`` it may.
    """
    made: list[str] = []
    for word in template:
        names = PLACE.findall(word)
        if any(name not in arguments for name in names):
            continue
        filled = PLACE.sub(lambda found: _text(arguments[found[1]]), word)
        if "\0" in filled:
            raise Problem("PC5043", "an argument holds a null character")
        if filled.startswith("-") and not word.startswith("-") and "--" not in made:
            raise Problem("PC5043", f"the argument {names[0]} begins with a hyphen")
        made.append(filled)
    return tuple(made)


def bounded(profile: Profile, settings: OneShot) -> Profile:
    """The profile for one call: it ends with the tool's time, or sooner."""
    seconds = min(settings.seconds, profile.seconds or settings.seconds)
    return msgspec.structs.replace(profile, seconds=seconds)


class Command:
    """A ``Tool`` of ``channel.ToolChannel``."""

    def __init__(
        self,
        name: str,
        settings: CommandTool,
        *,
        boxes: Boxes,
        secrets: SecretSource | SecretBroker,
        path: str,
    ) -> None:
        """``name`` is the server's and the tool's, ``path`` the PATH on which programs are."""
        self._name = name
        self._settings = settings
        self._boxes = boxes
        self._runner = Runner(boxes)
        self._secrets = Secrets(name, settings.env, secrets)
        self._path = path

    @property
    def definition(self) -> dict[str, Any]:
        """What tools/list says of it, its name apart."""
        return {
            "description": self._settings.description,
            "inputSchema": self._settings.input_schema,
        }

    async def call(self, call_id: str, arguments: dict[str, Any]) -> Answer:
        """Run it once. Leaving early ends the box. Problems as of ``words`` and of a box."""
        settings = self._settings
        line = words(settings.command, arguments)
        secret = await self._secrets.resolved()
        made = await asyncio.to_thread(self._order, call_id, line, secret.variables)
        stdin = json.encode(arguments) if settings.stdin == "json" else b""
        return told(await self._runner.run(made, stdin, settings.output_bytes), secret.credentials)

    async def close(self) -> None:
        """Wait until nothing of it is left."""
        await self._runner.close()

    def _order(self, call_id: str, line: tuple[str, ...], environ: Mapping[str, str]) -> Order:
        settings = self._settings
        cwd: Path | None = settings.cwd
        what = inside(line, path=self._path, cwd=cwd, mounts=settings.mounts)
        profile = bounded(self._boxes.profile(settings.sandbox), settings)
        return order(
            f"tool:{self._name} {call_id}", what, profile=profile, environ=environ, cwd=cwd
        )


def _text(value: Any) -> str:
    return value if type(value) is str else json.encode(value).decode()
