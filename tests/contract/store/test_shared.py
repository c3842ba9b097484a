"""What gateways share of what they do, in files of one machine or in a server for several hosts.

If these fail, two gateways disagree: a process is doubled, what was said is lost, an approver does
not see what a session did.
"""

from __future__ import annotations

import asyncio

import pytest

from needs import needs_redis
from portcullis.core.approval import Step
from portcullis.core.errors import Problem
from portcullis.core.principal import Proposal
from portcullis.oversight.recent import STEPS
from portcullis.store.called import SharedCalled
from portcullis.store.called_redis import RedisCalled
from portcullis.store.claims import SharedClaims
from portcullis.store.claims_redis import RedisClaims
from portcullis.store.proposals import SharedProposals
from portcullis.store.proposals_redis import RedisProposals
from portcullis.store.recent import SharedRecent
from portcullis.store.recent_redis import RedisRecent
from redis_servers import own_server
from shared_processes import Clock

pytestmark = pytest.mark.anyio
KEY = bytes(range(32))


class Files:
    """All of them as files of one folder."""

    def __init__(self, folder):
        self._folder = folder

    def claims(self, name):
        return SharedClaims(self._folder / "claims.db", name)

    def called(self):
        return SharedCalled(self._folder / "called.db")

    def proposals(self):
        return SharedProposals(self._folder / "proposals.db", KEY)

    def recent(self):
        return SharedRecent(self._folder / "recent.db", KEY)

    def all_that_is_written(self):
        return b"".join(path.read_bytes() for path in self._folder.glob("*.db*"))


class Served:
    """All of them in one server."""

    def __init__(self, server):
        self._server = server

    def claims(self, name):
        return RedisClaims(self._server, name)

    def called(self):
        return RedisCalled(self._server, Clock())

    def proposals(self):
        return RedisProposals(self._server, KEY)

    def recent(self):
        return RedisRecent(self._server, KEY)

    def all_that_is_written(self):
        return everything(self._server)


def everything(server):
    """Keys and values of a server, as they lie there."""
    found = []

    async def read():
        client = server._client
        reads = {
            b"string": client.get,
            b"hash": client.hgetall,
            b"list": lambda key: client.lrange(key, 0, -1),
            b"set": client.smembers,
            b"zset": lambda key: client.zrange(key, 0, -1),
        }
        for key in await client.keys("*"):
            assert await client.ttl(key) > 0, f"{key!r} would stay for ever"
            found.append(key + repr(await reads[await client.type(key)](key)).encode())

    server.later(read()).result(10)
    return b"\n".join(found)


@pytest.fixture(params=["files", pytest.param("redis", marks=needs_redis)])
def place(request, tmp_path):
    if request.param == "files":
        yield Files(tmp_path)
        return
    with own_server() as server:
        yield Served(server)


async def test_a_process_is_kept_by_whoever_was_first_until_that_is_gone(place):
    one, two = (place.claims(name) for name in ("one", "two"))
    assert (await one.claim("k", "one"), await two.claim("k", "two")) == ("one", "one")
    await two.release("k", "two")
    assert await two.claim("k", "two") == "one", "nobody lets go what is another's"
    assert await two.take("k", "two", "one") == "two"
    assert await one.take("k", "one", "one") == "two", "it was taken over already"
    again = place.claims("two")
    await again.claim("another", "two")
    assert await one.claim("k", "one") == "one", "what an earlier process of that name kept is gone"
    await one.release("k", "one")
    assert await again.claim("k", "two") == "two"


@needs_redis
@pytest.mark.parametrize("written", [b"../../../tmp/else\0", b"\xff\0"], ids=["a path", "no text"])
async def test_a_claim_by_what_is_no_gateway_leads_nowhere(written):
    with own_server() as server:
        claims = RedisClaims(server, "one")

        async def write():
            await server._client.set(claims._at("k"), written)

        server.later(write()).result(10)
        with pytest.raises(Problem) as refused:
            await claims.claim("k", "one")
        assert refused.value.code == "PC7050"


async def test_a_proposal_is_found_at_another_gateway_once_and_only_under_its_key(place):
    one, two = place.proposals(), place.proposals()
    said = [Proposal(name="get", digest=f"{n:064x}", event=f"e{n}") for n in range(3)]
    await one.add("s1", [*said, said[0]])
    assert said[0].digest.encode() not in place.all_that_is_written()
    assert await two.take("s2", ["get"], said[0].digest) is None
    assert await two.take("s1", ["put"], said[0].digest) is None
    taken = [await two.take("s1", ["get", "put"], said[0].digest) for _ in range(3)]
    assert taken == ["e0", "e0", None]
    await one.forget("s1")
    assert await two.take("s1", ["get"], said[1].digest) is None


async def test_what_a_session_called_at_one_gateway_is_known_at_another(place):
    one, two = place.called(), place.called()
    await one.note("s1", "crm", "get_customer")
    await one.note("s1", "crm", "get_customer")
    await two.note("s1", "crm", "")
    assert await one.names("s1", "crm") == await two.names("s1", "crm") == {"", "get_customer"}
    assert not await two.names("s1", "mail")
    assert not await two.names("s2", "crm")


async def test_an_approver_sees_what_a_session_did_at_every_gateway(place):
    one, two = place.recent(), place.recent()
    done = Step(at=1.0, what="tools/call mail.send", risk="external", verdict="allow")
    one.add("s1", done, acts=True)
    for number in range(STEPS + 5):
        read = Step(at=2.0 + number, what="resources/read crm.ada", risk="read", verdict="allow")
        two.add("s1", read, acts=False)
    await asyncio.sleep(0)  # what one turn of the loop adds is written at its end
    seen = await two.of("s1")
    assert done in seen
    assert len(seen) == STEPS + 1
    assert await one.of("s2") == ()
    assert b"crm.ada" not in place.all_that_is_written()
