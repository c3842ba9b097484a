"""If these fail, counters, feed or shared state stop working, or stop being safe, on servers as
they are deployed: over TLS with a user for each use, behind a Sentinel, on a cluster."""

from __future__ import annotations

import asyncio
import contextlib
import time

import pytest

from needs import needs_redis
from portcullis.core.errors import Problem
from portcullis.core.limits import Amount, Rate, Reservation, Slot
from portcullis.core.principal import Proposal
from portcullis.store.called_redis import RedisCalled
from portcullis.store.claims_redis import RedisClaims
from portcullis.store.counters_redis import RedisCounter
from portcullis.store.fanout_redis import RedisHub, RedisLine
from portcullis.store.once_redis import RedisOnce
from portcullis.store.proposals_redis import RedisProposals
from portcullis.store.redis_address import connected, parsed
from portcullis.store.vaults_redis import RedisVaults
from redis_deployments import DOMAIN, QUOTED, certified, clustered, options, over_tls, watched
from redis_servers import open_server
from shared_processes import KEY, Clock

pytestmark = [pytest.mark.anyio, needs_redis]
PREFIX = f"portcullis:{DOMAIN}:feed"
HOUR = 3600


@pytest.fixture(scope="module")
def tls(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tls")
    with over_tls(folder) as node:
        yield node, folder


def amount(much, ceiling=100):
    return Amount("a", much, ceiling, time.time() + HOUR)


async def counts(url):
    """Reserve, settle, renew and read at a server; what is counted then."""
    counter = RedisCounter(url, DOMAIN, Clock(), seconds=10.0)
    try:
        wants = [amount(10), Rate("r", 1000, 100), Slot("s", 4)]
        made = await counter.reserve("1", wants, hold=60)
        assert isinstance(made, Reservation)
        await counter.renew([made])
        await counter.settle(made, (7, 0, 0))
        again = await counter.reserve("2", wants, hold=60)
        await counter.release(again)
        assert {one.key for one in await counter.page("", 10)} >= {"a"}
        await counter.lacking()
        return (await counter.read(["a"]))[0]
    finally:
        await counter.close()


@contextlib.asynccontextmanager
async def feeding(url):
    """A hub and a line, and what the line has heard."""
    heard = asyncio.Queue()
    hub, line = RedisHub(url, PREFIX, silence=1.0), RedisLine(url, PREFIX, "gate-1", silence=1.0)
    tasks = [
        asyncio.ensure_future(hub.run(lambda frame: None)),
        asyncio.ensure_future(line.run(heard.put_nowait, lambda: None)),
    ]

    async def say(frame):
        """Until it is heard: what was sent without a connection is lost."""
        async with asyncio.timeout(60):
            while True:
                hub.send(frame)
                with contextlib.suppress(TimeoutError):
                    while await asyncio.wait_for(heard.get(), 0.2) != frame:
                        pass
                    return

    try:
        yield say
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def shares(server):
    """Use everything that is shared, as two gateways would."""
    now = time.time()
    once, vaults = RedisOnce(server, Clock()), RedisVaults(server, KEY, Clock())
    assert once.spend(f"{now}".encode(), now + 60, "agent:shop-1")
    assert not RedisOnce(server, Clock()).spend(f"{now}".encode(), now + 60)
    for session in ("s1", "s2", "s3", "s4"):
        await vaults.refresh(session)
        vaults.vault(session).hide("A", "x")
        other = RedisVaults(server, KEY, Clock())
        await other.refresh(session)
        assert other.vault(session).reveal("<A_1>") == "x"
    assert set(await vaults.keys()) == {"s1", "s2", "s3", "s4"}
    await vaults.forget(["s1", "s2", "s3", "s4"])
    claims = RedisClaims(server, "one")
    assert await claims.claim("k", "one") == "one"
    assert await RedisClaims(server, "two").take("k", "two", "one") == "two"
    called = RedisCalled(server, Clock())
    await called.note("s1", "crm", "get")
    assert await called.names("s1", "crm") == {"get"}
    proposals = RedisProposals(server, KEY)
    await proposals.add("s1", [Proposal(name="get", digest="d", event="e1")])
    assert await proposals.take("s1", ["get"], "d") == "e1"
    await proposals.forget("s1")


# TLS, and users


def secured(tls, user, **files):
    node, folder = tls
    return f"rediss://{user}:{QUOTED}@{node.address}/?{options(folder, **files)}"


async def test_each_use_has_what_it_needs_over_tls_with_a_user_that_may_do_no_more(tls):
    assert await counts(secured(tls, "counters")) == 7
    with open_server(secured(tls, "shared"), DOMAIN) as server:
        await shares(server)
    async with feeding(secured(tls, "feed")) as say:
        await say(b"killed")


async def test_a_user_has_nothing_of_another_use_or_deployment(tls):
    for url, name in ((secured(tls, "shared"), DOMAIN), (secured(tls, "counters"), "other.test")):
        counter = RedisCounter(url, name, Clock(), seconds=10.0)
        with pytest.raises(Problem, match="PC3073"):
            await counter.reserve("1", [amount(1)], hold=60)
        await counter.close()
    for user, name in (("counters", DOMAIN), ("shared", "other.test"), ("default", DOMAIN)):
        with open_server(secured(tls, user), name, seconds=0.5) as server:
            assert not server.up


async def test_a_server_that_is_not_who_it_should_be_gets_nothing_and_gives_nothing(
    tls, tmp_path, monkeypatch
):
    certified(tmp_path)
    wrong = str(tmp_path / "ca.pem")
    for url in (
        secured(tls, "shared", ca=wrong),
        secured(tls, "shared", ca=""),
        secured(tls, "shared", cert="", key=""),
        secured(tls, "shared").replace("127.0.0.1", "localhost"),
    ):
        with open_server(url, DOMAIN, seconds=0.5) as server:
            assert not server.up, url
    monkeypatch.setenv("SSL_CERT_FILE", str(tls[1] / "ca.pem"))  # the machine trusts it
    with open_server(secured(tls, "shared", ca=""), DOMAIN) as server:
        assert server.up
    with open_server(secured(tls, "shared", ca=wrong), DOMAIN, seconds=0.5) as server:
        assert not server.up, "where an authority is named, no other is trusted"


async def test_sentinels_and_clusters_are_held_to_their_authority_too(tmp_path):
    certified(tmp_path)
    query = options(tmp_path)
    for way, more in (("cluster", ""), ("sentinel", "counts")):
        client = connected(parsed(f"rediss+{way}://u:p@127.0.0.1/{more}?{query}"), seconds=1)
        if way == "cluster":
            made = [
                node.acquire_connection() for node in client.nodes_manager.startup_nodes.values()
            ]
        else:
            pools = [client.connection_pool]
            pools += [
                one.connection_pool for one in client.connection_pool.sentinel_manager.sentinels
            ]
            made = [pool.make_connection() for pool in pools]
        for connection in made:
            trusted = connection.ssl_context.get().get_ca_certs()
            assert [dict(one["subject"][0])["commonName"] for one in trusted] == ["ca"]
        await client.aclose()


# Sentinel


async def test_when_the_primary_dies_nothing_counted_is_lost_and_no_proof_is_good_again(tmp_path):
    with watched(tmp_path) as (servers, port):
        url = f"rediss+sentinel://127.0.0.1:{port}/counts?{options(tmp_path)}&replicas=1"
        counter = RedisCounter(url, DOMAIN, Clock(), seconds=10.0)
        with open_server(url, DOMAIN) as server:
            once = RedisOnce(server, Clock(), skew=5)
            before = once.since
            assert once.spend(b"proof", time.time() + 60)
            for number in range(10):
                made = await counter.reserve(f"{number}", [amount(5)], hold=600)
                assert isinstance(made, Reservation)
            async with feeding(url) as say:
                await say(b"before")
                servers[0].end()
                over = await _goes_on(counter)
                assert over == 51, "all ten, and the one that found the new primary"
                await say(b"after")
            async with asyncio.timeout(60):
                while once.since == before:
                    assert not once.spend(b"proof", time.time() + 60)
                    await asyncio.sleep(0.05)
            assert once.since > before
        await counter.close()
        less = RedisCounter(f"{url[:-1]}2", DOMAIN, Clock(), seconds=1.0)
        with pytest.raises(Problem, match="PC3073"):  # of one that died and two, one is left
            await less.reserve("more", [amount(1)], hold=600)
        await less.close()


async def _goes_on(counter):
    """What is counted, with one more, once a primary takes it."""
    async with asyncio.timeout(60):
        while True:
            with contextlib.suppress(Problem):
                made = await counter.reserve("again", [amount(1)], hold=600)
                assert isinstance(made, Reservation)
                return (await counter.read(["a"]))[0]
            await asyncio.sleep(0.1)


# Cluster


async def test_a_cluster_has_all_of_it(tmp_path):
    with clustered(tmp_path) as made:
        hosts = ",".join(node.address for node in made)
        url = f"rediss+cluster://{{user}}:{QUOTED}@{hosts}/?{options(tmp_path)}"
        assert await counts(url.format(user="counters")) == 7
        with open_server(url.format(user="shared"), DOMAIN) as server:
            await shares(server)
        async with feeding(url.format(user="feed")) as say:
            await say(b"killed")
        for node in made:
            node.end()
        with pytest.raises(Problem, match="PC3073"):
            await counts(url.format(user="counters"))
        with open_server(url.format(user="shared"), DOMAIN) as server:
            assert not server.up
            made[0].start()
            with pytest.raises(Problem, match="PC7050"):
                await RedisClaims(server, "one").claim("k", "one")


# Addresses


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("redis://10.0.0.1/", "10.0.0.1 in clear"),
        ("redis://127.0.0.1,redis.example/", "redis.example in clear"),
        ("redis+sentinel://redis.example/counts", "redis.example in clear"),
        ("redis+sentinel://127.0.0.1/", "the name of what they watch"),
        ("redis://127.0.0.1/?ca=/etc/hostname", "for rediss://"),
        ("rediss://redis.example/?ca=/no/such/file", "a file of this machine"),
        ("rediss://redis.example/?cert=/etc/hostname", "go together"),
        ("rediss://redis.example/?verify=none", "an option that there is not"),
        ("redis://127.0.0.1/?plaintext=yes", "plaintext can be"),
        ("redis+cluster://127.0.0.1/3", "no numbered databases"),
        ("redis://127.0.0.1:x/", "a port is no number"),
        ("redis:///0", "a host is missing"),
        ("http://127.0.0.1/", "it begins with"),
        ("redis://127.0.0.1/?db=x", "db is a number"),
    ],
)
def test_an_address_that_is_not_good_is_refused_without_its_password(url, why):
    scheme, _, rest = url.partition("://")
    with pytest.raises(Problem, match="PC7085") as raised:
        parsed(f"{scheme}://shop:hunter2@{rest}")
    assert why in raised.value.detail
    assert "hunter2" not in str(raised.value)


def test_an_address_says_all_of_how_a_server_is_spoken_to():
    found = parsed("redis+sentinel://u:p%40@127.0.0.1,[::1]:5/counts?db=2&sentinel_password=q")
    assert (found.hosts, found.service) == ((("127.0.0.1", 26379), ("::1", 5)), "counts")
    assert (found.user, found.password, found.db) == ("u", "p@", 2)
    assert parsed("redis://redis.example/?plaintext=allowed").where == "redis.example:6379"
    assert parsed("unix:///run/redis.sock").where == "/run/redis.sock"
