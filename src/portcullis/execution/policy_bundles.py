"""A server of policy bundles, as OPA asks one: with an ETag, and waiting for what is new."""

from __future__ import annotations

import asyncio
from typing import Final

from portcullis.config import Limits, PolicySource
from portcullis.core.errors import Problem
from portcullis.core.ports import SecretSource, UpstreamRequest
from portcullis.execution.endpoint import Endpoint
from portcullis.execution.http import HttpForwarder
from portcullis.execution.tls import WebTls
from portcullis.policy.bundles.archive import MAX_ARCHIVE, MEDIA_TYPE

_SECONDS: Final = 15.0
_OK: Final = 200
_UNCHANGED: Final = 304


class BundleServer:
    """Asks one server. Nothing that comes from it is verified here.

    ``next`` returns an archive, or None when there is none but the last: a server that knows how
    to wait took its time then. Raises Problem of the range PC5, PC7037 for a status that is
    neither. ``waits`` says whether the server took the preference to wait.
    """

    def __init__(self, settings: PolicySource, secrets: SecretSource) -> None:
        self._wait = settings.wait_seconds
        self._seconds = _SECONDS + self._wait
        self._etag = ""
        self.waits = False
        tls = WebTls(authorities=settings.ca)
        self._forwarder = HttpForwarder(
            {"it": Endpoint(url=settings.bundle, credential=settings.credential, svid=False)},
            secrets=secrets,
            limits=Limits(result_bytes=MAX_ARCHIVE, request_seconds=self._seconds),
            tls=lambda _: tls,
        )

    async def next(self) -> bytes | None:
        """See above."""
        headers: tuple[tuple[str, str], ...] = (("accept", f"{MEDIA_TYPE}, application/gzip, */*"),)
        preferred = "modes=snapshot"
        if self._etag:
            headers += (("if-none-match", self._etag),)
            preferred += f";wait={self._wait}" if self._wait else ""
        headers += (("prefer", preferred),)
        request = UpstreamRequest(upstream="it", method="GET", path="", headers=headers, body=b"")
        try:
            async with asyncio.timeout(self._seconds):
                return await self._asked(request)
        except TimeoutError:
            raise Problem("PC5002", f"no whole bundle within {self._seconds:g} s") from None

    async def _asked(self, request: UpstreamRequest) -> bytes | None:
        response = await self._forwarder.send(request)
        try:
            if response.status == _UNCHANGED and self._etag:
                return None
            if response.status != _OK:
                raise Problem("PC7037", f"the bundle server answered {response.status}")
            archive = await response.read()
            self.waits = response.headers.get("content-type", "") == MEDIA_TYPE
            self._etag = response.headers.get("etag", "")
            return archive
        finally:
            response.close()

    async def close(self) -> None:
        """Close its connections."""
        await self._forwarder.close()
