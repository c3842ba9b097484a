"""The gate's own checks as an enforcement point: policy, then provenance, as on the line.

What approvals are bound to, and when an agent may ask no more, are the gate's own rules, too.
``redteam.through`` is the same with all of the gate; tests hold one against the other.
"""

from __future__ import annotations

import itertools
from collections.abc import Coroutine, Sequence
from typing import Any, Final, TypeVar

import msgspec

from portcullis.checks.authorize import Authorize
from portcullis.checks.provenance import Provenance
from portcullis.config import Approvals
from portcullis.core.call import Action, Call, Context, Result, Route
from portcullis.core.containment import Containment, ToolModel
from portcullis.core.principal import Principal, PrincipalKind, Session
from portcullis.core.verdict import Deny, Hold, Verdict
from portcullis.oversight.binding import binding
from portcullis.oversight.freezing import freezes
from portcullis.provenance.labels import Labels
from portcullis.redteam.catalogue import Catalogue
from portcullis.redteam.enforcer import ALLOW, Answer, Deciding, Decision, Task
from portcullis.redteam.programs import Attempt

_FOREVER: Final = 2.0**40
_KEY: Final = bytes(32)
"""Nothing is stored, so nothing has to be kept from whoever reads it."""
_Result = TypeVar("_Result")


class Contained(Deciding):
    """One session of the suite's agent, opened with the task's prompt.

    ``granted``: its tools were declared. ``containment`` stands in for the policy's own. After
    ``refusals`` denials the agent may ask for nothing more; never when that is None.
    """

    def __init__(
        self,
        catalogue: Catalogue,
        task: Task,
        *,
        granted: bool = False,
        containment: Containment | None = None,
        refusals: int | None = None,
    ) -> None:
        grant = tuple(f"{task.suite}.{tool}" for tool in sorted(task.declared))
        self._server = task.suite
        self._context = _context(catalogue.agent, task, grant if granted else None)
        self._authorize = Authorize(catalogue.pdp)
        meant = _Meant(catalogue, containment or catalogue.containment)
        self._provenance = Provenance(meant, _State())
        self._arguments: dict[str, Any] = {}
        self._freeze = None if refusals is None else Approvals(refusals=refusals)
        self._refused: list[str] = []
        self._approvals = itertools.count()

    def hear(self, turns: Sequence[str]) -> None:
        """The user has said this after the prompt, and nothing else."""
        session = self._context.session
        if session is not None:
            session = msgspec.structs.replace(session, turns=tuple(turns))
            self._context = msgspec.structs.replace(self._context, session=session)

    def decide(self, tool: str, arguments: dict[str, Any]) -> Decision:
        """What the checks say: the first denial, else what has to be asked and may be."""
        self._arguments = arguments
        call = self._call(tool, arguments)
        verdict = self._judged(call)
        if isinstance(verdict, Hold):
            verdict = self._askable(call, verdict)
        if isinstance(verdict, Deny):
            return Decision(Answer.DENY, (verdict.code, verdict.reason))
        if not isinstance(verdict, Hold):
            return ALLOW
        kinds = (question.partition(":")[0] for question in verdict.questions)  # may quote values
        return Decision(Answer.ASK, tuple(kinds))

    def denied(self, tool: str, arguments: dict[str, Any]) -> None:
        """A denial stands for the same call, and counts."""
        call = self._call(tool, arguments)
        verdict = self._judged(call)
        if isinstance(verdict, Hold):
            self._refused.append(binding(call, self._context, verdict, _KEY))

    def _judged(self, call: Call) -> Verdict:
        verdict = self._authorize.judge(call, self._context, None)
        if isinstance(verdict, Deny):
            return verdict
        facts = _now(self._provenance.prepare(call, self._context))
        return self._provenance.judge(call, self._context, facts)

    def _askable(self, call: Call, hold: Hold) -> Hold | Deny:
        if self._refused and binding(call, self._context, hold, _KEY) in self._refused:
            return Deny(code="PC3041", reason="it was denied")
        if self._freeze is not None and freezes(len(self._refused), self._freeze):
            return Deny(code="PC3043", reason="too many of the agent's calls were denied")
        return hold

    def lookups(self, tool: str, arguments: dict[str, Any]) -> list[Attempt]:
        """What the check would have the gate look up."""
        call = self._call(tool, arguments)
        if isinstance(self._authorize.judge(call, self._context, None), Deny):
            return []
        looks = _now(self._provenance.lookups(call, self._context))
        return [Attempt(look.tool, look.arguments) for look in looks]

    def found(self, tool: str, result: Any) -> None:
        """Hand over what the gate looked up, which the agent does not see."""
        self._came(msgspec.structs.replace(self._call(tool, {}), looked_up_for="replay"), result)

    def approved(self, tool: str, arguments: dict[str, Any]) -> None:
        """What was approved is trusted for this session."""
        call, approval = self._call(tool, arguments), str(next(self._approvals))
        _now(self._provenance.approved(call, self._context, approval))

    def learn(self, tool: str, result: Any) -> None:
        """Hand the result over as an MCP server would: what is no object is wrapped."""
        self._came(self._call(tool, self._arguments), result)

    def failed(self, tool: str) -> None:
        """What an error says teaches nothing, but it may be confidential."""
        error = Result(payload={"content": [], "isError": True}, size=0, is_error=True)
        _now(self._provenance.prepare_result(self._call(tool, {}), self._context, error))

    def _came(self, call: Call, result: Any) -> None:
        whole = result if isinstance(result, dict) else {"result": result}
        found = Result(payload={"content": [], "structuredContent": whole}, size=0)
        _now(self._provenance.prepare_result(call, self._context, found))

    def _call(self, tool: str, arguments: dict[str, Any]) -> Call:
        return Call(
            id="replay",
            route=Route.MCP_HTTP,
            action=Action.TOOL,
            server=self._server,
            name=tool,
            method="tools/call",
            arguments=arguments,
            payload=None,
            body=b"",
        )


class _Meant:
    """The catalogue as the check asks for it."""

    def __init__(self, catalogue: Catalogue, containment: Containment) -> None:
        self._catalogue = catalogue
        self._containment = containment

    def model(self, server: str, tool: str) -> ToolModel | None:
        return self._catalogue.pdp.model(server, tool)

    def containment(self, context: Context) -> Containment | None:
        del context
        return self._containment


class _State:
    """The labels of one session, in memory."""

    def __init__(self) -> None:
        self._labels = Labels()

    async def read(self, session: Session) -> Labels:
        del session
        return self._labels

    async def merge(self, session: Session, more: Labels) -> Labels:
        del session
        self._labels = self._labels.merge(more)
        return self._labels


def _context(agent: str, task: Task, grant: tuple[str, ...] | None) -> Context:
    session = Session(
        id="replay",
        agent=agent,
        application="replay",
        user="replay",
        prompt=task.prompt,
        subject=dict(task.subject),
        grant=grant,
        opened_at=0.0,
        expires_at=_FOREVER,
    )
    principal = Principal(
        kind=PrincipalKind.AGENT, id=agent, credential="replay", expires_at=_FOREVER
    )
    return Context(
        principal=principal, session=session, source="replay", trace_id="0" * 32, received_at=0.0
    )


def _now(step: Coroutine[Any, Any, _Result]) -> _Result:
    """The result of a step whose ports are all in memory, so that it never waits."""
    try:
        step.send(None)
    except StopIteration as done:
        result: _Result = done.value
        return result
    raise RuntimeError("a step of a check waited")
