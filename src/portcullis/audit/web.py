"""Short HTTP requests from a thread: bounded in time and size, no redirect, no proxy, no cookie."""

from __future__ import annotations

import asyncio
import os
import ssl
from collections.abc import Mapping
from typing import Final

import aiohttp
import msgspec
from yarl import URL

from portcullis.core.errors import Problem

SECONDS: Final = 20.0
_CONNECT_SECONDS: Final = 10.0


class Answer(msgspec.Struct, frozen=True):
    """What came back. ``headers`` are looked up without regard to case."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class Web:
    """Asks from any thread without an event loop, each time over a connection of its own.

    ``code`` is that of the Problem for whatever goes wrong before there is a whole answer.
    """

    def __init__(self, code: str, *, seconds: float = SECONDS) -> None:
        self._code = code
        self._seconds = seconds

    def ask(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        body: bytes = b"",
        limit: int,
    ) -> Answer:
        """Send a request and return its answer, of any status, of at most ``limit`` bytes."""
        try:
            return asyncio.run(self._ask(method, url, headers or {}, body, limit))
        except TimeoutError:
            raise Problem(self._code, "no answer in time") from None
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise Problem(self._code, f"not reached: {_named(error)}") from None

    async def _ask(
        self, method: str, url: str, headers: Mapping[str, str], body: bytes, limit: int
    ) -> Answer:
        async with (
            aiohttp.ClientSession(
                timeout=aiohttp.ClientTimeout(total=self._seconds, sock_connect=_CONNECT_SECONDS),
                auto_decompress=False,
                cookie_jar=aiohttp.DummyCookieJar(),
                headers={"user-agent": "portcullis", "accept-encoding": "identity"},
            ) as session,
            session.request(
                method,
                URL(url, encoded=True),
                data=body or None,
                headers=headers,
                allow_redirects=False,
            ) as answer,
        ):
            found = bytearray()
            async for piece in answer.content.iter_any():
                found += piece
                if len(found) > limit:
                    raise Problem(self._code, f"the answer is longer than {limit} bytes")
            return Answer(answer.status, answer.headers, bytes(found))


def _named(error: Exception) -> str:
    """What kind of failure, without an address: its type, or the system's word for it."""
    if isinstance(error, aiohttp.ClientConnectorCertificateError | ssl.SSLError):
        return "its certificate is not trusted"
    if isinstance(error, OSError) and error.errno is not None and error.errno > 0:
        return os.strerror(error.errno)
    return type(error).__name__
