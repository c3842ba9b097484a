"""The model routes, JSON and streams: ``/openai/v1/...`` and ``/anthropic/v1/...``.

The handler decodes, takes the line, forwards exactly what was decided on, and passes back only
what it understood. In a stream, text goes on as it comes; a tool call is held until it is whole.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Iterable, Mapping
from dataclasses import replace
from fnmatch import fnmatchcase
from functools import lru_cache, partial
from time import perf_counter
from typing import Any, Final

import msgspec

from portcullis.config import Limits, ModelUpstream
from portcullis.core.behalf import Behalf
from portcullis.core.call import Action, Call, Context, Result, Route
from portcullis.core.check import MAX_FINDINGS, StreamJudge
from portcullis.core.errors import Problem
from portcullis.core.limit_ports import Standing
from portcullis.core.ports import Forwarder, UpstreamRequest, UpstreamResponse
from portcullis.core.verdict import Deny
from portcullis.gateway import tracing
from portcullis.gateway.http import Request, send_json
from portcullis.gateway.live import cuttable, quietly
from portcullis.gateway.outcome import Recorded, recorded
from portcullis.gateway.pipeline import Pipeline
from portcullis.gateway.records import new_id
from portcullis.gateway.returned import returned
from portcullis.gateway.stream import Exchange, HeldBack, StreamOut
from portcullis.gateway.stream_judged import Judged, Stopped
from portcullis.gateway.streamed import Streamed
from portcullis.wire import SHAPES, behind, error_body, error_frame, ratelimit
from portcullis.wire.json import decode, digest, encode
from portcullis.wire.model import Frame, ModelRequest, Shape, StreamDecoder
from portcullis.wire.slots import Kind

_FORWARD: Final = {
    b"anthropic-version": re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}"),
    b"x-stainless-retry-count": re.compile(r"[0-9]{1,4}"),
}
"""The caller's headers that go upstream, and the form in which nothing can be said in them."""
_FEATURES: Final = {b"openai-beta": "openai.beta", b"anthropic-beta": "anthropic.beta"}
_BETA: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._=-]{0,63}")
MAX_MODEL: Final = 1024
"""Longest name of a model, in characters: it is matched, counted, priced and recorded."""
MAX_ANSWER_VALUES: Final = 1_000_000
"""Most JSON values in an answer: embeddings as lists of numbers hold many."""

_PASSING: Final = frozenset({"PC5001", "PC5006", "PC5013", "PC5025"})
"""Problems that may be over a moment later; the others would only be repeated."""
_WAITING: Final = frozenset({"PC3070", "PC3071", "PC3072"})
"""Problems that are over when their Retry-After says so, if that is at most ``_SOON`` seconds."""
_SOON: Final = 60
_OK, _ERROR = 200, 400
_MODELS: Final = 1024
"""Of so many names it is remembered who serves them."""


