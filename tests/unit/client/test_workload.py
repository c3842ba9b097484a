"""If these fail, an agent on the SPIFFE Workload API misses a rotation, or becomes another."""

import asyncio

import grpc
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
)

from client_gate import until
from portcullis import client
from portcullis.client import workload_api as module
from portcullis.client.svid import split
from portcullis.core.errors import Problem
from portcullis.core.spiffe import SpiffeId
from portcullis.wire.spiffe import workload_pb2 as api

pytestmark = pytest.mark.anyio


class Server:
    """The Workload API: pushes what it is told to."""

    def __init__(self, authority):
        self.authority = authority
        self.pushes = asyncio.Queue()
        self.metadata = []
        self.audiences = []
        self.calls = 0

    def svid(self, path="/agent/shop-1"):
        key = ec.generate_private_key(ec.SECP256R1())
        issued = self.authority.issue(SpiffeId("example.test", path), key.public_key())
        return api.X509SVID(
            spiffe_id=str(issued.id),
            x509_svid=b"".join(issued.chain),
            x509_svid_key=key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption()),
            bundle=b"".join(self.authority.bundle().x509),
        )

    async def fetch(self, request, context):
        self.calls += 1
        self.metadata.append(dict(context.invocation_metadata()))
        while True:
            pushed = await self.pushes.get()
            if isinstance(pushed, grpc.StatusCode):
                await context.abort(pushed, "as told")
            yield api.X509SVIDResponse(svids=pushed)

    async def jwt(self, request, context):
        self.audiences += request.audience
        token = self.authority.sign_jwt(SpiffeId("example.test", "/agent/shop-1"), request.audience)
        return api.JWTSVIDResponse(svids=[api.JWTSVID(spiffe_id=str(token.id), svid=token.token)])


@pytest.fixture
async def socket(tmp_path):
    return tmp_path / "workload.sock"


@pytest.fixture
async def server(authority, socket):
    served = Server(authority)
    handlers = {
        "FetchX509SVID": grpc.unary_stream_rpc_method_handler(
            served.fetch, api.X509SVIDRequest.FromString, api.X509SVIDResponse.SerializeToString
        ),
        "FetchJWTSVID": grpc.unary_unary_rpc_method_handler(
            served.jwt, api.JWTSVIDRequest.FromString, api.JWTSVIDResponse.SerializeToString
        ),
    }
    grpc_server = grpc.aio.server()
    grpc_server.add_generic_rpc_handlers(
        (grpc.method_handlers_generic_handler("SpiffeWorkloadAPI", handlers),)
    )
    grpc_server.add_insecure_port(f"unix:{socket}")
    await grpc_server.start()
    yield served
    await grpc_server.stop(0)


async def test_what_is_pushed_takes_effect_at_once(server, socket):
    server.pushes.put_nowait([server.svid()])
    async with client.workload(socket) as identity:
        first = identity.current
        assert first.id.path == "/agent/shop-1"
        assert server.metadata == [server.metadata[0] | {"workload.spiffe.io": "true"}]
        server.pushes.put_nowait([server.svid()])
        await until(lambda: identity.current is not first)
        server.authority.rotate("root")
        server.pushes.put_nowait([server.svid()])
        await until(lambda: len(identity.current.roots) == 2)


async def test_the_identity_that_was_asked_for_is_taken(server, socket):
    both = [server.svid("/agent/other"), server.svid("/agent/shop-1")]
    server.pushes.put_nowait(both)
    async with client.workload(socket, spiffe_id="/agent/shop-1") as identity:
        assert identity.current.id.path == "/agent/shop-1"


async def test_an_identity_that_is_not_given_is_not_replaced_by_another(server, socket):
    server.pushes.put_nowait([server.svid("/agent/other")])
    with pytest.raises(Problem, match="PC2060"):
        async with client.workload(socket, spiffe_id="spiffe://example.test/agent/shop-1"):
            pass


async def test_a_process_without_an_entry_is_told_so(server, socket):
    server.pushes.put_nowait(grpc.StatusCode.PERMISSION_DENIED)
    with pytest.raises(Problem, match="PC2060"):
        async with client.workload(socket):
            pass


async def test_a_stream_that_breaks_is_opened_anew(server, socket):
    server.pushes.put_nowait([server.svid()])
    async with client.workload(socket) as identity:
        first = identity.current
        server.pushes.put_nowait(grpc.StatusCode.UNAVAILABLE)
        await until(lambda: identity.failure is not None)
        server.pushes.put_nowait([server.svid()])
        await until(lambda: identity.current is not first)
        assert server.calls == 2


async def test_a_socket_that_nobody_serves_is_a_clear_error(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "_FIRST_SECONDS", 0.5)
    with pytest.raises(Problem, match="PC7011"):
        async with client.workload(tmp_path / "nobody.sock"):
            pass


async def test_a_key_of_another_certificate_is_refused(server, socket):
    mixed, other = server.svid(), server.svid()
    mixed.x509_svid_key = other.x509_svid_key
    server.pushes.put_nowait([mixed])
    with pytest.raises(Problem, match="PC2031"):
        async with client.workload(socket):
            pass


async def test_each_assertion_is_a_new_jwt_svid(server, socket):
    server.pushes.put_nowait([server.svid()])
    async with client.workload(socket) as identity:
        audience = "spiffe://example.test/gateway/gate"
        tokens = {await identity.assertion(audience) for _ in range(2)}
        elsewhere = asyncio.to_thread(lambda: asyncio.run(identity.assertion(audience)))
        tokens.add(await elsewhere)
    assert len(tokens) == 3
    assert set(server.audiences) == {audience}


@pytest.mark.parametrize("junk", [b"\x31\x00", b"\x30", b"\x30\x82\x01", b"\x30\x85" + b"\1" * 9])
def test_what_is_not_certificates_is_refused(junk):
    with pytest.raises(Problem, match="PC2023"):
        split(junk)
