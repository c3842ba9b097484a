"""If these fail, somebody acts by a credential that is not his, or with more than he was given."""

import asyncio
import os
import sys
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import load_der_private_key

import standins
from domains import Domain
from e2e.matrix.cells import EVERY, LLM, MCP, NETWORK, TOOLS, cells
from e2e.matrix.deployment import LEAD, RIVAL
from e2e.matrix.ways import ALONE, JWT, Dpop, Way, certified, delegated, mortal, tried
from holders import Holder
from portcullis import client
from portcullis.core.errors import Problem
from portcullis.core.lifecycle import Verb
from portcullis.core.principal import PrincipalKind
from portcullis.identity.keys import issuer_key

pytestmark = pytest.mark.anyio
AGENT = standins.AGENT
PYTHON = Path(sys.executable).resolve()


def shown_by(identity):
    held = identity.current
    return held.chain, held.key


async def refused(route, way, token, code):
    """Nothing passes, and the refusal says ``code``, unless it was refused at the handshake."""
    route.way, before = way, len(route.effects())
    seen = await route.effect(token=token)
    assert seen.failed
    assert seen.code in {code, ""}
    assert len(route.effects()) == before


@cells("mutual-tls", "request", *NETWORK)
async def test_only_an_svid_of_a_trusted_domain_gets_in(route, deployment, recorded, tmp_path):
    route.way = certified(deployment, deployment.svid(AGENT))
    assert (await route.good(token=ALONE)).passed
    domain = deployment.stage.gate.domain
    stranger = Domain("stranger.example", tmp_path / "stranger")
    await deployment.admit_guest()
    forger = Domain(domain.authority.trust_domain, tmp_path / "forger")
    domain.trust.put(forger_as_partner(forger))
    try:
        for shown, code in (
            (None, "PC2020"),
            (stranger.identity(f"/agent/{AGENT}"), "PC2021"),
            (forger.identity(f"/agent/{AGENT}"), "PC2027"),
        ):
            await refused(route, certified(deployment, shown), ALONE, code)
            await recorded(code)
    finally:
        domain.trust.remove("forger.example")


def forger_as_partner(forger):
    """The bundle of a federated domain whose authority signs in our trust domain's name."""
    bundle = forger.authority.bundle()
    return type(bundle)(
        trust_domain="forger.example",
        x509=bundle.x509,
        jwt={},
        sequence=1,
        refresh_hint=300,
    )


@cells("proof-of-possession", "request", *NETWORK)
async def test_a_token_is_worth_nothing_without_its_key(route, deployment, recorded):
    plain, own = Way(deployment.url), deployment.svid(AGENT)
    route.way = certified(deployment, own)
    bound = await route.way.token(subject_token=deployment.token)
    assert (await route.good(token=bound)).passed
    for way, code in (
        (plain, "PC2040"),
        (certified(deployment, deployment.svid(AGENT)), "PC2041"),
        (certified(deployment, deployment.svid(RIVAL)), "PC2041"),
    ):
        await refused(route, way, bound, code)
        await recorded(code)


@cells("proof-of-possession", "request", *NETWORK)
async def test_a_proof_is_good_for_one_request_by_the_tokens_own_key(route, deployment, recorded):
    holder = Holder()
    route.way = Way(deployment.url, auth=Dpop(holder))
    form = {"subject_token": deployment.assertion(AGENT), "subject_token_type": JWT}
    bound = await route.way.token(**form)
    assert (await route.good(token=bound)).passed
    again = Dpop(holder, again=True)
    for auth, code in ((None, "PC2040"), (Dpop(Holder()), "PC2047"), (again, "PC2046")):
        route.way = Way(deployment.url, auth=auth)
        if auth is again:
            await route.good(token=bound)  # spends the proof
        await refused(route, route.way, bound, code)
        await recorded(code)
    spent = await tried(Way(deployment.url, auth=Dpop(holder)).token(**form))
    assert spent.code == "PC2036"


