"""Memory: what sessions write where others read it keeps its labels.

What is written into a store, and what a record vouches for afterwards, is pure and stands in
``provenance.memories``. A record's labels are durable before the write is forwarded; what a read
brings back has labelled the session before it goes on. Who writes without a session, or without
anybody judging where its values come from, writes secrets without a source.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import ClassVar, Final, Protocol

from portcullis.checks.provenance import Provenance, aside, content
from portcullis.core.call import Action, Call, Context, Result, RiskClass
from portcullis.core.check import Check
from portcullis.core.containment import Confidentiality, ToolModel
from portcullis.core.verdict import PASS, Verdict
from portcullis.provenance import learning
from portcullis.provenance.labels import Labels, reading
from portcullis.provenance.memories import recalled, sourced, taken, told, written
from portcullis.provenance.ports import LabelState, MemoryState

_READS: Final = frozenset({Action.RESOURCE, Action.PROMPT, Action.COMPLETE, Action.LIST})


class Memories(Protocol):
    """What policy says of tools, and which memories a server's tools are known to have."""

    def model(self, server: str, tool: str) -> ToolModel | None: ...  # noqa: D102 - see above
    def memories(self, server: str) -> Collection[str]: ...  # noqa: D102 - see above


class Memory(Check):
    """Labels what goes into memories, and the sessions that read them."""

    name: ClassVar[str] = "memory"

    def __init__(
        self,
        catalogue: Memories,
        provenance: Provenance,
        labels: LabelState,
        memories: MemoryState,
    ) -> None:
        self._catalogue = catalogue
        self._provenance = provenance
        self._labels = labels
        self._memories = memories

    async def going(self, call: Call, context: Context, risk: RiskClass) -> None:
        """Before it is forwarded: what a call writes is as confidential as its session.

        Problem PC9002 when that cannot be written down.
        """
        del risk
        await self._kept(call, context)

    async def _kept(self, call: Call, context: Context) -> None:
        if call.action is not Action.TOOL:
            return
        model = self._catalogue.model(call.server, call.name)
        if model is None:  # nobody knows what it writes
            for store in self._catalogue.memories(call.server):
                carried = await self._carried(call, context)
                await self._memories.keep(store, None, carried)
            return
        memory = model.memory
        if memory is None or not memory.writes:
            return
        carried = await self._carried(call, context)
        if memory.sources:
            sources = taken(model, call.arguments)
            carried = carried.merge(await self._memories.recall(memory.store, sources))
        records = written(model, call.arguments)
        if memory.appends:  # what nobody knows of a record stays in it
            before = await self._memories.recall(memory.store, records)
            carried = carried.merge(reading(before.confidentiality))
        await self._memories.keep(memory.store, records, carried)

    async def _carried(self, call: Call, context: Context) -> Labels:
        if context.session is None or not self._provenance.containments(context):
            return reading(Confidentiality.SECRET)
        facts = await self._provenance.facts(context)
        return sourced(call.arguments, facts.words, facts.labels)

    async def prepare_result(self, call: Call, context: Context, result: Result) -> object:
        """Learn what the records that came back are labelled with, durably, before they go on.

        What answers a server's question while a tool writes is written, too.
        """
        for one in call.within if call.action is Action.SERVER_REQUEST else ():
            await self._kept(one, context)
        session = context.session
        if session is None or not self._provenance.containments(context):
            return None
        model = None
        if call.action is Action.TOOL:
            model = self._catalogue.model(call.server, call.name)
        elif call.action not in _READS or (call.action, call.name) == (Action.LIST, "tools"):
            return None
        if model is not None:
            learned = await self._recalled(model, call, context, result)
        else:  # it may show anything that the server keeps
            learned = Labels()
            for store in self._catalogue.memories(call.server):
                known = await self._memories.recall(store, None)
                learned = learned.merge(reading(known.confidentiality))
        if call.looked_up_for:  # the agent does not get it
            learned = Labels(trusted=learned.trusted)
        if learned != Labels():
            await self._labels.merge(session, learned)
        return None

    async def _recalled(
        self, model: ToolModel, call: Call, context: Context, result: Result
    ) -> Labels:
        memory = model.memory
        if memory is None:
            return Labels()
        said = content(result.payload)
        vouched = self._provenance.vouched(call)
        anything = result.is_error or not vouched or aside(result.payload)
        records = None if anything else told(model, call.arguments, said)
        known = await self._memories.recall(memory.store, records)
        if result.is_error or not vouched:
            return reading(known.confidentiality)
        if memory.written or await self._memories.written(memory.store):
            return recalled(model, said, known)
        facts = await self._provenance.facts(context)
        names = learning.awaited(call.arguments, facts.words)
        return learning.learn(model, said, reading(known.confidentiality), names)

    def judge_result(self, call: Call, context: Context, result: Result, facts: object) -> Verdict:
        """Nothing is said of it: it has been learned from."""
        del call, context, result, facts
        return PASS
