"""Asking authorization servers: documents and forms, bounded, over TLS or loopback."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Final
from urllib.parse import urlencode

from portcullis.config import Limits
from portcullis.config.common import guarded
from portcullis.core.errors import Problem
from portcullis.core.ports import UpstreamRequest
from portcullis.execution.endpoint import Addresses
from portcullis.execution.pool import Pool
from portcullis.execution.request import RequestWriter, field
from portcullis.execution.response import HttpResponse
from portcullis.execution.tls import Tls

MAX_BYTES: Final = 2**18
SECONDS: Final = 10.0
_MOST: Final = 64
"""How many addresses connections are kept to: a few for each upstream."""


class Web:
    """``get`` returns a document, ``post`` what a form was answered with.

    An answer has at most ``MAX_BYTES``, is whole within ``SECONDS``, neither compressed nor a
    redirect. Raises Problem PC5082 for anything else, and for an address on the way to which
    others could read along. No detail holds what was sent.
    """

    def __init__(self, tls: Tls) -> None:
        self._tls = tls
        self._limits = Limits(
            result_bytes=MAX_BYTES, connect_seconds=SECONDS, request_seconds=SECONDS
        )
        self._pools: dict[str, tuple[Pool, RequestWriter]] = {}

    async def get(self, url: str) -> bytes:
        """The document that is there. Problem PC5082 for any status but 200."""
        status, body = await self._send("GET", url, b"", "")
        if status != 200:  # noqa: PLR2004 - RFC 9110 section 15.3.1
            raise Problem("PC5082", f"{_shown(url)} answered with status {status}")
        return body

    async def post(
        self, url: str, form: Mapping[str, str], authorization: str = ""
    ) -> tuple[int, bytes]:
        """The status and body that a form is answered with; ``authorization`` is that header."""
        line = field("Authorization", authorization) if authorization else ""
        return await self._send("POST", url, urlencode(form).encode(), line)

    def close(self) -> None:
        """Close all connections."""
        for pool, _ in self._pools.values():
            pool.close()

    async def _send(self, method: str, url: str, body: bytes, line: str) -> tuple[int, bytes]:
        headers: tuple[tuple[str, str], ...] = (("accept", "application/json"),)
        if body:
            headers += (("content-type", "application/x-www-form-urlencoded"),)
        request = UpstreamRequest(upstream="", method=method, path="", headers=headers, body=body)
        try:
            pool, writer = self._to(url)
            async with asyncio.timeout(SECONDS):
                return await self._asked(pool, writer.write(request, line))
        except TimeoutError:
            detail = f"{_shown(url)} gave no whole answer within {SECONDS:g} s"
            raise Problem("PC5082", detail) from None
        except Problem as problem:
            raise Problem("PC5082", f"{_shown(url)}: {problem.detail}") from None

    async def _asked(self, pool: Pool, data: bytes) -> tuple[int, bytes]:
        connection = pool.take() or await pool.connect()
        try:
            answer = await connection.ask(data, seconds=SECONDS, limit=MAX_BYTES)
            response = HttpResponse(
                connection, answer, credential=None, limits=self._limits, done=pool.give
            )
        except BaseException:
            connection.abort()
            pool.give(connection)
            raise
        return response.status, await response.read()

    def _to(self, url: str) -> tuple[Pool, RequestWriter]:
        found = self._pools.get(url)
        if found is None:
            try:
                addresses = Addresses("the authorization server", guarded(url))
            except ValueError:
                raise Problem("PC5082", "it is neither https nor loopback") from None
            if len(self._pools) >= _MOST:
                oldest, _ = self._pools.pop(next(iter(self._pools)))
                oldest.close()
            pool = Pool(addresses, tls=self._tls, connect_seconds=SECONDS)
            found = self._pools[url] = pool, RequestWriter(addresses)
        return found


def _shown(url: str) -> str:
    """An address as it may stand in an error: without its query."""
    return url.partition("?")[0][:256]
