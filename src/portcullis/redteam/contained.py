"""The gate's own checks as an enforcement point: policy, then provenance, as on the line."""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any, Final, TypeVar

from portcullis.checks.authorize import Authorize
from portcullis.checks.provenance import Provenance
from portcullis.core.call import Action, Call, Context, Result, Route
from portcullis.core.containment import Containment, ToolModel
from portcullis.core.principal import Principal, PrincipalKind, Session
from portcullis.core.verdict import Deny, Hold
from portcullis.provenance.labels import Labels
from portcullis.redteam.catalogue import Catalogue
from portcullis.redteam.enforcer import ALLOW, Answer, Decision, Task

_FOREVER: Final = 2.0**40
_Result = TypeVar("_Result")


class Contained:
    """One session of the suite's agent, opened with the task's prompt.

    ``granted``: its tools were declared. ``containment`` stands in for the policy's own.
    """

    def __init__(
        self,
        catalogue: Catalogue,
        task: Task,
        *,
        granted: bool = False,
        containment: Containment | None = None,
    ) -> None:
        grant = tuple(f"{task.suite}.{tool}" for tool in sorted(task.declared))
        self._server = task.suite
        self._context = _context(catalogue.agent, task.prompt, grant if granted else None)
        self._authorize = Authorize(catalogue.pdp)
        meant = _Meant(catalogue, containment or catalogue.containment)
        self._provenance = Provenance(meant, _State())

    def decide(self, tool: str, arguments: dict[str, Any]) -> Decision:
        """What the checks say: the first denial, else what has to be asked."""
        call = self._call(tool, arguments)
        verdict = self._authorize.judge(call, self._context, None)
        if not isinstance(verdict, Deny):
            facts = _now(self._provenance.prepare(call, self._context))
            verdict = self._provenance.judge(call, self._context, facts)
        if isinstance(verdict, Deny):
            return Decision(Answer.DENY, (verdict.code, verdict.reason))
        if not isinstance(verdict, Hold):
            return ALLOW
        kinds = (question.partition(":")[0] for question in verdict.questions)  # may quote values
        return Decision(Answer.ASK, tuple(kinds))

    def approved(self, tool: str, arguments: dict[str, Any]) -> None:
        """What was approved is trusted for this session."""
        _now(self._provenance.approved(self._call(tool, arguments), self._context))

    def learn(self, tool: str, result: Any) -> None:
        """Hand the result over as an MCP server would: what is no object is wrapped."""
        whole = result if isinstance(result, dict) else {"result": result}
        found = Result(payload={"content": [], "structuredContent": whole}, size=0)
        _now(self._provenance.prepare_result(self._call(tool, {}), self._context, found))

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


def _context(agent: str, prompt: str, grant: tuple[str, ...] | None) -> Context:
    session = Session(
        id="replay",
        agent=agent,
        application="replay",
        user="replay",
        prompt=prompt,
        subject={},
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