@cells("proof-of-possession", "request", "mcp-stdio")
async def test_where_no_key_can_be_shown_a_bound_token_is_refused(route, deployment, recorded):
    assert (await route.good()).passed
    way = certified(deployment, deployment.svid(AGENT))
    bound = await way.token(subject_token=deployment.token)
    seen = await route.good(token=bound)
    assert seen.code == "PC2040"
    await recorded("PC2040")


async def scoped(route, deployment, *words):
    """A token of the agent in its session that is narrowed to ``words``, and the way it goes."""
    if route.name == "mcp-stdio":
        way = Way(deployment.url)
    else:
        way = certified(deployment, deployment.svid(AGENT))
        route.way = way
    return await way.token(subject_token=deployment.token, scope=" ".join(words))


def word(route, what):
    """The scope's word for a call of ``good`` (say), of ``effect`` (write), and of another."""
    if route.name in TOOLS:
        return f"tool:{route.server}.{what}"
    family = "claude" if route.api == "anthropic" else "gpt"
    return f"model:{family}-standin:{what}"


@cells("token-scope", "request", *EVERY)
async def test_a_token_serves_for_what_is_in_its_scope_only(route, deployment, recorded):
    token = await scoped(route, deployment, word(route, "say"))
    assert (await route.good(token=token)).passed
    other = await scoped(route, deployment, word(route, "write"))
    before = len(route.upstream_saw())
    seen = await route.good(token=other)
    assert seen.code == "PC3013"
    await recorded("PC3013", check="authorize")
    if route.name in LLM:
        assert len(route.upstream_saw()) == before


@cells("token-scope", "request", *EVERY)
async def test_nobody_gets_a_scope_beyond_what_he_may_use(route, deployment):
    forbidden = "model:forbidden" if route.name in LLM else f"tool:{route.server}.hidden"
    wider = await tried(scoped(route, deployment, word(route, "say"), forbidden))
    assert wider.code == "PC2050"
    way = certified(deployment, deployment.svid(AGENT))
    held = await way.token(scope=word(route, "say"))
    to = f"spiffe://{deployment.stage.gate.domain.authority.trust_domain}/agent/{RIVAL}"
    handing = {"subject_token": held, "audience": to}
    assert (await tried(way.token(**handing, scope=word(route, "say")))).passed
    assert (await tried(way.token(**handing, scope=word(route, "write")))).code == "PC2050"


@cells("token-scope", "result", *MCP)
async def test_lists_show_only_what_is_in_the_tokens_scope(route, deployment):
    assert {"say", "write"} <= await route.listed()
    token = await scoped(route, deployment, word(route, "say"))
    assert await route.listed(token=token) == {"say"}


async def write(route, token):
    """What ``LEAD`` may not do, and the others may."""
    return await (
        route.effect(token) if route.name in TOOLS else route.ask("probe:plain", token=token)
    )


@cells("delegation", "request", *EVERY)
async def test_who_acts_for_another_may_do_no_more_than_both(route, deployment, recorded):
    token = await delegated(route, deployment, of=LEAD)
    assert (await write(route, None if route.name == "mcp-stdio" else ALONE)).passed
    assert (await route.good(token=token)).passed
    seen = await write(route, token)
    assert seen.code == "PC3014"
    await recorded("PC3014", check="authorize", principal=AGENT)
    if route.name != "mcp-stdio":
        stolen = certified(deployment, deployment.svid(RIVAL))
        await refused(route, stolen, token, "PC2051")
        await recorded("PC2051")
        assert (await tried(stolen.token(subject_token=token))).code == "PC2051"


@cells("delegation", "result", *MCP)
async def test_who_acts_for_another_is_shown_what_both_may_use(route, deployment):
    token = await delegated(route, deployment, of=LEAD)
    assert {"say", "write"} <= await route.listed()
    assert await route.listed(token=token) == {"say", "misbehave"}


