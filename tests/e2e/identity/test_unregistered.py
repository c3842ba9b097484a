"""If these fail, a certificate alone is enough, or a refusal does not say what was refused."""

import contextlib
import hashlib
import secrets
import ssl

import aiohttp
import pytest

import standins
from authorities import key_pem, leaf_key
from portcullis.core.principal import PrincipalKind
from portcullis.core.spiffe import ours
from portcullis.identity.bundle import encode
from portcullis.wire.certificates import load_identity, pem

pytestmark = pytest.mark.anyio
BODY = {"model": "gpt-standin", "messages": [{"role": "user", "content": "hello"}]}


@contextlib.asynccontextmanager
async def certified(stage, kind, name):
    """A client with a certificate of the trust domain, and its serial number."""
    authority, key = stage.gate.domain.authority, leaf_key()
    svid = authority.issue(ours(authority.trust_domain, kind, name), key.public_key())
    context = ssl.create_default_context(cadata=pem(authority.bundle().x509))
    load_identity(context, svid.chain, key_pem(key))
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=context)) as http:
        yield http, svid.serial


async def test_an_agent_that_policy_names_and_nobody_registered_gets_nothing(tmp_path):
    async with (
        standins.staged(tmp_path) as stage,
        certified(stage, PrincipalKind.AGENT, standins.AGENT) as (http, serial),
    ):
        url = f"{stage.gate.mtls_url}/openai/v1/chat/completions"
        async with http.post(url, json=BODY) as refused:
            assert (refused.status, (await refused.json())["error"]["code"]) == (403, "PC2007")
        await standins.eventually(
            stage, lambda e: (e.code, e.credential) == ("PC2007", f"svid:{serial}")
        )
        await stage.register(PrincipalKind.AGENT, standins.AGENT)
        async with http.post(url, json=BODY) as allowed:  # at once, on the same connection
            assert allowed.status == 200


async def test_an_application_that_nobody_registered_opens_no_session(tmp_path):
    async with standins.staged(tmp_path) as stage:
        await stage.register(PrincipalKind.AGENT, standins.AGENT)
        asked = {"agent": standins.AGENT, "user": "u", "prompt": "p", "subject": {}}
        async with (
            certified(stage, PrincipalKind.APPLICATION, "nobody") as (http, _),
            http.post(f"{stage.gate.mtls_url}/v1/sessions", json=asked) as refused,
        ):
            assert (refused.status, (await refused.json())["code"]) == (403, "PC2007")


async def test_the_record_of_a_refusal_names_what_was_shown(tmp_path):
    token = f"not-a-token-{secrets.token_hex(8)}"
    async with standins.staged(tmp_path) as stage, aiohttp.ClientSession() as http:
        headers = {"authorization": f"Bearer {token}"}
        for path, kind in (("/openai/v1/chat/completions", "llm"), ("/v1/sessions", "api")):
            async with http.post(stage.gate.gate_url + path, json=BODY, headers=headers) as refused:
                assert refused.status == 401, kind
        shown = "sha256:" + hashlib.sha256(token.encode()).hexdigest()
        for route in ("llm-json", "api"):
            await standins.eventually(
                stage, lambda e, route=route: (e.credential, e.route) == (shown, route)
            )


async def test_a_gate_starts_with_another_domains_bundle_in_its_configuration(tmp_path):
    other = tmp_path / "other"
    other.mkdir()
    async with standins.staged(other) as stage:
        bundle = encode(stage.gate.domain.authority.bundle())
    (tmp_path / "bundle.json").write_bytes(bundle)
    settings = {
        "trust_domain": "own.example",
        "identity": {"federation": {"demo.portcullis.example": {"file": "bundle.json"}}},
    }
    async with standins.staged(tmp_path, settings=settings) as stage:
        names = [each.trust_domain for each in stage.gate.domain.trust.bundles()]
        assert names == ["own.example", "demo.portcullis.example"]


async def test_the_gates_own_certificate_and_its_authoritys_changes_are_in_the_log(tmp_path):
    async with standins.staged(tmp_path) as stage:
        domain = stage.gate.domain
        first = domain.own.current()[0].serial
        await standins.eventually(
            stage, lambda e: (e.method, e.credential) == ("svid.issue", f"svid:{first}")
        )
        domain.own.renew()
        renewed = domain.own.current()[0].serial
        await standins.eventually(
            stage, lambda e: (e.method, e.credential) == ("svid.renew", f"svid:{renewed}")
        )
        domain.authority.rotate("root")
        sequence = domain.authority.state().sequence
        event = await standins.eventually(stage, lambda e: e.method == "authority.change")
        assert event.parameters["sequence"] == sequence
