"""One POST to an address that the configuration names: no redirect, no proxy, bounded in time."""

from __future__ import annotations

import os
import socket
import ssl
from collections.abc import Mapping
from functools import partial
from typing import Final

import aiohttp
import msgspec
from aiohttp.abc import AbstractResolver, ResolveResult

from portcullis.core.notice_ports import Later, Never
from portcullis.execution.notify.threads import in_thread

SECONDS: Final = 15.0
_CONNECT_SECONDS: Final = 5.0
_ANSWER: Final = 64 * 1024
_ABOUT_US: Final = frozenset({401, 402, 403, 404, 405, 407, 408, 410, 421, 425, 426, 429})
"""Refusals that are not about the message: the address, the credential, the time."""


class Answer(msgspec.Struct, frozen=True):
    """What came back; ``after`` is Retry-After in seconds, 0 without one."""

    status: int
    body: bytes
    after: float = 0.0


class Web:
    """POSTs. ``tls`` is None for the system's authorities."""

    def __init__(self, tls: ssl.SSLContext | None, seconds: float = SECONDS) -> None:
        self._tls = tls
        self._seconds = seconds
        self._session: aiohttp.ClientSession | None = None

    async def post(self, url: str, body: bytes, headers: Mapping[str, str]) -> Answer:
        """Send; whatever the status. Raises Later when nothing whole comes back in time."""
        try:
            async with self._open().post(
                url, data=body, headers=headers, ssl=self._tls or True, allow_redirects=False
            ) as answer:
                after = answer.headers.get("retry-after", "")
                return Answer(
                    answer.status, await _whole(answer), float(after) if after.isdecimal() else 0.0
                )
        except aiohttp.ClientConnectorError as error:
            raise Later(f"not reached: {_named(error)}") from None
        except TimeoutError:
            raise Later("no answer in time", arrived=True) from None
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise Later(f"no answer: {_named(error)}", arrived=True) from None

    async def close(self) -> None:
        """Close its connections."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    def _open(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(
                    force_close=True,  # none dies idle between two
                    resolver=_Resolver(),
                ),
                timeout=aiohttp.ClientTimeout(total=self._seconds, sock_connect=_CONNECT_SECONDS),
                trust_env=False,
                auto_decompress=False,
                cookie_jar=aiohttp.DummyCookieJar(),
                headers={"user-agent": "portcullis", "accept-encoding": "identity"},
            )
        return self._session


class _Resolver(AbstractResolver):
    """The system's names, looked up where nobody else waits for it."""

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        """The addresses of a host. Raises OSError."""
        look = partial(socket.getaddrinfo, host, port, family, socket.SOCK_STREAM)
        return [
            ResolveResult(
                hostname=host,
                host=str(address[0]),
                port=port,
                family=kind,
                proto=proto,
                flags=socket.AI_NUMERICHOST,
            )
            for kind, _, proto, _, address in await in_thread(look)
        ]

    async def close(self) -> None:
        """Nothing is kept."""


def judge(answer: Answer) -> None:
    """Return for a success; else raise Later, or Never for what is about the message itself.

    A redirect is an address that is wrong, and is not followed. Of 5xx nobody knows what was done.
    """
    status = answer.status
    if 200 <= status < 300:  # noqa: PLR2004 - success (RFC 9110, 15.3)
        return
    said = f"the peer answered {status}"
    if 400 <= status < 500 and status not in _ABOUT_US:  # noqa: PLR2004 - client errors
        raise Never(said)
    raise Later(said, answer.after, arrived=status >= 500)  # noqa: PLR2004 - server errors


async def _whole(answer: aiohttp.ClientResponse) -> bytes:
    """An answer's body, in however many pieces it comes; what is too long is not read on."""
    body = b""
    async for piece in answer.content.iter_any():
        body += piece
        if len(body) >= _ANSWER:
            break
    return body


def _named(error: Exception) -> str:
    """What kind of failure: the system's words for it, else its type; no address."""
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        return "its certificate is not trusted"
    if isinstance(error, ssl.SSLError | aiohttp.ClientSSLError):
        return "the TLS handshake failed"
    number = error.errno if isinstance(error, OSError) else None
    return os.strerror(number) if number and number > 0 else type(error).__name__
