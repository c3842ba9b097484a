"""Restore: the placeholders that a model was given become the real values, for a tool.

It stands before every check that looks at arguments, so that they see what would really run.
What was not made in this session stays as it is written, and so does what stands in a link to a
host that policy's ``links`` do not name: who follows it tells that host all that is in it.
"""

from __future__ import annotations

from typing import Any, ClassVar, Final

from portcullis.checks.restoring import restored
from portcullis.checks.rules import RuleBook
from portcullis.checks.shapes import fragments
from portcullis.checks.treat import PLACEHOLDER
from portcullis.core.call import Action, Call, Context
from portcullis.core.check import Check
from portcullis.core.inspection import Path
from portcullis.core.inspection_ports import Vaults
from portcullis.core.ports import Inventory
from portcullis.core.verdict import PASS, Transform, Verdict
from portcullis.wire.texts import replaced, request_texts

_RESTORED: Final = frozenset({Action.TOOL, Action.PROMPT})
ARGUMENTS: Final[Path] = ("params", "arguments")
"""Where the arguments are in the message that calls for a tool or a prompt."""


class Restore(Check):
    """Puts values back into the arguments of tools and prompts."""

    name: ClassVar[str] = "restore"

    def __init__(self, vaults: Vaults, inventory: Inventory, book: RuleBook) -> None:
        self._vaults = vaults
        self._inventory = inventory
        self._book = book

    async def prepare(self, call: Call, context: Context) -> object:
        """Know what other gateways have hidden in this session."""
        if context.session is not None and _may_hold(call):
            await self._vaults.refresh(context.session.id, context.session.opened_at)
        return None

    def judge(self, call: Call, context: Context, facts: object) -> Verdict:
        """Transform the call when it holds placeholders of this session."""
        del facts
        session = context.session
        if session is None or not _may_hold(call):
            return PASS
        vault = self._vaults.vault(session.id, session.opened_at)
        links = self._book.rules(context).links
        changes: dict[Path, Any] = {}
        names: dict[Path, str] = {}
        for text in request_texts(call)[0]:
            if text.path[:2] != ARGUMENTS:
                continue
            value = restored(text.text, vault, links)
            if value == text.text:
                continue
            if text.name:
                names[text.path] = value
            else:
                changes[text.path] = self._typed(call, text.path, text.text, value)
        if not changes and not names:
            return PASS
        payload = replaced(call.payload, changes, names)
        return Transform(payload=payload, arguments=payload["params"]["arguments"])

    def _typed(self, call: Call, path: Path, text: str, value: str) -> Any:
        """A placeholder alone, where the tool wants a number, stands for a number."""
        spec = self._inventory.tool(call.server, call.name)
        if spec is None or not PLACEHOLDER.fullmatch(text):
            return value
        types = {str(node.get("type")) for node in fragments(spec.input_schema, path[2:])}
        try:
            if "integer" in types:
                return int(value)
            return float(value) if "number" in types else value
        except ValueError:
            return value


def _may_hold(call: Call) -> bool:
    return call.action in _RESTORED and b"<" in call.body
