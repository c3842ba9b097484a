"""What a tool's run is to the agent: text, and the same in fields."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, TypeAlias

from portcullis.core.ports import SecretSource
from portcullis.core.sandbox import Ending
from portcullis.execution.credential import Credential, reflected
from portcullis.execution.secrets.broker import SecretBroker
from portcullis.execution.secrets.environment import Environment, environment
from portcullis.execution.tools.run import Ran

Answer: TypeAlias = dict[str, Any]
"""A result of ``tools/call``, without what a version of the protocol adds."""

_ENDED: Final = {
    Ending.EXITED: "exited",
    Ending.KILLED: "was ended",
    Ending.SIGNALLED: "was ended by a signal",
    Ending.MEMORY: "ran out of memory",
    Ending.DEADLINE: "ran out of time",
}
_TEXT: Final = {"type": "string"}
OUTPUT_SCHEMA: Final[dict[str, Any]] = {
    "type": "object",
    "properties": {
        "stdout": _TEXT,
        "stderr": _TEXT,
        "status": {"type": "integer"},
        "ended": {"enum": [one.value for one in Ending]},
        "cut": {"type": "boolean"},
        "files": {
            "type": "array",
            "items": {
                "type": "object",
                "properties": {"name": _TEXT, "text": _TEXT, "data": _TEXT},
                "required": ["name"],
                "additionalProperties": False,
            },
        },
        "missing": {"type": "array", "items": _TEXT},
    },
    "required": ["stdout", "stderr", "status", "ended", "cut"],
    "additionalProperties": False,
}
"""Of what every tool of the gate's own answers."""


class Secrets:
    """The environment of the tool ``name``; its secret references are resolved for each call."""

    def __init__(
        self, name: str, env: Mapping[str, str], source: SecretSource | SecretBroker
    ) -> None:
        self._name = name
        self._env = dict(env)
        self._source = source

    async def resolved(self) -> Environment:
        """The values as they are now, and the secrets among them to watch the answer for.

        Problem PC5007.
        """
        return await environment(self._env, self._source, upstream=self._name)


def told(
    ran: Ran,
    credentials: Iterable[Credential],
    files: Mapping[str, bytes] | None = None,
    missing: Sequence[str] = (),
) -> Answer:
    """The result; Problem PC5005 when a secret that the tool was given stands in it."""
    files = files or {}
    for credential in credentials:
        if any(credential.found_in(one) for one in (ran.stdout, ran.stderr, *files.values())):
            raise reflected()
    stdout, stderr = _text(ran.stdout), _text(ran.stderr)
    fields = {
        "stdout": stdout,
        "stderr": stderr,
        "status": ran.ended.status,
        "ended": ran.ended.why.value,
        "cut": ran.cut,
    }
    if files or missing:
        fields["files"] = [_file(name, data) for name, data in files.items()]
        fields["missing"] = list(missing)
    said = [stdout] if stdout else []
    if not ran.well:
        how = "wrote too much" if ran.cut else _ENDED[ran.ended.why]
        said.append(f"It {how}, with status {ran.ended.status}.")
        said += [stderr] if stderr else []
    return {
        "content": [{"type": "text", "text": "\n".join(said)}],
        "structuredContent": fields,
        "isError": not ran.well,
    }


def _file(name: str, data: bytes) -> dict[str, str]:
    try:
        return {"name": name, "text": data.decode()}
    except UnicodeDecodeError:
        return {"name": name, "data": base64.b64encode(data).decode()}


def _text(data: bytes) -> str:
    return data.decode("utf-8", "replace")
