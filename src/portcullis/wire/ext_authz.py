"""Envoy's external authorization: its question as a call of egress, and the answer."""

from __future__ import annotations

from typing import Final

from portcullis.core.call import Call, Route
from portcullis.core.errors import Problem
from portcullis.core.trace import new_trace, trace_of
from portcullis.wire import egress, outward
from portcullis.wire.envoy import authorization_pb2 as wire
from portcullis.wire.json import encode

_DENIED: Final = 7
"""google.rpc.Code PERMISSION_DENIED."""
_TYPE: Final = "application/problem+json"


def headers_of(http: wire.HttpRequest) -> dict[str, str]:
    """The request's headers by their lower-case names, as Envoy merged them.

    Raises Problem PC1011 for one that occurs twice, unmerged, or is no text.
    """
    if not http.header_map.headers:
        return {name.lower(): value for name, value in http.headers.items()}
    found: dict[str, str] = {}
    for one in http.header_map.headers:
        name = one.key.lower()
        if name in found:
            raise Problem("PC1011", "a header occurs twice")
        try:
            found[name] = one.value or one.raw_value.decode("utf-8")
        except UnicodeDecodeError:
            raise Problem("PC1011", "a header is no text") from None
    return found


def call_of(call_id: str, http: wire.HttpRequest, headers: dict[str, str]) -> Call:
    """The call that a request is.

    Raises Problem PC5050 for a host that is no DNS name, PC1011 for what servers could take for
    another request.
    """
    egress.meant(tuple(headers.items()))
    if http.method == "CONNECT":
        return outward.connect(call_id, Route.EXT_AUTHZ, http.host)
    upgrade = headers.get("upgrade", "").lower()
    websocket = http.method == "GET" and upgrade == "websocket"
    return outward.request(
        call_id,
        Route.EXT_AUTHZ,
        method=egress.WEBSOCKET if websocket else http.method,
        scheme=http.scheme.lower(),
        host=http.host,
        target=http.path,
    )


def trace_in(headers: dict[str, str]) -> str:
    """The trace that a request belongs to, or a new one."""
    return trace_of(headers.get("traceparent", "")) or new_trace()


def allowed(without: str | None) -> wire.CheckResponse:
    """Yes; the header ``without`` does not go on."""
    remove = [without] if without else []
    return wire.CheckResponse(
        status=wire.Status(code=0), ok_response=wire.OkHttpResponse(headers_to_remove=remove)
    )


def denied(problem: Problem) -> wire.CheckResponse:
    """No, and what Envoy answers the agent in our place."""
    kind = wire.HeaderValue(key="content-type", value=_TYPE)
    return wire.CheckResponse(
        status=wire.Status(code=_DENIED, message=problem.code),
        denied_response=wire.DeniedHttpResponse(
            status=wire.HttpStatus(code=problem.status),
            headers=[wire.HeaderValueOption(header=kind)],
            body=encode(problem.document()).decode("utf-8"),
        ),
    )
