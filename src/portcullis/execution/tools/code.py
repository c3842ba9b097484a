"""``execute_code``: what a model wrote, in a box that was ready and is used once."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import Any, Final

from portcullis.config.tools import CodeTool
from portcullis.core.errors import Problem
from portcullis.core.ports import SecretSource
from portcullis.core.sandbox import Profile
from portcullis.execution.boxes import Boxes
from portcullis.execution.inside import HOME, inside
from portcullis.execution.sandbox.outputs import Bounds
from portcullis.execution.sandbox.pool import Pool, Recipe, Task
from portcullis.execution.secrets.broker import SecretBroker
from portcullis.execution.tools.answer import Answer, Secrets, told
from portcullis.execution.tools.command import bounded
from portcullis.execution.tools.run import Ran

_MOST_FILES: Final = 64
_NAME: Final = r"^[A-Za-z0-9_-][A-Za-z0-9_.-]*(/[A-Za-z0-9_-][A-Za-z0-9_.-]*){0,3}$"
"""A relative path of plain words; on a linear-time engine (catalogue/schema.py)."""
_NAMES: Final[dict[str, Any]] = {"type": "string", "pattern": _NAME, "maxLength": 200}

_FILE: Final[dict[str, Any]] = {
    "type": "object",
    "properties": {
        "name": _NAMES,
        "text": {"type": "string"},
        "data": {"type": "string", "description": "base64, in place of text"},
    },
    "required": ["name"],
    "additionalProperties": False,
}


class Code:
    """A ``Tool`` of ``channel.ToolChannel``. ``open`` makes its boxes ready."""

    def __init__(
        self,
        name: str,
        settings: CodeTool,
        *,
        boxes: Boxes,
        secrets: SecretSource | SecretBroker,
        path: str,
    ) -> None:
        self._name = name
        self._settings = settings
        self._secrets = Secrets(name, settings.env, secrets)
        self._boxes = boxes
        self._path = path
        self._pool: Pool | None = None

    @property
    def definition(self) -> dict[str, Any]:
        """What tools/list says of it, its name apart."""
        languages = " or ".join(self._settings.languages)
        return {
            "description": (
                f"Run {languages} code in an empty, isolated box without a network. It starts in a"
                " directory of its own with the given files; the files that it leaves there come"
                f" back. It may take {self._settings.seconds:g} seconds. Nothing is kept."
            ),
            "inputSchema": {
                "type": "object",
                "properties": {
                    "language": {"enum": list(self._settings.languages)},
                    "code": {"type": "string", "maxLength": 2**20},
                    "stdin": {"type": "string"},
                    "files": {"type": "array", "items": _FILE, "maxItems": _MOST_FILES},
                    "wanted": {"type": "array", "items": _NAMES, "maxItems": _MOST_FILES},
                },
                "required": ["language", "code"],
                "additionalProperties": False,
            },
        }

    async def open(self) -> None:
        """Make boxes ready. Where none can be had, calls say why."""
        await self._ready().open()

    async def call(self, call_id: str, arguments: dict[str, Any]) -> Answer:
        """Run it once. Leaving early ends the box."""
        secret = await self._secrets.resolved()
        outcome = await self._ready().run(self._task(call_id, arguments, secret.variables))
        ran = Ran(
            stdout=outcome.stdout, stderr=outcome.stderr, ended=outcome.ended, cut=outcome.cut
        )
        left = [f"{name}: {why}" for name, why in outcome.left.items()]
        return told(ran, secret.credentials, outcome.files, left)

    async def close(self) -> None:
        """End the boxes that wait."""
        if self._pool is not None:
            await self._pool.close()

    def _ready(self) -> Pool:
        if self._pool is None:
            settings = self._settings
            what = inside((settings.python,), path=self._path, mounts=settings.mounts)
            recipe = Recipe(
                title=f"tool:{self._name}",
                profile=self._profile(),
                python=what.argv[0],
                environ={"PATH": what.path, "HOME": HOME},
                mounts=what.mounts,
            )
            self._pool = self._boxes.pool(recipe, settings.warm)
        return self._pool

    def _profile(self) -> Profile:
        """A box that waits has all the time; what runs in it has the tool's."""
        return self._boxes.profile(self._settings.sandbox)

    def _task(self, call_id: str, arguments: dict[str, Any], environ: Mapping[str, str]) -> Task:
        settings = self._settings
        shell = arguments["language"] == "shell"
        wanted = arguments.get("wanted")
        return Task(
            title=f"tool:{self._name} {call_id}",
            code="" if shell else arguments["code"],
            argv=(settings.shell, "-c", arguments["code"]) if shell else (),
            stdin=arguments.get("stdin", "").encode(),
            files=dict(_given(one) for one in arguments.get("files", [])),
            environ=environ,
            seconds=bounded(self._profile(), settings).seconds or settings.seconds,
            output=settings.output_bytes,
            wanted=None if wanted is None else tuple(wanted),
            bounds=Bounds(files=_MOST_FILES, total=settings.output_bytes),
        )


def _given(file: Mapping[str, str]) -> tuple[str, bytes]:
    """A file's name and bytes; Problem PC5043 for what is no base64."""
    try:
        data = base64.b64decode(file["data"], validate=True) if "data" in file else b""
    except ValueError:
        raise Problem("PC5043", "the data of a file is not base64") from None
    return file["name"], data or file.get("text", "").encode()