class ModelRoutes:
    """Serves the operations of ``wire.SHAPES`` for the configured model upstreams."""

    def __init__(
        self,
        pipeline: Pipeline,
        forwarder: Forwarder,
        upstreams: Mapping[str, ModelUpstream],
        limits: Limits,
        standing: Standing | None = None,
    ) -> None:
        """``standing`` says how it stands with the limits of calls, for the answers' headers."""
        self._standing = standing
        self._pipeline = pipeline
        self._forwarder = forwarder
        self._upstreams = upstreams
        self._limits = limits
        self._serving = lru_cache(_MODELS)(self._server)

    async def __call__(self, request: Request, context: Context, api: str, path: str) -> None:
        """Serve one request. Problems before a call exists are raised to the router."""
        shape = SHAPES.get((api, request.method, path))
        if shape is None:
            raise _no_route(request.method, api, path)
        body = await request.json_body(self._limits.body_bytes)
        asked = shape.request(decode(body))
        call = self._call(request, shape, asked)
        outcome = await self._pipeline.request(call, context)
        if isinstance(outcome.verdict, Deny):
            await answer(request, api, recorded(outcome.verdict))
            return
        try:
            with cuttable():
                asked = msgspec.structs.replace(asked, sent=outcome.call.payload)
                told = self._told(outcome.event, api)
                last = await self._forward(
                    Exchange(request, context, outcome, shape, asked, told=told)
                )
        except Recorded as problem:
            await answer(request, api, problem)
        except Problem as problem:
            self._pipeline.failed(outcome, context, problem)
            await answer(request, api, problem)
        except BaseException:
            gone = Problem("PC5008", "the call ended before its answer was complete")
            self._pipeline.failed(outcome, context, gone)
            raise
        else:
            await quietly(last)

    def _told(self, call: str, api: str) -> ratelimit.Headers:
        """How it stands with the limits of a call, in headers."""
        return ratelimit.standing(self._standing.quotas(call), api) if self._standing else []

    def _call(self, request: Request, shape: Shape, asked: ModelRequest) -> Call:
        if len(asked.model) > MAX_MODEL:
            raise Problem("PC1020", f"model: expected a name of at most {MAX_MODEL} characters")
        features = list(asked.features)
        for header, form in _FORWARD.items():
            said = request.text(header)
            if said is not None and form.fullmatch(said) is None:
                raise Problem("PC1011", f"{header.decode()} is not of its form")
        for header, feature in _FEATURES.items():
            value = request.text(header)
            if value:
                features += [f"{feature}.{_named(part.strip())}" for part in value.split(",")]
        return Call(
            id=new_id(),
            route=Route.LLM_STREAM if asked.stream else Route.LLM_JSON,
            action=Action.MODEL,
            server=self._serving(shape.api, asked.model),
            name=asked.model,
            method=shape.operation,
            arguments={},
            payload=asked.payload,
            body=encode(asked.payload),
            features=tuple(features),
            stream=asked.stream,
        )

    def _server(self, api: str, model: str) -> str:
        """The upstream that serves a model, or no name; policy is asked either way."""
        for name, upstream in self._upstreams.items():
            if upstream.shape == api and any(fnmatchcase(model, g) for g in upstream.serves):
                return name
        return ""

    async def _forward(self, exchange: Exchange) -> Awaitable[None]:
        """Forward what was decided on; returns the sending of what is left of the answer."""
        call = exchange.outcome.call
        if not call.server:
            raise Problem("PC5012", "no configured upstream serves this model")
        trace = exchange.context.trace
        if trace is None:
            return await self._exchanged(exchange)
        literal = call.name in self._upstreams[call.server].serves
        with tracing.asking(trace, call, literal=literal) as span:
            return await self._exchanged(replace(exchange, span=span))

    async def _exchanged(self, exchange: Exchange) -> Awaitable[None]:
        request, call, began = exchange.request, exchange.outcome.call, perf_counter()
        response = await self._forwarder.send(
            UpstreamRequest(
                upstream=call.server,
                method=request.method,
                path=call.method.partition(" ")[2],
                headers=_request_headers(exchange),
                body=call.body,
                behalf=Behalf.of(exchange.context),
                scope=call.name,
            )
        )
        exchange = replace(exchange, status=response.status, waited=perf_counter() - began)
        if exchange.span is not None:
            exchange.span.attributes["http.response.status_code"] = response.status
        try:
            kind = response.headers.get("content-type", "").split(";")[0].strip().lower()
            if response.status == _OK and call.stream and kind == "text/event-stream":
                return await self._stream(exchange, response)
            if kind == "application/json":
                return await self._json(exchange, response)
            if response.status >= _ERROR:
                return await self._answered(exchange, response, _unread(exchange, response), 0)
            raise Problem("PC5003", f"status {response.status} with an unexpected media type")
        finally:
            response.close()

    async def _json(self, exchange: Exchange, response: UpstreamResponse) -> Awaitable[None]:
        raw = await response.read()
        exchange.heard()
        try:
            payload = decode(raw, max_values=MAX_ANSWER_VALUES)
        except Problem as problem:
            raise Problem("PC5003", f"the answer is not strict JSON: {problem.detail}") from None
        return await self._answered(exchange, response, payload, len(raw))

    async def _answered(
        self, exchange: Exchange, response: UpstreamResponse, payload: Any, size: int
    ) -> Awaitable[None]:
        """Pass an answer on that is no stream, as it was judged."""
        if response.status >= _ERROR:
            result = Result(payload=payload, size=size, is_error=True)
        elif response.status != _OK or exchange.asked.stream:
            raise Problem("PC5003", f"status {response.status} where a stream or 200 was due")
        else:
            result = exchange.shape.result(payload, exchange.asked)
        judged = await self._judge(exchange, result)
        headers = ratelimit.ours(exchange.told, returned(response.headers))
        return send_json(exchange.request.send, response.status, encode(judged.payload), headers)

    async def _stream(self, exchange: Exchange, response: UpstreamResponse) -> Awaitable[None]:
        """Pass a stream on. Faults after the head become an error event that SDKs raise on."""
        headers = ratelimit.ours(exchange.told, returned(response.headers))
        out = StreamOut(exchange.request, headers)
        try:
            with cuttable():
                async with asyncio.timeout(self._limits.stream_seconds):
                    rest = await self._pieces(exchange, response, out)
        except TimeoutError:
            limit = f"the stream took longer than {self._limits.stream_seconds:g} s"
            rest = self._broken(exchange, out, Problem("PC5002", limit))
        except Problem as problem:
            rest = self._broken(exchange, out, problem)
        return out.send(rest, last=True)

    async def _pieces(
        self, exchange: Exchange, response: UpstreamResponse, out: StreamOut
    ) -> bytes:
        """Pass on what comes, until the result was judged; returns what is left to send."""
        decoder = exchange.shape.stream(exchange.asked)
        judge = self._pipeline.stream(exchange.outcome.call, exchange.context)
        limit = self._limits.held_bytes
        with self._pipeline.records.streamed(exchange.outcome.call) as kept:
            if judge is None:
                held = HeldBack(limit)
                return await self._passed(exchange, response, out, decoder, held, kept=kept)
            judged = Judged(judge, limit, kept)
            try:
                return await self._passed(
                    exchange, response, out, decoder, judged, judge, kept=kept
                )
            except Stopped as stopped:
                self._pipeline.stopped(
                    exchange.outcome, exchange.context, judged.so_far(), judge, stopped.deny
                )
                raise Recorded(stopped.code, stopped.detail) from None

    async def _passed(
        self,
        exchange: Exchange,
        response: UpstreamResponse,
        out: StreamOut,
        decoder: StreamDecoder,
        held: HeldBack | Judged,
        judge: StreamJudge | None = None,
        *,
        kept: Streamed | None = None,
    ) -> bytes:
        end = b""
        async for chunk in response.chunks():
            denied = self._pipeline.chunk(exchange.outcome.call, exchange.context)
            if denied is not None:
                raise Problem(denied.code, denied.reason)
            frames = decoder.feed(chunk)
            self._measured(exchange, frames)
            if kept is not None and judge is None:
                for frame in frames:
                    if frame.slots is not None:
                        kept.event(frame.slots, {}, {})
            ready = held.feed(frames)
            if decoder.ended:  # a client that has seen the end would not see a refusal after it
                end += ready
            elif ready:
                await out.send(ready)
        exchange.heard()
        result = decoder.end()
        end += held.rest()
        result = held.summary(result)
        if kept is not None:
            if judge is not None and len(judge.findings) >= MAX_FINDINGS:
                kept.spoil()  # more may have been found, and gone on as it was
            result = msgspec.structs.replace(result, streamed=kept.answer(result.proposals))
        await self._judge(exchange, result, judge)
        return end

    def _measured(self, exchange: Exchange, frames: Iterable[Frame]) -> None:
        """Say how long the answer becomes: Problem when that is too much."""
        if not self._pipeline.measures:
            return
        call, context = exchange.outcome.call, exchange.context
        denied = self._pipeline.passing(call, context, partial(_characters, frames))
        if denied is not None:
            problem = Problem(denied.code, denied.reason)
            problem.over = denied.over
            raise problem

    async def _judge(
        self, exchange: Exchange, result: Result, judge: StreamJudge | None = None
    ) -> Result:
        """Take the line back. Raises Recorded when the result may not be passed on.

        The calls that are remembered are those that the client will see.
        """
        outcome, context = exchange.outcome, exchange.context
        result = msgspec.structs.replace(result, status=exchange.status, waited=exchange.waited)
        judged = await self._pipeline.result(outcome, context, result, judge=judge)
        if isinstance(judged, Deny):
            raise recorded(judged)
        if judged.payload is not result.payload and not result.is_error:
            seen = exchange.shape.result(judged.payload, exchange.asked)
            judged = msgspec.structs.replace(judged, proposals=seen.proposals)
        await self._pipeline.records.remember(outcome, context, judged)
        return judged

    def _broken(self, exchange: Exchange, out: StreamOut, problem: Problem) -> bytes:
        """The end of a stream that went wrong, recorded once."""
        if not out.started:
            raise problem
        if not isinstance(problem, Recorded):
            self._pipeline.failed(exchange.outcome, exchange.context, problem)
        return error_frame(exchange.shape.api, problem)


