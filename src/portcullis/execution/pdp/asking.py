"""A question to another PDP: one POST of JSON, within its deadline, and a strict reading."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any, Final

from portcullis.config import Limits
from portcullis.core.errors import Problem
from portcullis.core.ports import SecretSource, UpstreamRequest
from portcullis.execution.endpoint import Endpoint
from portcullis.execution.http import HttpForwarder
from portcullis.execution.tls import WebTls
from portcullis.wire.json import decode

_MAX: Final = 65_536
_OK: Final = 200


class Asking:
    """Asks ``url``, with a bearer token where ``credential`` names one.

    An answer is a 200 with JSON of at most 64 KiB, whole within ``seconds``; whatever else comes is
    Problem PC3037, whose detail tells nothing of it. ``authorities`` is a file (PEM) of those by
    whom its certificate is vouched for, in place of the system's. ``who`` is its name in errors.
    """

    def __init__(
        self,
        who: str,
        url: str,
        *,
        secrets: SecretSource,
        credential: str | None,
        authorities: Path | None,
        seconds: float,
    ) -> None:
        self._who = who
        self._seconds = seconds
        tls = WebTls(authorities=authorities)
        self._forwarder = HttpForwarder(
            {who: Endpoint(url=url, credential=credential, svid=False)},
            secrets=secrets,
            limits=Limits(result_bytes=_MAX, connect_seconds=seconds, request_seconds=seconds),
            tls=lambda _: tls,
        )

    async def post(self, body: bytes) -> Any:
        """The answer to a JSON document."""
        request = UpstreamRequest(
            upstream=self._who,
            method="POST",
            path="",
            headers=(("accept", "application/json"), ("content-type", "application/json")),
            body=body,
        )
        try:
            async with asyncio.timeout(self._seconds):
                response = await self._forwarder.send(request)
                try:
                    if response.status != _OK:
                        raise self.wrong(f"answers with status {response.status}")
                    return decode(await response.read())
                finally:
                    response.close()
        except TimeoutError:
            raise self.wrong(f"does not answer within {self._seconds:g} s") from None
        except Problem as problem:
            if problem.code == "PC3037":
                raise
            raise self.wrong(f"cannot be asked ({problem.code})") from None

    def wrong(self, how: str) -> Problem:
        """No answer is a denial: Problem PC3037."""
        return Problem("PC3037", f"the PDP {self._who} {how}")

    async def close(self) -> None:
        """Close its connections."""
        await self._forwarder.close()
