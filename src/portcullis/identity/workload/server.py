"""The Workload API as gRPC on a Unix socket: the security header, bounds, errors, start and stop.

The gRPC server runs on the caller's loop, beside everything else; what blocks (attestation, the
store, signing) runs on a few threads of its own, so that a caller whose executable lies on a file
system that hangs holds up nobody but other callers of this API.
"""

from __future__ import annotations

import asyncio
import contextlib
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from concurrent.futures import Executor, ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final, NoReturn

import grpc
import structlog
from google.protobuf.message import Message
from grpc.aio import ServicerContext

from portcullis.config.identity import Identity as Settings
from portcullis.core.errors import Problem
from portcullis.core.ports import Clock, Directory, KillFeed, Registrations
from portcullis.identity.attest.unix import Process
from portcullis.identity.authority import Authority
from portcullis.identity.records import IdentityRecords
from portcullis.identity.trust import Trust
from portcullis.identity.workload.bounds import Bounds, Rates
from portcullis.identity.workload.changes import Changes
from portcullis.identity.workload.door import Door
from portcullis.identity.workload.identities import CutOff, Identities
from portcullis.identity.workload.service import Service
from portcullis.identity.workload.socket import listening
from portcullis.wire.spiffe import SERVICE, workload_pb2

log = structlog.get_logger(__name__)

HEADER: Final = ("workload.spiffe.io", "true")
"""What every request carries, so that no web page's request is taken for one (section 3)."""

_THREADS: Final = 4
_MAX_REQUEST: Final = 64 * 1024
_MAX_METADATA: Final = 8 * 1024
_STATUS: Final = {
    "PC2060": grpc.StatusCode.PERMISSION_DENIED,
    "PC4001": grpc.StatusCode.PERMISSION_DENIED,
    "PC4002": grpc.StatusCode.UNAVAILABLE,
    "PC5006": grpc.StatusCode.RESOURCE_EXHAUSTED,
    "PC5025": grpc.StatusCode.RESOURCE_EXHAUSTED,
    "PC6001": grpc.StatusCode.UNAVAILABLE,
    "PC7008": grpc.StatusCode.UNAVAILABLE,
    "PC9002": grpc.StatusCode.UNAVAILABLE,
}
"""All others say that the request is wrong: INVALID_ARGUMENT, which clients do not repeat."""


@contextlib.asynccontextmanager
async def serving(
    path: Path,
    *,
    authority: Authority,
    trust: Trust,
    registrations: Registrations,
    directory: Directory,
    feed: KillFeed,
    records: IdentityRecords,
    clock: Clock,
    settings: Settings,
    skew: float,
    bounds: Bounds = Bounds(),  # noqa: B008 - frozen
) -> AsyncIterator[None]:
    """Serve the Workload API at ``path`` until the block ends; then cut all connections.

    ``skew`` is how far another's clock may be ahead of ours, in seconds. Raises Problem PC7001
    when the socket cannot be opened.
    """
    changes = Changes()
    authority.subscribe(changes.ring)
    trust.subscribe(changes.ring)
    feed.subscribe(changes.ring)
    with _workers() as workers, tempfile.TemporaryDirectory(prefix="portcullis-") as folder:
        identities = Identities(
            authority.trust_domain,
            registrations,
            directory,
            feed,
            clock,
            workers,
            bounds.attest_seconds,
        )
        service = Service(
            authority=authority,
            trust=trust,
            identities=identities,
            records=records,
            clock=clock,
            changes=changes,
            workers=workers,
            settings=settings,
            skew=skew,
        )
        rates = Rates(bounds, clock)

        def turned_away(uid: int, pid: int, problem: Problem) -> None:
            if rates.tell(uid):
                records.refused("workload.connect", problem, source=f"uid:{uid} pid:{pid}")

        private = Path(folder, "grpc")
        door = Door(private, bounds, turned_away)
        calls = _Calls(service, door, rates, records)
        server = grpc.aio.server(options=_options(bounds))
        server.add_generic_rpc_handlers((calls.handler(),))
        server.add_insecure_port(f"unix:{private}")
        with listening(path) as public:
            await server.start()
            watching = asyncio.create_task(_watch(identities, changes, workers, bounds))
            try:
                async with door.open(public):
                    yield
            finally:
                watching.cancel()
                await server.stop(grace=None)


