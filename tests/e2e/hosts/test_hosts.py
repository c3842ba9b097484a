"""If these fail, a gateway on another host decides by keys that are not the control plane's, goes
on after a kill, or does what nobody at the control plane can see."""

import asyncio
import contextlib
import json
import signal

import httpx2
import pytest
from sqlalchemy import make_url

import standins
from e2e.hosts.apart import Host, common
from e2e.processes.fleet import LOOK, fleet, until
from needs import needs_redis
from objectstores import s3_server
from portcullis.audit.query import records
from portcullis.audit.verify import own_verifier
from portcullis.bootstrap import authority_of, keys_of
from portcullis.config import Config
from portcullis.config.places import audit_directory
from portcullis.core.principal import PrincipalKind
from postgres_servers import needs_postgresql
from redis_servers import redis_server

pytestmark = [pytest.mark.anyio, needs_postgresql, needs_redis]


@pytest.fixture(scope="module")
def anyio_backend():
    return "asyncio"


@pytest.fixture(scope="module")
async def hosts(tmp_path_factory, anyio_backend, postgres):
    """A control plane with a gateway in its folder, and the host ``far`` with one of its own."""
    folder = tmp_path_factory.mktemp("hosts")
    with postgres.new() as url, redis_server(folder) as redis, s3_server() as s3:
        settings = common(folder, store=url, redis=redis, bucket=s3.bucket("logs", "all"))
        near = ("near", "gateway", "--name", "near", "--listen", "relay=127.0.0.1:0")
        commands = ("control", "control"), near
        here = folder / "here"
        here.mkdir()
        async with fleet(here, *commands, gateways=("near",), settings=settings) as made:
            far = Host.beside(made, folder / "there", "far")
            far.url = await far.serves("--listen", "relay=[::1]:0")
            far.database = url
            yield far


async def look(url, token):
    """The code of what a guarded call got, empty when it was allowed."""
    async with httpx2.AsyncClient(timeout=20) as http:
        headers = {"authorization": f"Bearer {token}"}
        answer = await http.post(f"{url}/v1/calls", json=LOOK, headers=headers)
        return answer.json().get("code", "")


def hosts_log(host):
    """The events in the log of another host, where it is written."""
    place = audit_directory(host.config, host.name)
    return [one.event for one in records(place, own_verifier(place))]


async def another_key(folder):
    """The root key of another deployment."""
    config = Config(trust_domain="other.example", state=folder / "other")
    (config.state / "keys").mkdir(parents=True, mode=0o700)
    await asyncio.to_thread(keys_of, config)
    return config.state / "keys" / "master.key"


async def found_by(host):
    """What `portcullis doctor` finds, by what it is about."""
    said = json.loads(await host.run("doctor", "--json", code=None))
    return {one["what"]: one for one in said["findings"]}


async def test_a_call_at_another_host_is_decided_there_and_seen_here(hosts):
    token = await hosts.fleet.agent()
    assert await look(hosts.url, token) == ""
    assert await hosts.fleet.codes(token) == {"": 1}, "in the common folder it is as it was"

    async def seen():
        found = await hosts.fleet.run("audit", "query", "--json")
        return '/far"' in found

    await until(seen, 60)
    assert "far" in await hosts.fleet.run("audit", "verify")


async def test_what_one_host_keeps_is_reached_through_the_other_until_a_kill_reaches_both(hosts):
    made = hosts.fleet
    token = await made.agent("support-agent-prod-002")
    urls = hosts.url, made.stage.gate.gate_url

    async def asked(url, path="", body=LOOK):
        headers = {"authorization": f"Bearer {token}"}
        async with httpx2.AsyncClient(timeout=20, headers=headers) as http:
            answer = await http.post(f"{url}/v1/calls{path}", json=body)
            return answer.json()

    for here, there in (urls, urls[::-1]):
        call = (await asked(here))["call"]
        assert await asked(there, f"/{call}/result", {"result": "x"}) == {"result": "x"}
    kept = [(await asked(url))["call"] for url in urls]
    said = await made.run("kill", "--agent", "support-agent-prod-002")
    assert "far" in said, "it says that it obeys"
    for url in urls:
        assert (await asked(url))["code"] == "PC4001"
        for call in kept:
            answer = await asked(url, f"/{call}/result", {"result": "x"})
            assert answer["code"] == "PC4001"


async def test_the_authoritys_new_keys_are_there_at_once_and_old_ones_gone(hosts):
    made = hosts.fleet
    before = made.authority().state().sequence
    await made.run("ca", "rotate")
    now = made.authority().state()
    assert now.sequence > before

    async def followed():
        async with httpx2.AsyncClient(timeout=20) as http:
            found = (await http.get(f"{hosts.url}/v1/bundle")).json()
        return found["spiffe_sequence"] == now.sequence

    await until(followed, 60)
    here, there = made.config.state / "ca", hosts.config.state / "ca"
    assert {one.name for one in here.iterdir()} == {one.name for one in there.iterdir()}


async def test_a_name_has_one_gateway_wherever_it_is(hosts, tmp_path):
    twin = Host.beside(hosts.fleet, tmp_path / "near", "near")
    twin.fleet = type(hosts.fleet)(tmp_path)
    child = await twin.start()
    try:
        assert await asyncio.wait_for(child.wait(), 60) == 1
    finally:
        with contextlib.suppress(ProcessLookupError):
            child.kill()
    assert "PC6003" in twin.said()


