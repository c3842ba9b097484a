"""Questions to the gate's identity API: a form or JSON goes, JSON or a refusal comes back."""

from __future__ import annotations

import re
import ssl
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import urlsplit

import aiohttp

from portcullis.core.codes import CODES
from portcullis.core.errors import Problem
from portcullis.wire.json import decode

CUT: Final = frozenset({"PC2007", "PC4001"})
"""What the gate says to those whom it has cut off."""
MUTE: Final = "PC7013"
"""What it looks like to them when they come anew: it takes the connection, and ends it."""

_TIMEOUT: Final = aiohttp.ClientTimeout(total=15, sock_connect=5)
_MAX_ANSWER: Final = 2**20
_PLAIN: Final = frozenset({"127.0.0.1", "::1", "localhost"})
_DETAIL: Final = re.compile(r"[ -~]{1,300}")
_APPROVAL: Final = re.compile(r"[A-Za-z0-9_-]{1,64}")


def origin(url: str) -> str:
    """``scheme://host:port`` of an address: https anywhere, http on this machine only.

    Raises Problem PC7004 for any other.
    """
    parts = urlsplit(url)
    try:
        port = parts.port
    except ValueError:
        port = 0
    if parts.scheme not in {"http", "https"} or not parts.hostname or port == 0:
        raise Problem("PC7004", "the gate's address is https://HOST:PORT")
    if parts.path.strip("/") or parts.query or parts.fragment or "@" in parts.netloc:
        raise Problem("PC7004", "the gate's address ends after its port")
    if parts.scheme == "http" and parts.hostname not in _PLAIN:
        raise Problem("PC7004", "plain http only on this machine", hint="Give the https address.")
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    return f"{parts.scheme}://{host}:{port or (443 if parts.scheme == 'https' else 80)}"


async def ask(
    method: str,
    url: str,
    *,
    context: ssl.SSLContext | None,
    form: Mapping[str, str] | None = None,
    json: Mapping[str, Any] | None = None,
    headers: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """The JSON object that the gate answers with; an empty one for 204.

    Raises the gate's own refusal as a Problem, PC7012 when it is not the gate that it should be,
    PC7013 when it ends the connection and PC7011 for no answer, or none that we understand.
    """
    async with aiohttp.ClientSession(timeout=_TIMEOUT) as http:  # no proxy, no .netrc
        ssl_context = True if context is None else context
        return await answered(
            http, method, url, data=form, json=json, headers=headers, ssl=ssl_context
        )


async def answered(
    http: aiohttp.ClientSession, method: str, url: str, *, most: int = _MAX_ANSWER, **options: Any
) -> dict[str, Any]:
    """``ask`` over a session that there is; ``most`` is the longest answer to read, in bytes.

    ``options`` are those of ``ClientSession.request``.
    """
    try:
        async with http.request(method, url, allow_redirects=False, **options) as answer:
            body = await answer.content.read(most)
            while not answer.content.at_eof():
                if len(body) >= most:
                    raise Problem("PC7011", "the gate's answer is too large")
                body += await answer.content.read(most)
    except (aiohttp.ClientConnectorCertificateError, aiohttp.ClientConnectorSSLError) as error:
        raise unlike(error) from None
    except (aiohttp.ClientError, OSError, TimeoutError) as error:
        raise unanswered(error, url) from None
    return _understood(answer.status, body)


def unlike(
    error: aiohttp.ClientConnectorSSLError | aiohttp.ClientConnectorCertificateError,
) -> Problem:
    """The problem that stands for a failed handshake."""
    reason = error.__cause__ if isinstance(error.__cause__, ssl.SSLError) else error
    why = getattr(reason, "verify_message", "") or str(reason.args[0] if reason.args else "")
    found = _DETAIL.search(str(why))
    return Problem("PC7012", found[0] if found else type(error).__name__)


def unanswered(error: Exception, url: str) -> Problem:
    """The problem that stands for no answer."""
    where = origin_of(url)
    ended = isinstance(error, aiohttp.ServerDisconnectedError | aiohttp.ClientOSError)
    if ended and not isinstance(error, aiohttp.ClientConnectorError):
        return Problem(MUTE, f"{where} ended the connection before it answered")
    return Problem("PC7011", f"{where} does not answer ({type(error).__name__})")


def origin_of(url: str) -> str:
    """The part of an address that may stand in an error."""
    return "{0.scheme}://{0.netloc}".format(urlsplit(url))


def _understood(status: int, body: bytes) -> dict[str, Any]:
    if status == 204:  # noqa: PLR2004 - RFC 9110 section 15.3.5
        return {}
    try:
        value = decode(body)
    except Problem:
        value = None
    if not isinstance(value, dict):
        raise Problem("PC7011", f"the gate answered {status}, and no JSON object")
    if status < 300:  # noqa: PLR2004 - success
        return value
    code = value.get("code")
    if not isinstance(code, str) or code not in CODES:
        raise Problem("PC7011", f"the gate answered {status}")
    detail = _DETAIL.match(str(value.get("detail") or value.get("error_description") or ""))
    hint = _DETAIL.match(str(value.get("hint") or ""))
    problem = Problem(
        code, detail[0] if detail else "the gate refused", hint=hint[0] if hint else None
    )
    approval = _APPROVAL.fullmatch(str(value.get("approval") or ""))
    problem.approval = approval[0] if approval else ""
    raise problem
