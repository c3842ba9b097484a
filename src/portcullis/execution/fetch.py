"""An https address that the gate itself asks: for a bundle, a key set, a review."""

from __future__ import annotations

import asyncio
from typing import Final

from portcullis.config import Limits
from portcullis.core.errors import Problem
from portcullis.core.ports import SecretSource, UpstreamRequest
from portcullis.execution.endpoint import Endpoint
from portcullis.execution.http import HttpForwarder
from portcullis.execution.secrets import Secrets
from portcullis.execution.tls import Tls

MAX_BYTES: Final = 2**20
SECONDS: Final = 10.0


class Fetcher:
    """Asks ``url``, verified by ``tls``, with the credential (a bearer token) that it is given.

    An answer is of the class 2xx, has at most ``limit`` bytes, is whole within ``seconds``, and
    is neither compressed nor a redirect. ``get`` and ``post`` (of JSON) return its body; anything
    else is a Problem of the range PC5. Raises Problem PC7001 for a ``url`` that is not https.
    """

    def __init__(
        self,
        url: str,
        *,
        tls: Tls,
        secrets: SecretSource | None = None,
        credential: str | None = None,
        limit: int = MAX_BYTES,
        seconds: float = SECONDS,
    ) -> None:
        if not url.startswith("https://"):
            raise Problem("PC7001", "what the gate trusts is fetched over https only")
        self._seconds = seconds
        self._forwarder = HttpForwarder(
            {"it": Endpoint(url=url, credential=credential)},
            secrets=secrets or Secrets({}),
            limits=Limits(result_bytes=limit, connect_seconds=seconds, request_seconds=seconds),
            tls=lambda _: tls,
        )

    async def get(self) -> bytes:
        """Return what is there now."""
        return await self._send("GET", b"")

    async def post(self, body: bytes) -> bytes:
        """Return the answer to a JSON document."""
        return await self._send("POST", body)

    async def close(self) -> None:
        """Close its connections."""
        await self._forwarder.close()

    async def _send(self, method: str, body: bytes) -> bytes:
        headers: tuple[tuple[str, str], ...] = (("accept", "application/json"),)
        if body:
            headers += (("content-type", "application/json"),)
        request = UpstreamRequest(upstream="it", method=method, path="", headers=headers, body=body)
        try:
            async with asyncio.timeout(self._seconds):
                response = await self._forwarder.send(request)
                try:
                    if response.status // 100 != 2:  # noqa: PLR2004 - RFC 9110 section 15.3
                        raise Problem("PC5003", f"the answer has status {response.status}")
                    return await response.read()
                finally:
                    response.close()
        except TimeoutError:
            raise Problem("PC5002", f"no whole answer within {self._seconds:g} s") from None
