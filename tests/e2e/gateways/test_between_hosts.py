"""The same where gateways reach each other over TCP alone. If these fail, what a gateway of another
host keeps is lost to its client, or somebody who is no gateway hands requests in."""

import asyncio
import itertools
import ssl

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from client_gate import authority_at
from e2e.gateways.several import SETTINGS, Several, several, until
from e2e.gateways.test_state import (
    anyio_backend,
    test_a_guard_call_is_reported_to_whichever_gateway_and_once,
    test_a_legacy_session_goes_on_whichever_gateway_a_request_reaches,
    test_a_process_stays_where_a_stateless_conversation_began,
    test_a_stream_that_passes_through_two_gateways_is_cut_in_both,
    token,
)
from portcullis.bootstrap import listening, relaying
from portcullis.core.spiffe import SpiffeId
from portcullis.gateway.relay_ways import PROTOCOL
from portcullis.wire import relay as wire
from portcullis.wire.certificates import load_identity, pem

__all__ = [
    "anyio_backend",
    "test_a_guard_call_is_reported_to_whichever_gateway_and_once",
    "test_a_legacy_session_goes_on_whichever_gateway_a_request_reaches",
    "test_a_process_stays_where_a_stateless_conversation_began",
    "test_a_stream_that_passes_through_two_gateways_is_cut_in_both",
    "token",
]
pytestmark = pytest.mark.anyio


@pytest.fixture(scope="module")
async def gates(tmp_path_factory, anyio_backend):
    """Gateways that find no socket of each other's: each looks in a folder of its own."""
    folder, numbers = tmp_path_factory.mktemp("between"), itertools.count()
    made, passed_on = Several(), relaying.relay_of

    class Known:
        """Learns of a gateway when it is asked to look."""

        def __init__(self):
            self.seen = {}

        def address(self, name):
            gate = self.seen.get(name)
            return None if gate is None else gate.urls["relay"]

        async def look(self):
            self.seen = dict(made.gates)

    def apart(_):
        place = folder / f"sockets-{next(numbers)}"
        place.mkdir()
        return place

    settings = SETTINGS | {"listen": LISTEN | {"relay": "[::1]:0"}}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(relaying, "_sockets", apart)
        patch.setattr(
            listening,
            "relay_of",
            lambda stack, parts, domain, _: passed_on(stack, parts, domain, Known()),
        )
        async with several(folder, "one", "two", "three", settings=settings, made=made) as gates:
            yield gates


LISTEN = {"gate": "127.0.0.1:0", "control": "127.0.0.1:0", "mtls": "127.0.0.1:0", "workload": None}


async def _handed_in(gates, path, *, shown=True, said=b"\0" * 40, of=None):
    """What comes back to somebody with this identity who speaks to a gateway's relay.

    ``of`` is another authority than the gates'.
    """
    authority = gates.stage.gate.domain.authority
    context = ssl.create_default_context(cadata=pem(authority.bundle().x509))
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    context.check_hostname = False
    context.set_alpn_protocols([PROTOCOL])
    if shown:
        authority = of or authority
        key = ec.generate_private_key(ec.SECP256R1())
        svid = authority.issue(SpiffeId(authority.trust_domain, path), key.public_key())
        secret = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        load_identity(context, svid.chain, secret)
    _, _, at = gates.gates["two"].urls["relay"].rpartition(":")
    async with asyncio.timeout(10):
        try:
            reader, writer = await asyncio.open_connection("::1", int(at), ssl=context)
            try:
                writer.write(wire.frame(wire.Kind.HEAD, said))
                return await reader.read()
            finally:
                writer.transport.abort()
        except (OSError, asyncio.IncompleteReadError):
            return b""


async def test_nobody_but_a_gateway_hands_requests_in(gates, tmp_path):
    assert await _handed_in(gates, "/agent/support-agent-prod-001") == b""
    assert await _handed_in(gates, "/gateway/other") == b""
    assert await _handed_in(gates, "", shown=False) == b""
    assert await _handed_in(gates, "/gateway/gate") == b"", "a gateway that makes no head either"
    domain = gates.stage.gate.domain.authority.trust_domain
    for name in (f"acme.{domain}", domain):  # another tenant's, and one that only says so
        other = authority_at(tmp_path / name, domain=name)
        assert await _handed_in(gates, "/gateway/gate", of=other) == b""

    def refused():
        return {
            (event.code, event.principal.rpartition("/")[2])
            for event in gates.events("two")
            if event.method in {"relay", "tls"} and event.code
        }

    wanted = {("PC7051", "support-agent-prod-001"), ("PC7051", "other"), ("PC2020", "")}
    wanted |= {("PC2021", "")}
    await until(lambda: refused() >= wanted)
    assert ("PC7051", "gate") not in refused()


async def test_what_answers_for_a_gateway_has_to_be_one(gates, token, monkeypatch):
    """Where another listener of ours answers: it has the gateways' SVID, and is no relay."""
    async with gates.http(token, "two") as http:
        asked = {"toolset": "program", "tool": TOOL, "arguments": {}}
        call = (await http.post("http://gates.example/v1/calls", json=asked)).json()["call"]
    urls = gates.gates["two"].urls
    monkeypatch.setitem(urls, "relay", urls["mtls"])
    async with gates.http(token, "one") as http:
        place = f"http://gates.example/v1/calls/{call}/result"
        answer = await http.post(place, json={"result": "x"})
        assert (answer.status_code, answer.json()["code"]) == (502, "PC7051")
        monkeypatch.undo()
        assert (await http.post(place, json={"result": "x"})).json() == {"result": "x"}


async def test_gateways_that_are_too_far_apart_say_so(gates, token, monkeypatch):
    async with gates.http(token, "two") as http:
        asked = {"toolset": "program", "tool": TOOL, "arguments": {}}
        call = (await http.post("http://gates.example/v1/calls", json=asked)).json()["call"]
    head = wire.Head
    place = f"http://gates.example/v1/calls/{call}/result"
    async with gates.http(token, "one") as http:
        for version, status, code in ((3, 503, "PC7087"), (2, 200, None)):
            with monkeypatch.context() as patch:
                patch.setattr(
                    "portcullis.gateway.relay.Head",
                    lambda version=version, **said: head(**said, format=version),
                )
                answer = await http.post(place, json={"result": "x"})
            assert (answer.status_code, answer.json().get("code")) == (status, code)


TOOL = {
    "name": "look",
    "description": "Looks.",
    "inputSchema": {"type": "object", "properties": {}},
}
