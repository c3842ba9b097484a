"""AuthZEN over HTTPS: ``/access/v1/evaluation`` and ``/access/v1/evaluations``, and where they are.

OpenID AuthZEN Authorization API 1.0, sections 6, 7, 9 and 10. A denial is an answer (200); a
problem document says that there was no question. Who asks is an application that
``decisions.askers`` names: never an agent, about itself or others.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Collection
from typing import Annotated, Any, Final, NamedTuple, Protocol, TypeAlias

from fastapi import APIRouter, Request, Response
from fastapi.routing import APIRoute
from pydantic import BaseModel, ConfigDict, Field

from portcullis.control.edge import Edge
from portcullis.control.shapes import BODY, CREDENTIAL, refusals
from portcullis.core.call import Call, Context
from portcullis.core.errors import Problem
from portcullis.core.principal import PrincipalKind
from portcullis.core.spiffe import SCHEME, SpiffeId, parse
from portcullis.core.verdict import Allow, Deny
from portcullis.wire import authzen

WELL_KNOWN: Final = "/.well-known/authzen-configuration"
EVALUATION: Final = "/access/v1/evaluation"
EVALUATIONS: Final = "/access/v1/evaluations"
MOST: Final = 64
"""Most questions in one request."""
_BEARER: Final[dict[str, Any]] = {"security": [{"bearer": []}]}
_REQUEST_ID: Final = re.compile(r"[ -~]{1,256}")
_ID: Final = "x-request-id"
StandsFor: TypeAlias = Callable[[SpiffeId], tuple[PrincipalKind, str]]
"""Which principal a SPIFFE ID is. Raises Problem PC2007."""
_Handler: TypeAlias = Callable[[Request], Awaitable[Response]]
Text = Annotated[str, Field(min_length=1, max_length=4096)]


class Given(BaseModel):
    """What every shape is: of the standard's, which may have members that we do not know."""

    model_config = ConfigDict(extra="ignore", strict=True, frozen=True)


class EntityGiven(Given):
    """A subject or a resource."""

    type: Text
    id: Text
    properties: dict[str, Any] = Field(default_factory=dict)


class ActionGiven(Given):
    """What is to be done."""

    name: Text


class Evaluation(Given):
    """One question. ``context`` is the caller's own and decides nothing."""

    subject: EntityGiven
    action: ActionGiven
    resource: EntityGiven
    context: dict[str, Any] = Field(default_factory=dict)


class Options(Given):
    """How several questions are answered."""

    evaluations_semantic: authzen.Semantic = Field(default=authzen.Semantic.ALL, strict=False)


class Partial(Given):
    """One of several questions, where members may be left to the request's own."""

    subject: EntityGiven | None = None
    action: ActionGiven | None = None
    resource: EntityGiven | None = None
    context: dict[str, Any] | None = None


class Evaluations(Partial):
    """Several questions; without them, the request is one itself."""

    evaluations: Annotated[list[Partial], Field(max_length=MOST)] = Field(default_factory=list)
    options: Options = Options()


class Decision(BaseModel):
    """The answer: ``context`` says why, by code and rule, and under which policy."""

    decision: bool
    context: dict[str, Any]


class DecisionList(BaseModel):
    """The answers, in the order of the questions; the last may have ended it."""

    evaluations: list[Decision]


class PdpMetadata(BaseModel):
    """Where this decision point is asked (section 9)."""

    policy_decision_point: str
    access_evaluation_endpoint: str
    access_evaluations_endpoint: str


class Asker(NamedTuple):
    """Who asks, and the header ``traceparent`` that came with the request."""

    context: Context
    traceparent: str


class Answered(Protocol):
    """A decision and the id of its record (``gateway.decisions.Decided``)."""

    @property
    def verdict(self) -> Allow | Deny:
        """What was decided."""
        ...

    @property
    def event(self) -> str:
        """The record's id, or empty."""
        ...


class Decides(Protocol):
    """Decides for whoever asks, and leaves a record of each answer."""

    def deadline(self) -> float:
        """When all that is asked by a request of now has to be answered."""
        ...

    async def decide(
        self, call: Call, agent: str, session: str, asker: Asker, until: float
    ) -> Answered:
        """Decide on an agent's call, until a ``deadline``."""
        ...

    def refused(self, problem: Problem, agent: str, asker: Asker) -> Answered:
        """A question that is none."""
        ...


