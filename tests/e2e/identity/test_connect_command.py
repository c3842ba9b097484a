"""If these fail, ``agent connect`` and ``agent login`` cannot be left alone beside an agent."""

import asyncio
import contextlib
import json
import os
import secrets
import signal
import ssl
import stat
import sys
from pathlib import Path

import aiohttp
import pytest

from client_gate import StandIn, authority_at, server_context, serving, until
from portcullis.wire.certificates import der, load_identity

pytestmark = pytest.mark.anyio

PORTCULLIS = Path(sys.executable).with_name("portcullis")


@pytest.fixture
async def gate(tmp_path):
    stand_in = StandIn(authority_at(tmp_path / "ca"))
    context = server_context(stand_in.authority)
    async with serving(stand_in.handle, context) as url, serving(stand_in.handle) as plain:
        stand_in.url, stand_in.plain = url, plain
        yield stand_in


@pytest.fixture
def home(tmp_path):
    made = tmp_path / "home"
    made.mkdir()
    return made


@contextlib.asynccontextmanager
async def running(gate, home, *arguments, name="shop-1", join=None):
    """A command with a join token in its environment; killed at the end if it still runs."""
    token = join or secrets.token_urlsafe(32)
    gate.join_tokens.add(token)
    how = ("--gate", gate.url, "--enrol", gate.plain, "--join-token", "env:JOIN")
    process = await asyncio.create_subprocess_exec(
        *(PORTCULLIS, "agent", arguments[0], name, *how, *arguments[1:]),
        cwd=home,
        env={"PATH": os.defpath, "HOME": str(home), "JOIN": token},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        yield process, token
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


async def announced(process):
    async with asyncio.timeout(20):
        return json.loads(await process.stdout.readline())


async def ended(process):
    async with asyncio.timeout(20):
        out, err = await process.communicate()
    return process.returncode, out.decode(), err.decode()


async def test_it_connects_renews_and_stops_when_told(gate, home):
    gate.svid_ttl = 2
    async with (
        running(gate, home, "connect", "--json") as (process, _),
        aiohttp.ClientSession() as http,
    ):
        said = await announced(process)
        assert said["spiffe_id"] == "spiffe://example.test/agent/shop-1"
        assert said["openai"] == said["base"] + "/openai/v1"
        statuses = []
        for _ in range(50):
            async with http.get(f"{said['base']}/mcp/echo") as answer:
                statuses.append(answer.status)
            await asyncio.sleep(0.06)
        assert set(statuses) == {200}
        assert len(gate.serials) >= 3
        process.send_signal(signal.SIGTERM)
        code, _, err = await ended(process)
    assert (code, err) == (0, "")


async def test_a_person_sees_the_base_urls(gate, home):
    async with running(gate, home, "connect") as (process, _):
        async with asyncio.timeout(20):
            lines = [(await process.stdout.readline()).decode().split() for _ in range(4)]
            said = [(await process.stderr.readline()).decode() for _ in range(2)]
        assert [line[0] for line in lines] == ["openai", "anthropic", "mcp", "guard"]
        assert all(line[1].startswith("http://127.0.0.1:") for line in lines)
        assert said[1].endswith(f"export PORTCULLIS_URL={lines[3][1]}\n")


async def test_revocation_ends_it_with_code_3(gate, home):
    async with (
        running(gate, home, "connect", "--json") as (process, _),
        aiohttp.ClientSession() as http,
    ):
        said = await announced(process)
        gate.cut = True
        async with http.get(f"{said['base']}/mcp/echo") as answer:
            assert answer.status == 403
        code, _, err = await ended(process)
    assert code == 3
    assert "PC4001" in err


async def test_it_refuses_to_be_another_agent_than_it_was_told(gate, home):
    async with running(gate, home, "connect", name="shop-2") as (process, _):
        code, out, err = await ended(process)
    assert (code, out) == (2, "")
    assert "not agent shop-2, but spiffe://example.test/agent/shop-1" in err


async def test_no_secret_is_in_the_arguments_the_output_or_on_disk(gate, home):
    async with (
        running(gate, home, "connect", "--json") as (process, token),
        aiohttp.ClientSession() as http,
    ):
        said = await announced(process)
        async with http.get(f"{said['base']}/mcp/echo") as answer:
            echoed = await answer.json()
        bound = echoed["headers"]["Authorization"].removeprefix("Bearer ")
        arguments = Path(f"/proc/{process.pid}/cmdline").read_text()  # noqa: ASYNC240 - procfs
        process.send_signal(signal.SIGTERM)
        code, out, err = await ended(process)
    assert code == 0
    for secret in (token, bound):
        assert secret not in arguments + json.dumps(said) + out + err
    assert list(home.rglob("*")) == []


async def test_a_token_given_by_value_is_not_taken(gate, home):
    value = secrets.token_urlsafe(32)
    async with running(gate, home, "connect", "--join-token", value) as (process, _):
        code, out, err = await ended(process)
    assert code == 1
    assert value not in out + err


async def test_a_required_key_keeps_other_processes_out(gate, home):
    key = secrets.token_hex()
    (home / "key").touch(mode=0o600)
    (home / "key").write_text(key, encoding="ascii")
    how = ("connect", "--json", "--require-key", f"file:{home}/key")
    async with running(gate, home, *how) as (process, _), aiohttp.ClientSession() as http:
        base = (await announced(process))["base"]
        async with http.get(f"{base}/mcp/echo") as answer:
            assert answer.status == 401
        async with http.get(f"{base}/mcp/echo", headers={"x-api-key": key}) as answer:
            assert answer.status == 200


async def test_a_restart_with_a_saved_identity_needs_no_new_join_token(gate, home):
    how = ("connect", "--json", "--save", "kept")
    async with running(gate, home, *how) as (process, used):
        await announced(process)
    gate.join_tokens.clear()
    async with running(gate, home, *how, join=used) as (process, _):
        gate.join_tokens.clear()
        await announced(process)
        assert gate.enrolments == ["join", "renewal"]


async def test_login_prints_a_token_that_works_with_its_key_and_leaves_nothing(gate, home):
    async with running(gate, home, "login") as (process, _):
        code, out, err = await ended(process)
    assert code == 0
    assert "nothing was written to disk" in err
    said = json.loads(out)
    assert said["token"] not in err
    assert list(home.rglob("*")) == []
    tls = ssl.create_default_context(cadata=said["bundle"])
    load_identity(tls, der(said["svid"]), said["key"].encode())
    headers = {"authorization": f"Bearer {said['token']}"}
    async with (
        aiohttp.ClientSession() as http,
        http.get(f"{gate.url}/echo", ssl=tls, headers=headers) as answer,
    ):
        assert answer.status == 200


async def test_login_saves_only_when_it_is_asked_to_and_for_its_owner_alone(gate, home):
    async with running(gate, home, "login", "--save", "kept") as (process, _):
        code, out, _ = await ended(process)
    said = json.loads(out)
    assert code == 0
    assert "key" not in said
    assert stat.S_IMODE((home / said["cert"]).stat().st_mode) == 0o600
    tls = ssl.create_default_context(cafile=home / said["cacert"])
    tls.load_cert_chain(home / said["cert"])


async def test_an_unknown_way_to_an_identity_is_a_usage_error(gate, home):
    how = ("connect", "--socket", "nowhere.sock")
    async with running(gate, home, *how) as (process, _):
        code, _, err = await ended(process)
    assert code == 2
    assert "one of --join-token, --kubernetes-token and --socket" in err
    await until(lambda: gate.requests == [])


async def test_a_join_token_is_not_spent_when_the_gate_is_not_there(gate, home):
    closed = "https://127.0.0.1:1"
    async with running(gate, home, "connect", "--gate", closed) as (process, token):
        code, _, err = await ended(process)
    assert code == 1
    assert f"PC7011 The gate cannot be reached: {closed}" in err
    assert token in gate.join_tokens
