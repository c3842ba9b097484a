"""Targets over HTTP: a webhook, and OTLP (opentelemetry.io/docs/specs/otlp, OTLP/HTTP).

A webhook is signed as in Standard Webhooks 1.0. No redirect is followed and no proxy of the
environment is used.
"""

from __future__ import annotations

import os
import ssl
from collections.abc import Callable, Mapping
from typing import Final

import aiohttp

from portcullis.audit.export.target import Batch, Refused, Rejected, Unavailable
from portcullis.core.errors import Problem
from portcullis.core.ports import Clock
from portcullis.wire import otlp_fields, webhooks

SECONDS: Final = 30.0
"""The longest that one delivery may take."""
_CONNECT_SECONDS: Final = 10.0
_ANSWER: Final = 64 * 1024
_LATER: Final = frozenset({401, 402, 403, 404, 405, 407, 408, 410, 421, 425, 426, 429})
"""Refusals that are not about the events: the address, the credential, the time."""

Headers = Callable[[Batch], Mapping[str, str]]


class WebTarget:
    """POSTs batches to one URL.

    ``headers`` are made anew for each attempt, so that a secret that was replaced takes effect; a
    Problem of theirs counts as a peer that is not available.
    """

    def __init__(
        self,
        url: str,
        *,
        headers: Headers,
        tls: ssl.SSLContext | None,
        partial: bool = False,
        seconds: float = SECONDS,
    ) -> None:
        self._url = url
        self._headers = headers
        self._tls = tls
        self._partial = partial
        self._seconds = seconds
        self._session: aiohttp.ClientSession | None = None

    async def send(self, batch: Batch) -> None:
        """Deliver a batch; see ``Target``. ``partial``: the answer is OTLP's."""
        try:
            headers = {"content-type": batch.content_type, **self._headers(batch)}
            async with self._open().post(
                self._url,
                data=batch.body,
                headers=headers,
                ssl=self._tls or True,
                allow_redirects=False,
            ) as answer:
                body = await _whole(answer) if self._partial else b""
                _judge(answer.status, answer.headers.get("retry-after", ""))
        except Problem as problem:
            raise Unavailable(problem.detail) from None
        except TimeoutError:
            raise Unavailable("no answer in time") from None
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise Unavailable(f"not reached: {_named(error)}") from None
        if self._partial:
            _left_out(body)

    async def close(self) -> None:
        """Close its connections."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    def _open(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._session = aiohttp.ClientSession(
                timeout=aiohttp.ClientTimeout(total=self._seconds, sock_connect=_CONNECT_SECONDS),
                trust_env=False,
                auto_decompress=False,
                cookie_jar=aiohttp.DummyCookieJar(),
                headers={"user-agent": "portcullis", "accept-encoding": "identity"},
            )
        return self._session


def signed(secret: Callable[[], str], clock: Clock) -> Headers:
    """The headers of Standard Webhooks under a secret; see ``wire.webhooks``."""

    def headers(batch: Batch) -> Mapping[str, str]:
        return webhooks.headers(batch.id, clock.now(), batch.body, (secret(),))

    return headers


def bearer(secret: Callable[[], str] | None) -> Headers:
    """A bearer token, or no header at all."""

    def headers(_: Batch) -> Mapping[str, str]:
        return {"authorization": f"Bearer {secret()}"} if secret else {}

    return headers


def gzipped(others: Headers) -> Headers:
    """Say that the body is in gzip, beside ``others``."""
    return lambda batch: {"content-encoding": "gzip", **others(batch)}


async def _whole(answer: aiohttp.ClientResponse) -> bytes:
    """An answer's body, in however many pieces it comes; ValueError when it is too long."""
    body = b""
    async for piece in answer.content.iter_any():
        body += piece
        if len(body) > _ANSWER:
            raise ValueError("the answer is too long")
    return body


def _judge(status: int, retry_after: str) -> None:
    if 200 <= status < 300:  # noqa: PLR2004 - success (RFC 9110, 15.3)
        return
    said = f"the peer answered {status}"
    if 400 <= status < 500 and status not in _LATER:  # noqa: PLR2004 - client errors
        raise Refused(said)
    raise Unavailable(said, float(retry_after) if retry_after.isdecimal() else 0.0)


def _left_out(body: bytes) -> None:
    """Raise Rejected for a partial success: by the specification it is not sent again."""
    try:
        count = otlp_fields.rejected(body)
    except ValueError:
        raise Unavailable("the peer's answer is not OTLP") from None
    if count:
        raise Rejected(f"the peer rejected {count} records of the batch that this was in")


def _named(error: Exception) -> str:
    """What kind of failure: the system's words for it, else its type; no address."""
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        return "its certificate is not trusted"
    if isinstance(error, ssl.SSLError):
        return "the TLS handshake failed"
    number = error.errno if isinstance(error, OSError) else None
    return os.strerror(number) if number else type(error).__name__
