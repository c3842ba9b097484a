"""If these fail, an agent hands its credentials to somebody who is not the gate."""

import secrets
import ssl

import aiohttp
import httpx2
import pytest

from client_gate import authority_at, server_context, serving
from portcullis import client
from portcullis.client.aiohttp import session
from portcullis.client.httpx import Transport
from portcullis.client.tls import authorities, context, domain_of
from portcullis.core.errors import Problem
from portcullis.identity.bundle import encode
from portcullis.wire.certificates import pem

pytestmark = pytest.mark.anyio


@pytest.fixture
async def identity(gate, join_token):
    async with client.enrolled(gate.plain, gate=gate.url, join_token=join_token) as held:
        gate.requests.clear()
        yield held


IMPOSTORS = {
    "of another trust domain": {"domain": "evil.test"},
    "of another authority that claims our trust domain": {"domain": "example.test"},
    "an agent of ours with the gate's name": {"path": "/agent/shop-2"},
    "a certificate without our host name": {"names": ("elsewhere.example",)},
}


@pytest.mark.parametrize("case", IMPOSTORS.values(), ids=IMPOSTORS)
async def test_an_impostor_sees_no_request_and_no_credential(
    case, gate, identity, authority, tmp_path
):
    how = dict(case)
    domain = how.pop("domain", None)
    other = authority if domain is None else authority_at(tmp_path / "other", domain)
    tls = server_context(other, mtls=False, **how)
    delegation = "aaaa.bbbb." + secrets.token_hex()
    async with serving(gate.handle, tls) as url:
        access = client.Gate(url, identity)
        with pytest.raises(Problem, match="PC7012"):
            await access.ready()
        async with httpx2.AsyncClient(transport=Transport(access)) as http:
            with pytest.raises(httpx2.ConnectError, match="PC7012"):
                await http.get(f"{url}/echo", headers={"authorization": f"Bearer {delegation}"})
        async with session(access) as http:
            with pytest.raises(Problem, match="PC7012"):
                await http.get(f"{url}/echo")
    assert gate.requests == []


async def test_an_impostor_that_comes_later_gets_no_request_of_a_known_token(
    gate, identity, tmp_path
):
    """The token is at hand, so nothing but the connection itself can refuse."""
    access = client.Gate(gate.url, identity)
    link = access.link()
    await link.own()
    gate.requests.clear()
    tls = server_context(authority_at(tmp_path / "other", "evil.test"), mtls=False)
    async with serving(gate.handle, tls) as url:
        access.url = url
        async with httpx2.AsyncClient(transport=Transport(access)) as http:
            with pytest.raises(httpx2.ConnectError):
                await http.get(f"{url}/echo")
        async with session(access) as http:
            with pytest.raises(aiohttp.ClientConnectorError):
                await http.get(f"{url}/echo")
    assert gate.requests == []


async def test_older_tls_is_refused(gate, authority):
    tls = server_context(authority, mtls=False)
    tls.minimum_version = ssl.TLSVersion.TLSv1_2
    tls.maximum_version = ssl.TLSVersion.TLSv1_2
    ours = context("example.test", authority.bundle().x509)
    async with serving(gate.handle, tls) as url, aiohttp.ClientSession() as http:
        with pytest.raises(aiohttp.ClientConnectorError):
            await http.get(url, ssl=ours)


def test_authorities_come_as_pem_or_as_a_bundle_document(authority):
    bundle = authority.bundle()
    assert authorities(pem(bundle.x509)) == bundle.x509
    assert authorities(encode(bundle).decode()) == bundle.x509
    assert domain_of(bundle.x509) == "example.test"


@pytest.mark.parametrize("text", ["", "rubbish", "{", '{"keys": []}', '{"keys": [{"use": 1}]}'])
def test_no_authority_is_not_taken_for_any_authority(text):
    with pytest.raises(Problem, match="PC7009"):
        authorities(text)


def test_a_context_without_authorities_cannot_be_made():
    with pytest.raises(Problem, match="PC7009"):
        context("example.test", ())
