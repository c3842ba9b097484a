"""If these fail, an agent loses its identity, or leaves its key lying about."""

import os
import secrets
import stat
import subprocess
import sys

import pytest

from client_gate import authority_at, server_context, serving, until
from portcullis import client
from portcullis.core.errors import Problem
from portcullis.wire.certificates import pem

pytestmark = pytest.mark.anyio


async def test_a_join_token_makes_an_identity_whose_key_is_its_own(gate, join_token):
    async with client.enrolled(gate.plain, gate=gate.url, join_token=join_token) as identity:
        assert str(identity.current.id) == "spiffe://example.test/agent/shop-1"
        assert join_token not in repr(identity.current)
        assert "PRIVATE" not in repr(identity.current)


async def test_a_used_join_token_is_refused_with_the_gates_own_code(gate, join_token):
    async with client.enrolled(gate.plain, gate=gate.url, join_token=join_token):
        pass
    with pytest.raises(Problem, match="PC2061"):
        async with client.enrolled(gate.plain, gate=gate.url, join_token=join_token):
            pass


async def test_an_identity_is_renewed_at_half_life_with_a_new_key(gate, join_token):
    gate.svid_ttl = 2
    async with client.enrolled(gate.plain, gate=gate.url, join_token=join_token) as identity:
        first = identity.current
        await until(lambda: identity.current is not first)
        assert identity.current.serial != first.serial
        assert identity.current.key != first.key
        assert gate.enrolments == ["join", "renewal"]


async def test_a_renewal_that_fails_is_tried_again_before_the_svid_expires(gate, join_token):
    gate.svid_ttl = 4
    async with client.enrolled(gate.plain, gate=gate.url, join_token=join_token) as identity:
        first = identity.current
        gate.faulty = True
        await until(lambda: identity.failure is not None)
        assert identity.current is first
        gate.faulty = False
        await until(lambda: identity.current is not first)
        assert identity.failure is None


async def test_an_expired_identity_says_why_it_was_not_renewed(gate, join_token):
    gate.svid_ttl = 2
    async with client.enrolled(gate.plain, gate=gate.url, join_token=join_token) as identity:
        gate.cut = True
        await until(lambda: identity._svid.expires_at < identity._clock.now())
        with pytest.raises(Problem, match="PC4001"):
            _ = identity.current


async def test_new_authorities_are_learnt_before_the_old_ones_go(gate, join_token):
    gate.svid_ttl = 8
    async with client.enrolled(gate.plain, gate=gate.url, join_token=join_token) as identity:
        first = identity.current
        gate.authority.rotate("root")
        await until(lambda: identity.current is not first)
        assert len(identity.current.roots) == 2
        assert identity.current.serial == first.serial
        assert gate.enrolments == ["join"]


async def test_nothing_is_written_unless_it_is_asked_for(gate, join_token, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    before = set(tmp_path.rglob("*"))
    async with client.enrolled(gate.plain, gate=gate.url, join_token=join_token) as identity:
        access = client.Gate(gate.url, identity)
        await access.ready()
        assert set(tmp_path.rglob("*")) == before


async def test_a_saved_identity_serves_the_next_start_and_is_for_its_owner_alone(
    gate, join_token, tmp_path
):
    kept = tmp_path / "kept"
    how = {"gate": gate.url, "join_token": join_token, "save": kept}
    async with client.enrolled(gate.plain, **how):
        pass
    assert stat.S_IMODE(kept.stat().st_mode) == 0o700
    assert {p.name: stat.S_IMODE(p.stat().st_mode) for p in kept.iterdir()} == {
        "svid.pem": 0o600,
        "bundle.pem": 0o600,
    }
    async with client.enrolled(gate.plain, **how) as identity:
        assert gate.enrolments == ["join", "renewal"]
        first = identity.current
    text = (kept / "svid.pem").read_text()
    assert first.key.decode() in text


async def test_a_saved_identity_that_was_revoked_gives_way_to_a_new_join_token(
    gate, join_token, tmp_path
):
    kept = tmp_path / "kept"
    async with client.enrolled(gate.plain, gate=gate.url, join_token=join_token, save=kept):
        pass
    fresh = secrets.token_urlsafe(32)
    gate.join_tokens.add(fresh)
    issue, refused = gate.svid, []

    async def renewals_refused(request):
        if gate.peer(request)[0] is not None:
            refused.append(request)
            raise Problem("PC4001", "outdated")
        return await issue(request)

    gate.svid = renewals_refused
    async with client.enrolled(gate.plain, gate=gate.url, join_token=fresh, save=kept) as identity:
        assert refused
        assert identity.current.id.path == "/agent/shop-1"


async def test_a_damaged_save_is_refused_rather_than_taken(gate, join_token, tmp_path):
    kept = tmp_path / "kept"
    async with client.enrolled(gate.plain, gate=gate.url, join_token=join_token, save=kept):
        pass
    (kept / "svid.pem").write_text("rubbish")
    with pytest.raises(Problem, match="PC7010"):
        async with client.enrolled(gate.plain, gate=gate.url, join_token=join_token, save=kept):
            pass


async def test_a_join_token_never_goes_to_a_plain_address_elsewhere():
    with pytest.raises(Problem, match="PC7004"):
        client.enrolled(
            "http://gate.example", gate="https://gate.example", join_token=secrets.token_hex()
        )


async def test_a_join_token_never_goes_to_a_gate_that_nothing_vouches_for(gate):
    with pytest.raises(Problem, match="PC7004"):
        client.enrolled(gate.url, gate=gate.url, join_token=secrets.token_hex())


async def test_enrolment_over_tls_trusts_the_given_authorities_alone(
    gate, join_token, authority, tmp_path
):
    good, bad = tmp_path / "good.pem", tmp_path / "bad.pem"
    good.write_text(pem(authority.bundle().x509))
    bad.write_text(pem(authority_at(tmp_path / "other").bundle().x509))
    async with serving(gate.handle, server_context(authority, mtls=False)) as bootstrap:
        with pytest.raises(Problem, match="PC7012"):
            async with client.enrolled(bootstrap, gate=gate.url, join_token=join_token, ca=bad):
                pass
        assert gate.requests == []
        async with client.enrolled(bootstrap, gate=gate.url, join_token=join_token, ca=good):
            assert gate.enrolments == ["join"]


def test_importing_the_client_does_not_load_the_gates_libraries():
    heavy = "{'fastapi', 'sqlalchemy', 'regorus', 'uvicorn', 'grpc', 'pydantic'}"
    code = f"import sys, portcullis.client; print(sorted({heavy} & set(sys.modules)))"
    found = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=os.environ
    )
    assert found.stdout.strip() == "[]"