async def answer(
    request: Request, api: str, problem: Problem, headers: Iterable[tuple[bytes, bytes]] = ()
) -> None:
    """Answer with a problem in the shape that the provider's SDK raises.

    The SDKs retry most errors by themselves unless ``x-should-retry`` says that it is no use.
    """
    soon = 0 < problem.retry_after <= _SOON and problem.code in _WAITING
    retry = b"true" if soon or problem.code in _PASSING else b"false"
    extra = [(b"x-should-retry", retry), *ratelimit.refused(problem, api), *headers]
    await send_json(request.send, problem.status, error_body(api, problem), extra)


def _characters(frames: Iterable[Frame]) -> int:
    """How many characters of the answer these frames add; what they repeat is none."""
    return sum(
        len(slot.text)
        for frame in frames
        if frame.slots is not None
        for slot in frame.slots.slots
        if slot.kind is not Kind.WHOLE and not slot.sealed
    )


def _unread(exchange: Exchange, response: UpstreamResponse) -> Any:
    """What stands for the body of an error that is no JSON: its status says enough."""
    problem = Problem("PC5003", f"status {response.status} without a JSON body")
    return decode(error_body(exchange.shape.api, problem))


def _named(beta: str) -> str:
    """The name of a beta, which will stand in the log: Problem PC1011 for any other text."""
    if not _BETA.fullmatch(beta):
        raise Problem("PC1011", "a beta header is not a list of names")
    return beta


