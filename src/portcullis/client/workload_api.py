"""An identity from the SPIFFE Workload API: SVIDs as they are pushed over its Unix socket."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Final

import grpc
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_der_private_key,
)

from portcullis.client.identity import Identity, SystemClock
from portcullis.client.svid import Svid, split, svid
from portcullis.core.errors import Problem
from portcullis.core.ports import Clock
from portcullis.core.spiffe import parse
from portcullis.wire.spiffe import workload_pb2 as api

_SERVICE: Final = "/SpiffeWorkloadAPI/"
_METADATA: Final = (("workload.spiffe.io", "true"),)
_FIRST_SECONDS: Final = 10.0


class Workload(Identity):
    """The identity that the Workload API at ``socket`` gives this process.

    When it gives several, the one of ``spiffe_id`` (all of it, or its path), or the first. What
    is pushed takes effect at once; a stream that breaks is opened anew (SPIFFE Workload API
    section 6.1).
    """

    def __init__(self, socket: Path, *, spiffe_id: str = "", clock: Clock | None = None) -> None:
        super().__init__(clock or SystemClock())
        self._socket = socket
        self._wanted = spiffe_id
        self._channel: grpc.aio.Channel | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stream: AsyncIterator[Any] | None = None

    async def begin(self) -> Svid:
        """The first SVID. Raises Problem PC2060 (none for this process) or PC7011."""
        self._loop = asyncio.get_running_loop()
        self._channel = grpc.aio.insecure_channel(f"unix:{self._socket.absolute()}")
        try:
            return await asyncio.wait_for(self._next(), _FIRST_SECONDS)
        except TimeoutError:
            raise Problem("PC7011", "the Workload API does not answer") from None

    async def follow(self, held: Svid) -> Svid:
        """The next SVID that is pushed."""
        del held
        return await self._next()

    async def assertion(self, audience: str) -> str:
        """A fresh JWT-SVID for ``audience``, on any event loop. Raises Problem PC2060 or PC7011."""
        if self._loop not in {None, asyncio.get_running_loop()}:  # a channel has but one
            there = asyncio.run_coroutine_threadsafe(self.assertion(audience), self._loop)
            return await asyncio.wrap_future(there)
        fetch = self._open().unary_unary(
            _SERVICE + "FetchJWTSVID",
            request_serializer=api.JWTSVIDRequest.SerializeToString,
            response_deserializer=api.JWTSVIDResponse.FromString,
        )
        request = api.JWTSVIDRequest(audience=[audience], spiffe_id=str(self.current.id))
        try:
            answer = await fetch(request, metadata=_METADATA, timeout=_FIRST_SECONDS)
        except grpc.aio.AioRpcError as error:
            raise _problem(error) from None
        if not answer.svids:
            raise Problem("PC2060", "the Workload API gives this process no JWT-SVID")
        return str(answer.svids[0].svid)

    async def close(self) -> None:
        """Close the channel."""
        if self._channel is not None:
            await self._channel.close()

    def _open(self) -> grpc.aio.Channel:
        if self._channel is None:
            raise Problem("PC7011", "the Workload API is not open")
        return self._channel

    async def _next(self) -> Svid:
        if self._stream is None:
            fetch = self._open().unary_stream(
                _SERVICE + "FetchX509SVID",
                request_serializer=api.X509SVIDRequest.SerializeToString,
                response_deserializer=api.X509SVIDResponse.FromString,
            )
            self._stream = aiter(fetch(api.X509SVIDRequest(), metadata=_METADATA))
        try:
            return self._chosen(await anext(self._stream))
        except grpc.aio.AioRpcError as error:
            self._stream = None
            raise _problem(error) from None
        except StopAsyncIteration:
            self._stream = None
            raise Problem("PC7011", "the Workload API ended its stream") from None

    def _chosen(self, answer: Any) -> Svid:
        for each in answer.svids:
            if self._wanted in {"", each.spiffe_id, parse(each.spiffe_id).path}:
                return _read(each, self._clock.now())
        raise Problem("PC2060", "the Workload API does not give this process that identity")


def _read(found: Any, now: float) -> Svid:
    try:
        key = load_der_private_key(found.x509_svid_key, None)
    except (ValueError, TypeError):
        raise Problem("PC2023", "the Workload API's answer holds no key") from None
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    read = svid(split(found.x509_svid), pem, split(found.bundle), now)
    if str(read.id) != found.spiffe_id:
        raise Problem("PC2024", "the certificate is of another SPIFFE ID than was said")
    return read


def _problem(error: grpc.aio.AioRpcError) -> Problem:
    if error.code() is grpc.StatusCode.PERMISSION_DENIED:
        return Problem("PC2060", "the Workload API gives this process no identity")
    return Problem("PC7011", f"the Workload API: {error.code().name}")