class _Questions:
    """Questions of applications that may ask."""

    def __init__(
        self,
        decides: Decides,
        askers: Collection[str],
        stands_for: StandsFor,
        new_id: Callable[[], str],
    ) -> None:
        self._decides = decides
        self._askers = frozenset(askers)
        self._stands_for = stands_for
        self._new_id = new_id

    def asker(self, request: Request) -> Asker:
        """Who asks. Raises Problem PC3034 for an application that may not."""
        context: Context = request.state.context
        if context.principal.id not in self._askers:
            raise Problem("PC3034", "this application is none of decisions.askers")
        return Asker(context, request.headers.get("traceparent", ""))

    async def one(self, asked: Partial, asker: Asker, until: float | None = None) -> Decision:
        """The answer to one question; what is no question is a denial, and says so."""
        agent, until = "", self._decides.deadline() if until is None else until
        try:
            subject, action, resource = _whole(asked)
            agent = _agent(subject, self._stands_for)
            call = authzen.call_of(self._new_id(), action, resource)
            session = authzen.session_of(subject)
        except Problem as problem:
            error = {"status": problem.status, "message": problem.detail}
            return _decision(self._decides.refused(problem, agent, asker), error=error)
        return _decision(await self._decides.decide(call, agent, session, asker, until))

    async def all(self, body: Evaluations, asker: Asker) -> DecisionList:
        """The answers in order, until one of them is the last; in time for one."""
        answers, until = [], self._decides.deadline()
        for one in body.evaluations:
            answer = await self.one(_defaulted(one, body), asker, until)
            answers.append(answer)
            if body.options.evaluations_semantic.over(decision=answer.decision):
                break
        return DecisionList(evaluations=answers)


def router(
    edge: Edge,
    decides: Decides,
    askers: Collection[str],
    stands_for: StandsFor,
    new_id: Callable[[], str],
) -> APIRouter:
    """The routes for ``askers``. ``stands_for`` says which principal a SPIFFE ID is."""
    questions = _Questions(decides, askers, stands_for, new_id)
    routes = APIRouter(route_class=_identified(edge.door(PrincipalKind.APPLICATION)))
    responses = refusals(*CREDENTIAL, *BODY, "PC3034")

    @routes.post(EVALUATION, responses=responses, openapi_extra=_BEARER)
    async def evaluate(request: Request, body: Evaluation) -> Decision:
        """Say whether an agent may do something (section 6)."""
        partial = Partial(subject=body.subject, action=body.action, resource=body.resource)
        return await questions.one(partial, questions.asker(request))

    @routes.post(EVALUATIONS, responses=responses, openapi_extra=_BEARER)
    async def evaluate_all(request: Request, body: Evaluations) -> DecisionList | Decision:
        """Answer several questions, in order, until one of them is the last (section 7)."""
        asker = questions.asker(request)
        if body.evaluations:
            return await questions.all(body, asker)
        _whole(body)
        return await questions.one(body, asker)

    return routes


def metadata(edge: Edge) -> APIRouter:
    """Where decisions are asked for (section 9): public, nothing secret."""
    routes = APIRouter(route_class=_identified(edge.door()))

    @routes.get(WELL_KNOWN, responses=refusals("PC1020", "PC1021"), openapi_extra={"security": []})
    async def describe_pdp(request: Request) -> PdpMetadata:
        """Where decisions are asked for."""
        origin = edge.origin(request)
        return PdpMetadata(
            policy_decision_point=origin,
            access_evaluation_endpoint=origin + EVALUATION,
            access_evaluations_endpoint=origin + EVALUATIONS,
        )

    return routes


def _identified(door: type[APIRoute]) -> type[APIRoute]:
    """A door whose answers, refusals too, repeat the request's ``X-Request-ID`` (section 10.1)."""

    class Identified(door):  # type: ignore[misc, valid-type]
        def get_route_handler(self) -> _Handler:
            handler = super().get_route_handler()

            async def identified(request: Request) -> Response:
                response: Response = await handler(request)
                sent = request.headers.get(_ID, "")
                if _REQUEST_ID.fullmatch(sent):
                    response.headers[_ID] = sent
                return response

            return identified

    return Identified


def _whole(asked: Partial) -> tuple[authzen.Entity, str, authzen.Entity]:
    """Subject, action and resource of a question. Raises Problem PC1020 when one is missing."""
    if asked.subject is None or asked.action is None or asked.resource is None:
        raise Problem("PC1020", "a question has a subject, an action and a resource")
    return _entity(asked.subject), asked.action.name, _entity(asked.resource)


def _entity(given: EntityGiven) -> authzen.Entity:
    return authzen.Entity(type=given.type, id=given.id, properties=given.properties)


def _defaulted(one: Partial, body: Evaluations) -> Partial:
    """A question with what it leaves out (section 7.1.1)."""
    return Partial(
        subject=one.subject or body.subject,
        action=one.action or body.action,
        resource=one.resource or body.resource,
    )


def _agent(subject: authzen.Entity, stands_for: StandsFor) -> str:
    """The agent that a subject is. Raises Problem PC1020, PC2024 or PC2007."""
    if subject.type != authzen.AGENT:
        raise Problem("PC1020", "the subject's type is agent: nobody else is decided on")
    if not subject.id.startswith(SCHEME):
        return subject.id
    kind, name = stands_for(parse(subject.id))
    if kind is not PrincipalKind.AGENT:
        raise Problem("PC1020", "the subject's SPIFFE ID is no agent's")
    return name


def _decision(said: Answered, **more: object) -> Decision:
    verdict = said.verdict
    context = {
        "code": verdict.code if isinstance(verdict, Deny) else "",
        "reason": verdict.reason,
        "rule": verdict.rule,
        "risk": verdict.risk or "",
        "policy": verdict.policy,
        "event": said.event,
    }
    kept = {name: value for name, value in context.items() if value} | more
    return Decision(decision=isinstance(verdict, Allow), context=kept)