async def test_what_somebody_writes_into_the_database_is_refused_and_put_right(hosts, postgres):
    database = make_url(hosts.database).database
    files = {path.name: path.read_bytes() for path in (hosts.config.state / "ca").iterdir()}
    change = (
        "UPDATE shared_files SET sealed = (SELECT sealed FROM shared_files WHERE name = 'keys')"
    )

    async def refused():  # the control plane may put it right before it is seen
        postgres.sql(f"{change}, version = version + 1 WHERE name = 'ca'", database)
        await asyncio.sleep(0.3)
        return "shared_files_refused" in hosts.said()

    await until(refused, 60)

    async def put_right():
        return [one for one in hosts.fleet.events("control") if one.method == "hosts.changed"]

    (found, *_) = await until(put_right, 60)
    assert (found.parameters["bundle"], found.code) == ("ca", "PC7082")

    def followed():
        said = hosts.said()
        return said.count("shared_files_followed") == said.count("shared_files_refused")

    await until(followed, 60)
    assert {p.name: p.read_bytes() for p in (hosts.config.state / "ca").iterdir()} == files
    assert await look(hosts.url, await hosts.fleet.agent()) == ""


async def test_figures_and_findings_of_all_hosts_are_at_the_control_plane(hosts):
    made = hosts.fleet
    authority = authority_of(made.config)
    watching = authority.mint(PrincipalKind.OPERATOR, "local-vic", ttl=300, roles=("viewer",))
    headers = {"authorization": f"Bearer {watching.token}"}

    async def shown():
        async with httpx2.AsyncClient(headers=headers, timeout=20) as http:
            page = await http.get(f"{made.stage.gate.control_url}/metrics")
            return 'gateway="far"' in page.text

    await until(shown, 60)
    said, there = await found_by(made), await found_by(hosts)
    assert said["gateway far"]["ok"], said["gateway far"]
    assert said["gateway near"]["ok"]
    assert said["policy of gateways"]["found"].startswith("far, near by sha256:"), said
    assert there["control"]["found"].startswith("elsewhere; its keys are published"), there


async def test_whoever_is_erased_here_is_erased_there(hosts):
    made = hosts.fleet
    name = f"subject:customer_id={standins.SUBJECT['customer_id']}"
    said = await made.run("audit", "erase", "--subject", name, "--reason", "asked", "--json")
    assert json.loads(said)["elsewhere"] == ["far"]

    def erased():
        return [one for one in hosts_log(hosts) if one.method == "audit.erased"]

    (done,) = await until(erased, 60)
    assert done.parameters["keys"] == 1


async def test_a_gateway_that_was_killed_begins_again_at_once_and_its_log_goes_on(hosts):
    made = hosts.fleet
    await made.stop("far", signal.SIGKILL)
    hosts.url = await hosts.serves("--listen", "relay=[::1]:0")
    assert await look(hosts.url, await made.agent()) == ""
    events = len(hosts_log(hosts))
    await until(lambda: len(made.events("far")) >= events, 60)
    await made.run("audit", "verify")


async def test_a_gateway_that_is_retired_serves_nobody_and_never_again(hosts, tmp_path):
    made, old = hosts.fleet, Host.beside(hosts.fleet, tmp_path / "old", "old")
    url, token = await old.serves(), await hosts.fleet.agent()
    assert await look(url, token) == ""
    said = await made.run("retire", "old", "--reason", "its host goes away")
    assert "its log old is kept" in said

    async def refused():
        try:
            return await look(url, token) == "PC4002"
        except httpx2.TransportError:
            return True

    await until(refused, 60)
    assert await asyncio.wait_for(made.children["old"].wait(), 60) == 0
    await old.start()
    assert await asyncio.wait_for(made.children["old"].wait(), 60) == 1
    assert "PC7098" in old.said()
    state = old.config.state
    assert not [*(state / "ca").iterdir(), *(state / "keys").glob("issuer*")], "keys stay behind"
    (event,) = [one for one in made.events("control") if one.method == "gateways.retire"]
    assert (event.name, event.parameters["reason"]) == ("old", "its host goes away")
    assert "retired" in (await found_by(made))["gateway old"]["found"]
    for name, code in (("old", "PC7098"), ("nobody", "PC7097"), ("near", "PC7097")):
        assert code in await made.run("retire", name, "--reason", "for the test", code=1)
    assert await look(hosts.url, token) == "", "others go on"
    assert len(await asyncio.to_thread(hosts_log, old)) > 0


async def test_a_host_without_the_root_key_makes_none_and_says_what_to_bring(hosts, tmp_path):
    bare = Host.beside(hosts.fleet, tmp_path / "bare", "bare")
    key = bare.config.state / "keys" / "master.key"
    key.unlink()
    found = await found_by(bare)
    assert "Bring it from the control plane's host" in found["keys"]["do"]
    assert not key.exists()
    key.touch(mode=0o600)
    key.write_bytes((await another_key(tmp_path)).read_bytes())
    found = await found_by(bare)
    assert "sealed under keys that this host does not have" in found["hosts"]["found"]


async def test_what_belongs_to_the_control_plane_is_refused_on_another_host(hosts):
    for words in (["agent", "list"], ["control"], ["up"], ["kill", "--all"]):
        assert "PC7081" in await hosts.run(*words, code=1)
