"""Validate: a tool's arguments fit its schema and hold nothing that looks like an attack.

The shape of model calls is the wire codec's business. Code PC3003 is an unknown tool, PC3026 and
PC3027 one that is not as it was approved, PC3010 a broken schema, PC3011 a suspicious value; on
the way back PC5009 is a structured result that breaks the tool's output schema.
"""

from __future__ import annotations

from typing import ClassVar, Final

from portcullis.checks.aside import Aside
from portcullis.checks.authorize import on_behalf
from portcullis.checks.suspicious import suspicious
from portcullis.core.call import Action, Call, Context, Result
from portcullis.core.check import Check
from portcullis.core.ports import Inventory, PolicyDecisionPoint
from portcullis.core.verdict import PASS, Allow, Deny, Verdict

_OTHER: Final = Deny(code="PC3026", reason="its definition is not the one that is known")


class Validate(Check):
    """Holds tool calls against the inventory.

    What policy would refuse anyway is refused here as policy refuses it: otherwise the codes of
    this check would tell an agent which tools exist that it may not see, and what their
    arguments are. So a denied tool is PC3002, one that is not granted is PC3001 whether or not it
    exists, and PC3003 says that a tool which policy grants is not there.
    """

    name: ClassVar[str] = "validate"

    def __init__(
        self, inventory: Inventory, pdp: PolicyDecisionPoint, aside: Aside | None = None
    ) -> None:
        self._inventory = inventory
        self._pdp = pdp
        self._aside = aside or Aside(pdp)

    async def prepare(self, call: Call, context: Context) -> object:
        """What policy says of a call that does not fit, where that may take long; else None."""
        if call.action is not Action.TOOL or not self._aside.wanted(context):
            return None
        caller = on_behalf(context)[0]
        if self._deny(call) is None or self._visible(call, caller):
            return None
        return await self._aside.decide(call, caller)

    def _visible(self, call: Call, caller: Context) -> bool:
        return call.name in self._pdp.visible("tools", call.server, (call.name,), caller)

    def judge(self, call: Call, context: Context, facts: object) -> Verdict:
        """Deny what does not fit; the reason names fields and rules, never values."""
        if call.action is not Action.TOOL:
            return PASS
        denial = self._deny(call)
        if denial is None:
            return PASS
        caller = on_behalf(context)[0]
        if isinstance(facts, Deny):
            return facts
        if not isinstance(facts, Allow) and not self._visible(call, caller):
            decision = self._pdp.decide(call, caller)
            if isinstance(decision, Deny):
                return decision
        return denial

    def _deny(self, call: Call) -> Deny | None:
        spec = call.tool
        if spec is None:
            return Deny(code="PC3003", reason="the server does not offer this tool")
        refusal = self._inventory.refusal(call.server, call.name)
        if refusal is not None:
            return refusal
        if self._inventory.tool(call.server, call.name) != spec:
            return self._inventory.declined(call.server, spec) or _OTHER
        broken = self._inventory.validate(call.server, call.name, call.arguments)
        if broken:
            return Deny(code="PC3010", reason="; ".join(broken))
        tolerated = self._inventory.tolerated(call.server, call.name)
        found = suspicious(call.arguments, spec.input_schema, tolerated)
        if found:
            return Deny(code="PC3011", reason="; ".join(found[:8]))
        return None

    def judge_result(self, call: Call, context: Context, result: Result, facts: object) -> Verdict:
        """Hold a tool's structured result against its output schema, as it was called.

        A tool that promises structure owes it (MCP, tools, structured content), except in an
        error and while it asks for more input.
        """
        del context, facts
        if call.action is not Action.TOOL or result.is_error:
            return PASS
        spec = call.tool
        if spec is None or spec.output_schema is None:
            return PASS
        payload = result.payload
        if not isinstance(payload, dict):
            return Deny(code="PC5009", reason="the result is not an object")
        if payload.get("resultType", "complete") != "complete":
            return PASS
        if "structuredContent" not in payload:
            return Deny(code="PC5009", reason="structuredContent is missing")
        broken = self._inventory.validate_output(call.server, spec, payload["structuredContent"])
        return Deny(code="PC5009", reason="; ".join(broken)) if broken else PASS
