"""Names for agents: a question of DNS is a call, and only an allowed name is asked about."""

from __future__ import annotations

from typing import Final

from portcullis.core.call import Action, Call, Context, Result, Route
from portcullis.core.egress import Destination, Way
from portcullis.core.egress_ports import Dialer
from portcullis.core.errors import Problem
from portcullis.core.verdict import Deny
from portcullis.gateway.live import cuttable
from portcullis.gateway.outcome import recorded
from portcullis.gateway.pipeline import Pipeline
from portcullis.gateway.records import new_id
from portcullis.gateway.tracing import Tracer, calling, going
from portcullis.wire import dns
from portcullis.wire.egress import asked, named
from portcullis.wire.json import encode

_LATER: Final = frozenset({"PC5006", "PC5025", "PC5051"})
"""Another time it may be answered (SERVFAIL)."""
_METHOD: Final = "DNS"
_CONTAINED: Final = "PC4"
"""What the codes of containment begin with: those who are cut off are told so."""


class Names:
    """Answers questions; what is refused, on record, is a name that does not exist."""

    def __init__(self, pipeline: Pipeline, dialer: Dialer, tracer: Tracer | None = None) -> None:
        self._pipeline = pipeline
        self._tracer = tracer
        self._dialer = dialer

    async def answer(self, data: bytes, context: Context) -> bytes:
        """The message that answers one. Raises Problem PC5060, and those of containment."""
        query = dns.question(data)
        try:
            host = named(query.name)
        except Problem as problem:
            self._pipeline.refused(
                problem,
                route=Route.EGRESS.value,
                principal_kind=context.principal.kind,
                principal=context.principal.id,
                credential=context.principal.credential,
                source=context.source,
                method=_METHOD,
                trace_id=context.trace_id,
            )
            return dns.refused(query)
        with calling(self._tracer, context, Route.EGRESS.value) as ours:
            return await self._answer(data, query, host, ours)

    async def _answer(self, data: bytes, query: dns.Question, host: str, context: Context) -> bytes:
        """The answer to a question about a name."""
        call = _call(host, query.kind)
        outcome = await self._pipeline.request(call, context)
        if isinstance(outcome.verdict, Deny):
            if outcome.verdict.code.startswith(_CONTAINED):
                raise recorded(outcome.verdict)
            return dns.refused(query)
        try:
            with cuttable(), going(context.trace, "resolve"):
                found = await self._dialer.addresses(host, 0, context.principal.id)
        except Problem as problem:
            self._pipeline.failed(outcome, context, problem)
            if problem.code.startswith(_CONTAINED):
                raise recorded(Deny(code=problem.code, reason=problem.detail)) from None
            return dns.refused(query, failed=problem.code in _LATER)
        reply = dns.answered(query, found)
        result = Result(payload=None, size=len(reply), sent=len(data), finish=_METHOD.lower())
        judged = await self._pipeline.result(outcome, context, result)
        if isinstance(judged, Deny):
            raise recorded(judged)
        return reply


def _call(host: str, kind: str) -> Call:
    where = Destination(host=host, port=0)
    payload = {"way": Way.DNS.value, "host": host, "kind": kind}
    return Call(
        id=new_id(),
        route=Route.EGRESS,
        action=Action.EGRESS,
        server="",
        name=str(where),
        method=_METHOD,
        arguments=asked(Way.DNS, where, method=_METHOD),
        payload=payload,
        body=encode(payload),
    )