def _no_route(method: str, api: str, path: str) -> Problem:
    if any(key[0] == api and key[2] == path for key in SHAPES):
        return Problem("PC1009", f"{method} is not served here")
    if behind(api, path):
        return Problem(
            "PC3006",
            "this operation acts or keeps content behind the gate",
            hint="The gate does not serve it; send content within the requests that it serves.",
        )
    return Problem("PC1010", "no such operation")


def _request_headers(exchange: Exchange) -> tuple[tuple[str, str], ...]:
    """What goes upstream: our own, and the few of the caller's that change nothing unseen."""
    request, stream = exchange.request, exchange.asked.stream
    headers = [
        ("content-type", "application/json"),
        ("accept", "text/event-stream" if stream else "application/json"),
    ]
    for name in (*_FORWARD, *_FEATURES):
        value = request.text(name)
        if value is not None:
            headers.append((name.decode(), value))
    headers += tracing.told(exchange.context.trace, exchange.span)
    key = request.text(b"idempotency-key")
    if key is not None:
        headers.append(("idempotency-key", _own_key(exchange.context, key)))
    return tuple(headers)


def _own_key(context: Context, key: str) -> str:
    """The caller's key, made its own: behind one credential of ours, agents share a name space.

    Another's key would otherwise bring another's answer.
    """
    principal = context.principal
    return digest([principal.kind, principal.id, principal.session, key])