class _Calls:
    """Between gRPC and the service: who calls, may he, and what he is told when not."""

    def __init__(
        self, service: Service, door: Door, rates: Rates, records: IdentityRecords
    ) -> None:
        self._service = service
        self._door = door
        self._rates = rates
        self._records = records

    def handler(self) -> grpc.GenericRpcHandler:
        """The methods by their names on the wire."""
        service, wire = self._service, workload_pb2
        return grpc.method_handlers_generic_handler(
            SERVICE,
            {
                "FetchX509SVID": self._stream(
                    "svid.issue", wire.X509SVIDRequest, service.fetch_x509_svid
                ),
                "FetchX509Bundles": self._stream(
                    "bundle.fetch", wire.X509BundlesRequest, service.fetch_x509_bundles
                ),
                "FetchJWTSVID": self._unary(
                    "jwt_svid.issue", wire.JWTSVIDRequest, service.fetch_jwt_svid
                ),
                "FetchJWTBundles": self._stream(
                    "bundle.fetch", wire.JWTBundlesRequest, service.fetch_jwt_bundles
                ),
                "ValidateJWTSVID": self._unary(
                    "jwt_svid.validate", wire.ValidateJWTSVIDRequest, service.validate_jwt_svid
                ),
            },
        )

    def _unary(
        self,
        event: str,
        request_type: type[Message],
        method: Callable[[Any, Process], Awaitable[Message]],
    ) -> grpc.RpcMethodHandler[Any, Any]:
        async def handle(request: Any, context: ServicerContext[Any, Any]) -> Message:
            try:
                return await method(request, self._admitted(context))
            except Exception as error:  # noqa: BLE001 - whatever it is, the caller gets nothing
                await self._abort(context, event, error)

        return grpc.unary_unary_rpc_method_handler(
            handle, request_type.FromString, lambda message: message.SerializeToString()
        )

    def _stream(
        self,
        event: str,
        request_type: type[Message],
        method: Callable[[Any, Process], AsyncIterator[Message]],
    ) -> grpc.RpcMethodHandler[Any, Any]:
        async def handle(
            request: Any, context: ServicerContext[Any, Any]
        ) -> AsyncIterator[Message]:
            try:
                async for message in method(request, self._admitted(context)):
                    yield message
            except Exception as error:  # noqa: BLE001 - the same
                await self._abort(context, event, error)

        return grpc.unary_stream_rpc_method_handler(
            handle, request_type.FromString, lambda message: message.SerializeToString()
        )

    def _admitted(self, context: ServicerContext[Any, Any]) -> Process:
        """The caller's process. Raises Problem PC2060, PC5025, PC1011 (no security header)."""
        caller = self._door.caller(context.peer())
        if not self._rates.take(caller.uid):
            raise Problem("PC5025", "too many calls of this user to the Workload API")
        if HEADER not in map(tuple, context.invocation_metadata() or ()):
            raise Problem(
                "PC1011",
                "the metadata lacks the security header",
                hint="Send the metadata workload.spiffe.io: true.",
            )
        return caller

    async def _abort(
        self, context: ServicerContext[Any, Any], event: str, error: Exception
    ) -> NoReturn:
        """Record the refusal, then answer with it."""
        if not isinstance(error, Problem):
            log.error("workload_call_failed", exc_info=error)
            error = Problem("PC9002", "the gate could not look this up")
        try:
            caller = self._door.caller(context.peer())
            source, silent = caller.source, error.code == "PC5025"
            silent = silent and not self._rates.tell(caller.uid)
        except Problem:
            source, silent = "unix", False
        if not silent:
            record = error.record if isinstance(error, CutOff) else None
            error = self._records.refused(
                event,
                error,
                source=source,
                kind=record.kind.value if record else "",
                principal=record.id if record else "",
            )
        status = _STATUS.get(error.code, grpc.StatusCode.INVALID_ARGUMENT)
        await context.abort(status, f"{error.code}: {error.detail}. {error.hint}")


async def _watch(
    identities: Identities, changes: Changes, workers: Executor, bounds: Bounds
) -> None:
    """Ring when the registration entries have changed, or cannot be read: then streams end."""
    seen: int | None = None
    while True:
        try:
            version = await asyncio.get_running_loop().run_in_executor(workers, identities.version)
        except Exception:
            log.exception("workload_entries_unreadable")
            changes.ring()
        else:
            if version != seen:
                changes.ring()
            seen = version
        await asyncio.sleep(bounds.poll_seconds)


@contextlib.contextmanager
def _workers() -> Iterator[Executor]:
    """Threads for what blocks. One that hangs does not hold up the end."""
    workers = ThreadPoolExecutor(_THREADS, thread_name_prefix="workload")
    try:
        yield workers
    finally:
        workers.shutdown(wait=False, cancel_futures=True)


def _options(bounds: Bounds) -> list[tuple[str, int]]:
    """Channel arguments of gRPC; times in milliseconds."""
    return [
        ("grpc.max_receive_message_length", _MAX_REQUEST),
        ("grpc.max_metadata_size", _MAX_METADATA),
        ("grpc.max_concurrent_streams", bounds.streams_per_connection),
        ("grpc.max_connection_idle_ms", round(bounds.idle_seconds * 1000)),
        ("grpc.server_handshake_timeout_ms", round(bounds.handshake_seconds * 1000)),
        ("grpc.keepalive_time_ms", round(bounds.keepalive_seconds * 1000)),
        ("grpc.keepalive_timeout_ms", round(bounds.keepalive_seconds * 1000)),
        ("grpc.http2.ping_timeout_ms", round(bounds.keepalive_seconds * 1000)),
        ("grpc.keepalive_permit_without_calls", 1),
    ]
