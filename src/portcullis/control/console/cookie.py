"""The login cookie: an operator's token, for pages alone.

Cookies know hosts and no ports (RFC 6265 section 8.5): what else a browser visits under the same
name gets it. Under https it is Secure and has the prefix ``__Host-``, so that no other host of
the domain can set one.
"""

from __future__ import annotations

from typing import Final

from starlette.requests import Request
from starlette.responses import Response

from portcullis.core.errors import Problem

_NAME: Final = "portcullis"


def _secure(origin: str) -> bool:
    return origin.startswith("https://")


def name(origin: str) -> str:
    """What the cookie is called under this origin."""
    return f"__Host-{_NAME}" if _secure(origin) else _NAME


def token(request: Request, origin: str) -> str:
    """The token in a request's cookie; empty without one.

    Raises Problem PC2005 when there are two: one of them was put there by somebody else.
    """
    wanted, found = name(origin), []
    for header in request.headers.getlist("cookie"):
        for pair in header.split(";"):
            key, _, value = pair.strip().partition("=")
            if key == wanted:
                found.append(value)
    if len(found) > 1:
        hint = "Delete this site's cookies in the browser."
        raise Problem("PC2005", "the browser shows two login cookies", hint=hint)
    return found[0] if found else ""


def give(response: Response, origin: str, value: str, seconds: int) -> None:
    """Set the cookie for so many seconds."""
    response.set_cookie(
        name(origin),
        value,
        max_age=seconds,
        path="/",
        secure=_secure(origin),
        httponly=True,
        samesite="strict",
    )


def take(response: Response, origin: str) -> None:
    """Have the browser forget it."""
    give(response, origin, "", 0)
