"""Oblige: what the grant of a call asks of the gate is done.

People are asked, records that are out of the role's reach are taken out of results, and columns
are masked. It stands last, so that it sees results first: no check behind it, no record and no
memory has what it hides.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from typing import Any, ClassVar, Final, Protocol

import msgspec

from portcullis.checks.columns import OutOfReach, Steps, Unreadable, in_reach
from portcullis.checks.documents import asks, failed, rewritten
from portcullis.checks.masking import column, masked
from portcullis.core.call import Action, Call, Context, Result, RiskClass
from portcullis.core.check import Check
from portcullis.core.containment import ToolModel
from portcullis.core.errors import Problem
from portcullis.core.obligation import Obligations
from portcullis.core.ports import Inventory
from portcullis.core.principal import subject_key
from portcullis.core.verdict import PASS, Deny, Finding, Hold, Transform, Verdict
from portcullis.provenance import rules
from portcullis.wire.mcp_told import tells

RULE: Final = "obligations"
_LOG: Final = "notifications/message"
_KEPT: Final = {
    _LOG: frozenset(["level"]),
    "notifications/progress": frozenset(["progressToken", "progress", "total"]),
    "notifications/cancelled": frozenset(["requestId"]),
}
"""What of a notification is no words."""
_WITHHELD: Final = "withheld: columns of this server's results are masked"


class Meaning(Protocol):
    """What policy says of tools, and of which servers it masks any result; see ``policy.pdp``."""

    def model(self, server: str, tool: str) -> ToolModel | None: ...  # noqa: D102 - see above
    def masks(self, server: str, context: Context) -> bool: ...  # noqa: D102 - see above


class Oblige(Check):
    """``commit`` is a keyed digest of a subject's value, in hex."""

    name: ClassVar[str] = "oblige"

    def __init__(
        self, policy: Meaning, inventory: Inventory, commit: Callable[[str, bytes], str]
    ) -> None:
        self._policy = policy
        self._inventory = inventory
        self._commit = commit

    def judge(self, call: Call, context: Context, facts: object) -> Verdict:
        """Hold what needs people; deny (PC3032) a server's question while it is masked."""
        del facts
        if call.action is Action.SERVER_REQUEST and self._asks(call, context):
            return Deny(
                code="PC3032", reason="the server asks during a call whose results are masked"
            )
        wanted = self._wanted(call)
        if not wanted:
            return PASS
        people = "two people have" if wanted > 1 else "a human has"
        reason = f"policy says that {people} to let it through"
        return Hold(reason=reason, rule=RULE, approvers=wanted)

    def _wanted(self, call: Call) -> int:
        """How many people: by what the arguments make of the tool's class of risk, too."""
        obliged = call.obligations
        if obliged is None or not obliged.by_risk or call.action is not Action.TOOL:
            return 0 if obliged is None else obliged.approvers
        model = self._policy.model(call.server, call.name)
        risk = RiskClass.DELETE if model is None else rules.risk(model, call.arguments)
        return obliged.people(risk)

    def judge_result(self, call: Call, context: Context, result: Result, facts: object) -> Verdict:
        """The result within the role's reach and with its columns masked.

        Deny PC3030 for what cannot be read, PC3031 for what is wholly out of reach. What a tool
        says when it fails is withheld: it is no columns.
        """
        del facts
        if call.action is Action.PROTOCOL:
            return self._quiet(call, context, result)
        if call.action is not Action.TOOL or not _masked((call,)):
            return PASS
        if result.is_error:
            return Transform(payload=failed(result.payload))
        if asks(result.payload):
            return Deny(code="PC3032", reason="the tool asks back, and its results are masked")
        work = _Work(self, call, context, call.obligations or Obligations())
        try:
            payload = rewritten(result.payload, work.rewrite)
        except Unreadable:
            problem = Problem("PC3030", "the result is not of the shape that policy masks")
        except OutOfReach as scope:
            reason = f"the result does not say that it is of the role's {scope.args[0]}"
            problem = Problem("PC3031", reason)
        except Problem as found:
            problem = found
        else:
            unchanged = payload is result.payload
            return PASS if unchanged else Transform(payload=payload, findings=tuple(work.findings))
        return Deny(code=problem.code, reason=problem.detail)

    def fits(self, call: Call, structured: Any) -> bool:
        """Whether a structured result fits the schema of its tool."""
        tool = call.tool
        if tool is None or tool.output_schema is None:
            return True
        return not self._inventory.validate_output(call.server, tool, structured)

    def commitment(self, context: Context, value: bytes) -> str:
        """A keyed digest, in hex, of a value of this data subject's."""
        return self._commit(subject_key(context.principal, context.session), value)

    def _asks(self, call: Call, context: Context) -> bool:
        """Whether a question says more than the protocol's own while results are masked.

        A question within a result is judged with it.
        """
        payload = call.payload
        if not isinstance(payload, dict) or "jsonrpc" not in payload:
            return False
        if not tells(payload.get("params") or {}):
            return False
        return self._hidden(call, context)

    def _hidden(self, call: Call, context: Context) -> bool:
        """Whether a server's message may belong to a call whose results are masked."""
        if call.within:
            return _masked(call.within)
        return self._policy.masks(call.server, context)

    def _quiet(self, call: Call, context: Context, result: Result) -> Verdict:
        """A server's notification without its words, where results of the server are masked."""
        payload, kept = result.payload, _KEPT.get(call.method)
        if kept is None or not isinstance(payload, dict):
            return PASS
        if payload.keys() <= kept or not self._hidden(call, context):
            return PASS
        bare = {name: item for name, item in payload.items() if name in kept}
        return Transform(payload=bare | ({"data": _WITHHELD} if call.method == _LOG else {}))


class _Work:
    """One result: the way of its document, and what was found on it."""

    def __init__(self, check: Oblige, call: Call, context: Context, obliged: Obligations) -> None:
        self._check = check
        self._call = call
        self._obliged = obliged
        self._commit = partial(check.commitment, context)
        self.findings: list[Finding] = []

    def rewrite(self, document: Any, under: Steps | None) -> Any:
        """The document as it may go on; ``under`` as in ``documents.Rewrite``."""
        prefix = under or ()
        scopes = [
            msgspec.structs.replace(one, paths=tuple(prefix + path for path in one.paths))
            for one in self._obliged.rows
        ]
        masks = [msgspec.structs.replace(one, path=prefix + one.path) for one in self._obliged.mask]
        kept, scoped = in_reach(document, scopes)
        self.findings += [_finding("ROWS", name, "drop") for name in sorted(scoped)]
        schema, fits = None, None
        if under is not None and self._call.tool is not None:
            schema = self._call.tool.output_schema
            fits = None if schema is None else partial(self._check.fits, self._call)
        new, hit = masked(kept, masks, self._commit, schema, fits)
        self.findings += [
            _finding(column(one.path), ".".join(one.path), one.treatment) for one in hit
        ]
        return new


def _finding(kind: str, where: str, treatment: str) -> Finding:
    return Finding(type=kind, where=where, treatment=treatment)


def _masked(calls: Iterable[Call]) -> bool:
    return any(one.obligations is not None and one.obligations.on_results for one in calls)
