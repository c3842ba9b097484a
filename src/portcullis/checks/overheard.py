"""Overheard: what a server says beside its answers is read as its answers are.

A message of its log, the words of a progress, a question to the user: they come before an answer,
and the agent may leave before that. What a session hears so labels it durably before it goes on:
as confidential as the tools of this server that it has called, and as the memories that they read.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Collection, Iterable, Mapping
from typing import Any, ClassVar, Final, Protocol

from portcullis.checks.memory import Memories
from portcullis.checks.provenance import Provenance
from portcullis.core.call import Action, Call, Context, Result, RiskClass
from portcullis.core.check import Check
from portcullis.core.containment import Confidentiality, ToolModel
from portcullis.core.verdict import PASS, Verdict
from portcullis.provenance import learning
from portcullis.provenance.labels import Labels, reading
from portcullis.provenance.ports import LabelState, MemoryState
from portcullis.wire.mcp_told import tells

_CALLED: Final = 4096
"""Sessions at servers of which it is known what they called; of others it may be anything."""
_ANYTHING: Final = ""
"""Stands for what is no tool that the catalogue knows."""


class Called(Protocol):
    """What sessions have called at which servers, by name; for all gateways that share it.

    Of a session at a server that is not known any more ``names`` has nothing: then it may be
    anything. ``since`` is when the session began (seconds since the epoch): where what it called
    before may have been forgotten, the name of anything, "", is noted too. What cannot be read or
    written raises: the caller denies.
    """

    async def note(  # noqa: D102 - see above
        self, session: str, server: str, name: str, since: float = math.inf
    ) -> None: ...
    async def names(self, session: str, server: str) -> Collection[str]: ...  # noqa: D102 - see above


class LocalCalled:
    """Implements ``Called`` in memory, for one process that sees all. Use it from one loop."""

    def __init__(self) -> None:
        self._called: OrderedDict[tuple[str, str], set[str]] = OrderedDict()

    async def note(self, session: str, server: str, name: str, since: float = math.inf) -> None:
        """See Called."""
        del since
        self._called.setdefault((session, server), set()).add(name)
        self._called.move_to_end((session, server))
        if len(self._called) > _CALLED:
            self._called.popitem(last=False)

    async def names(self, session: str, server: str) -> Collection[str]:
        """See Called."""
        return self._called.get((session, server), ())


class Overheard(Check):
    """Labels sessions with what servers tell them. ``called`` is by default in memory."""

    name: ClassVar[str] = "overheard"

    def __init__(
        self,
        catalogue: Memories,
        provenance: Provenance,
        labels: LabelState,
        memories: MemoryState,
        called: Called | None = None,
    ) -> None:
        self._catalogue = catalogue
        self._provenance = provenance
        self._labels = labels
        self._memories = memories
        self._called = called or LocalCalled()

    async def going(self, call: Call, context: Context, risk: RiskClass) -> None:
        """Note what is called; learn from a question before the client is shown it.

        A question without an id stands in a tool's result, which has been learned from.
        """
        del risk
        if call.action is Action.SERVER_REQUEST:
            if "id" in call.payload:
                await self._heard(call, context, call.payload.get("params", {}))
        elif context.session is not None and _reads(call):
            known = self._model(call.server, call.name) if call.action is Action.TOOL else None
            session, name = context.session, call.name if known else _ANYTHING
            await self._called.note(session.id, call.server, name, session.opened_at)

    async def prepare_result(self, call: Call, context: Context, result: Result) -> object:
        """Learn from a notification before it goes on."""
        if call.action is Action.PROTOCOL and call.method.startswith("notifications/"):
            await self._heard(call, context, result.payload)
        return None

    def judge_result(self, call: Call, context: Context, result: Result, facts: object) -> Verdict:
        """Nothing is said of it: it has been learned from."""
        del call, context, result, facts
        return PASS

    async def _heard(self, call: Call, context: Context, said: Mapping[str, Any]) -> None:
        session = context.session
        if session is None or not tells(said) or not self._provenance.containments(context):
            return
        before = await self._labels.read(session)
        if before.confidentiality is Confidentiality.SECRET:
            return
        called: Iterable[str]
        if call.action is Action.PROTOCOL and call.within:  # the server says what it belongs to
            called = [one.name if one.action is Action.TOOL else _ANYTHING for one in call.within]
        else:
            called = await self._called.names(session.id, call.server) or (_ANYTHING,)
        learned = Labels()
        stores: set[str] = set()
        for name in called:
            model = self._model(call.server, name)
            learned = learned.merge(reading(learning.level(model)))
            if model is None:
                stores.update(self._catalogue.memories(call.server))
            elif model.memory is not None:
                stores.add(model.memory.store)
        for store in stores:
            known = await self._memories.recall(store, None)
            learned = learned.merge(reading(known.confidentiality))
        await self._labels.merge(session, learned)

    def _model(self, server: str, name: str) -> ToolModel | None:
        return self._catalogue.model(server, name) if name != _ANYTHING else None


def _reads(call: Call) -> bool:
    """Whether a server may tell what it reads for this; what its tools are is no secret."""
    if call.action in {Action.MODEL, Action.PROTOCOL}:
        return False
    return (call.action, call.name) != (Action.LIST, "tools")
