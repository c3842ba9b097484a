"""If these fail, the thefts are refused for another reason than the one that they try out: what the
forger's bench makes is good but for the twist."""

import asyncio
import secrets

import pytest

from e2e.identity.theft.cases import Case
from e2e.identity.theft.deployment import PARTNER, deployed, scene
from e2e.identity.theft.twists import certificates, enrolment, plain, tokens, workload

pytestmark = pytest.mark.anyio


def named(name):
    return Case(name, "", "", "", {}, "none", (200,), own_gate=False)


GOOD = {
    "leaf": (certificates.leaf, {}),
    "access-token": (tokens.retold, {"put": {"jti": f"01a1fd8672f3{secrets.token_hex(10)}"}}),
    "signature-kept": (tokens.forged, {"sign": "kept"}),
    "jwt-svid": (tokens.svid_exchange, {}),
    "partner-jwt-svid": (tokens.partner_svid, {}),
    "proof": (plain.dpop, {}),
    "workload": (workload.workload, {"selectors": ["unix:uid:{uid}"]}),
    "join": (enrolment.join, {}),
    "login": (enrolment.login, {}),
}


@pytest.fixture(scope="module")
async def here(anyio_backend, tmp_path_factory):
    cases = tuple(named(f"good-{name}") for name in (*GOOD, "partner-leaf"))
    async with deployed(tmp_path_factory.mktemp("kit"), cases) as made:
        yield made


@pytest.mark.parametrize("name", GOOD)
async def test_what_is_not_twisted_goes_well(name, here):
    step, parameters = GOOD[name]
    answer = await step(await scene(here, named(f"good-{name}")), **parameters)
    assert answer.status in {200, 201}, answer


async def test_a_federated_workload_that_is_registered_comes_in(here):
    people = await scene(here, named("good-partner-leaf"))
    uri = f"spiffe://{PARTNER}/ns/{people.id}"
    await people.another("p", spiffe_id=uri)
    await asyncio.sleep(0.5)  # a new registration is known within a fraction of a second
    answer = await certificates.leaf(people, by="partner", uris=[uri])
    assert answer.status == 200, answer