@cells("attestation", "request", *NETWORK)
async def test_only_an_attested_workload_gets_an_svid_and_with_it_in(route, deployment, recorded):
    socket, mine = deployment.stage.gate.workload, f"unix:uid:{os.geteuid()}"
    async with (
        deployment.entry(AGENT, mine, f"unix:path:{PYTHON}"),
        client.workload(socket) as identity,
    ):
        route.way = certified(deployment, shown_by(identity))
        assert (await route.good(token=ALONE)).passed
    for selectors in ((f"unix:uid:{os.geteuid() + 1}",), (mine, "unix:path:/bin/false")):
        async with deployment.entry(AGENT, *selectors):
            with pytest.raises(Problem, match="PC2060"):
                await client.workload(socket).__aenter__()
        await recorded("PC2060")


@cells("enrolment", "request", *NETWORK)
async def test_a_join_token_makes_one_workload_one_agent_once(route, deployment, recorded):
    gate, join = deployment.stage.gate, await deployment.join(AGENT)
    async with client.enrolled(gate.gate_url, gate=gate.mtls_url, join_token=join) as identity:
        route.way = certified(deployment, shown_by(identity))
        assert (await route.good(token=ALONE)).passed
    for wrong in (join, join[:-1]):
        with pytest.raises(Problem, match="PC2061"):
            await client.enrolled(gate.gate_url, gate=gate.mtls_url, join_token=wrong).__aenter__()
        await recorded("PC2061")


@cells("life-cycle", "request", *EVERY)
async def test_an_agent_acts_from_its_registration_to_its_revocation(route, deployment, recorded):
    agent = mortal(route)
    if route.name != "mcp-stdio":
        route.token, route.way = ALONE, certified(deployment, deployment.svid(agent))
        await refused(route, route.way, ALONE, "PC2007")
        await recorded("PC2007")
    bearer = await deployment.stage.register(PrincipalKind.AGENT, agent)
    if route.name == "mcp-stdio":
        route.token = bearer
    assert (await route.good()).passed
    await deployment.change(agent, Verb.SUSPEND)
    await ends_in(route, "PC4001", recorded)
    await deployment.change(agent, Verb.RESUME)
    await until_it(route, passes=True)
    await deployment.rotate(agent)
    await ends_in(route, "PC4001", recorded)
    if route.name == "mcp-stdio":
        route.token = await deployment.mint(agent)
    else:
        route.way = certified(deployment, deployment.svid(agent))
    assert (await route.good()).passed
    await deployment.change(agent, Verb.REVOKE)
    await ends_in(route, "PC4001", recorded)
    with pytest.raises(Problem, match="PC2009"):
        await deployment.stage.register(PrincipalKind.AGENT, agent)


async def until_it(route, *, passes):
    """Another process follows what is done here within a tenth of a second."""
    async with asyncio.timeout(10):
        while (await route.good()).passed is not passes:
            pass


async def ends_in(route, code, recorded):
    if route.name == "mcp-stdio":
        await until_it(route, passes=False)
    await refused(route, route.way, route.token, code)
    await recorded(code)


@cells("keys-at-rest", "request", *EVERY)
async def test_nothing_secret_lies_in_the_state_directory_in_clear(route, deployment):
    assert (await route.good()).passed
    gate, state = deployment.stage.gate, deployment.config.parent / "state"
    issuer = issuer_key(state / "keys", gate.services.sealer)
    secret = {
        "prompt": b"Where is my order",
        "subject": standins.SUBJECT["email"].encode(),
        "token": deployment.token.encode(),
        "issuer": issuer.private_bytes_raw(),
        "key in PEM": b"PRIVATE KEY",
    }
    files = [path for path in state.rglob("*") if path.is_file()]
    assert {"issuer.pem", "portcullis.db"} <= {path.name for path in files}
    for path in files:
        try:
            held = path.read_bytes()
        except FileNotFoundError:  # a draft of the running log, which has its name by now
            continue
        assert not [name for name, value in secret.items() if value in held], path
        with pytest.raises(ValueError, match="key"):
            load_der_private_key(held, None)
        if path.suffix in {".key", ".pem"}:
            assert path.stat().st_mode & 0o077 == 0, path
