"""Our refusals in the shapes that the providers' SDKs raise."""

from __future__ import annotations

from typing import Any, Final

from portcullis.core.errors import Problem
from portcullis.wire import sse
from portcullis.wire.json import encode

_TYPES: Final = {
    400: "invalid_request_error",
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
}


def error_body(api: str, problem: Problem) -> bytes:
    """The JSON body of a refusal; the HTTP status is ``problem.status``.

    openai: ``{"error": {message, type, param, code, hint}}``. anthropic: ``{"type": "error",
    "error": {type, message, details: {error_code}, hint}}``. Both with ``approval``, the handle,
    when it waits for a human.
    """
    return encode(_document(api, problem))


def error_frame(api: str, problem: Problem) -> bytes:
    """A stream event on which the SDK raises in mid-stream, whatever came before it."""
    document = _document(api, problem)
    if api == "openai":
        # Chat raises on "error"; a Responses stream has typed events with these members.
        document |= {
            "type": "error",
            "code": problem.code,
            "message": document["error"]["message"],
            "param": None,
        }
    return sse.encode(encode(document), "error")


def _document(api: str, problem: Problem) -> dict[str, Any]:
    kind = _TYPES.get(problem.status) or (
        "invalid_request_error" if problem.status < 500 else "api_error"  # noqa: PLR2004 - HTTP
    )
    error = {
        "message": f"{problem.code} {problem.entry.title}: {problem.detail}",
        "type": kind,
        "hint": problem.hint,
    }
    if problem.approval:
        error["approval"] = problem.approval
    if problem.over:
        error |= problem.over.members()
    if api == "openai":
        return {"error": {**error, "param": None, "code": problem.code}}
    return {"type": "error", "error": {**error, "details": {"error_code": problem.code}}}
