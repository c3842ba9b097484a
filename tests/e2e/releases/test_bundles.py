"""If these fail, a policy travels that nobody signed, an old one returns, or OPA gets nothing."""

import asyncio
import base64
import contextlib
import json
import os
import sys
from pathlib import Path

import httpx2
import pytest
from aiohttp import web

import commands
from portcullis.bootstrap import authority_of, running_gate
from portcullis.config import load
from portcullis.core.principal import PrincipalKind
from portcullis.policy.bundles.archive import pack, unpack

pytestmark = pytest.mark.anyio

READERS = "policy_changes: {readers: [opa-1]}\ntokens: {bearer: loopback}\n"
PORTCULLIS = Path(sys.executable).with_name("portcullis")
OWNED = ("--owner", "ann", "--purpose", "reads policy", "--json")
LISTEN = '{gate: "127.0.0.1:0", control: "127.0.0.1:0", mtls: "127.0.0.1:0", workload: null}'


@pytest.fixture(scope="module")
def anyio_backend():
    return "asyncio"


def policy(*models):
    return (
        "version: 1\nagents: {shop-1: {role: support, owner: shop}}\n"
        f"roles: {{support: {{models: [{', '.join(models)}]}}}}\n"
    )


class House:
    """A deployment in a folder."""

    def __init__(self, folder, *models, more=""):
        self.folder = folder
        (folder / "policy").mkdir(parents=True)
        self.write(*models)
        self.file = folder / "portcullis.yaml"
        self.file.write_text(f"trust_domain: {folder.name}.test\nlisten: {LISTEN}\n{more}")
        self.gate = None

    def write(self, *models):
        (self.folder / "policy" / "main.yaml").write_text(policy(*models))

    async def run(self, *words):
        words = ("policy", "release", *words)
        done = await asyncio.to_thread(commands.run, *words, cwd=self.folder)
        assert done.returncode == 0, done.stderr
        return done.stdout

    async def releases(self):
        return json.loads(await self.run("list", "--json"))["releases"]

    async def active(self):
        return next(one for one in await self.releases() if one["stage"] == "active")

    def token(self):
        authority = authority_of(load(self.file))
        return authority.mint(PrincipalKind.OPERATOR, "opa", ttl=600, roles=("viewer",)).token

    @contextlib.asynccontextmanager
    async def running(self):
        async with running_gate(load(self.file)) as self.gate:
            yield self

    def refusals(self):
        found = commands.run("audit", "query", "--verdict", "deny", "--json", cwd=self.folder)
        events = [json.loads(line)["event"] for line in found.stdout.splitlines()]
        return [one["code"] for one in events if one["method"] == "policy.bundle"]


@pytest.fixture(scope="module")
async def producer(tmp_path_factory, anyio_backend):
    async with House(
        tmp_path_factory.mktemp("producer") / "here", "gpt-*", more=READERS
    ).running() as made:
        await until(made.active)
        yield made


@contextlib.asynccontextmanager
async def connected(producer, name):
    """The command that shows an application's certificate for it, as it runs beside a program."""
    join = await asyncio.to_thread(
        commands.run, "application", "join", name, "--json", cwd=producer.folder
    )
    assert join.returncode == 0, join.stderr
    process = await asyncio.create_subprocess_exec(
        *(PORTCULLIS, "application", "connect", name, "--json"),
        *("--join-token", "env:JOIN"),
        cwd=producer.folder,
        env=os.environ | {"JOIN": json.loads(join.stdout)["join_token"]},
        stdout=asyncio.subprocess.PIPE,
    )
    try:
        async with asyncio.timeout(60):
            yield json.loads(await process.stdout.readline())["base"]
    finally:
        process.kill()
        await process.wait()


async def until(found, seconds=20):
    async with asyncio.timeout(seconds):
        while True:
            with contextlib.suppress(StopIteration, RuntimeError):
                value = found()
                value = await value if asyncio.iscoroutine(value) else value
                if value:
                    return value
            await asyncio.sleep(0.1)


async def test_opa_gets_a_signed_bundle_and_waits_for_the_next(producer):
    url = f"{producer.gate.control_url}/bundles/portcullis.tar.gz"
    async with httpx2.AsyncClient(timeout=30) as http:
        assert (await http.get(url)).status_code == 401
    signed_in = {"authorization": f"Bearer {producer.token()}"}
    async with httpx2.AsyncClient(timeout=30, headers=signed_in) as http:
        first = await http.get(url, headers={"prefer": "modes=snapshot,delta;wait=10"})
        assert first.headers["content-type"] == "application/vnd.openpolicyagent.bundles"
        manifest = json.loads(unpack(first.content)[".manifest"])
        assert manifest["rego_version"] == 1
        assert first.headers["etag"] == f'"{manifest["revision"]}"'
        known = {"if-none-match": first.headers["etag"]}
        same = await http.get(url, headers=known)
        assert (same.status_code, same.content) == (304, b"")
        waiting = asyncio.ensure_future(
            http.get(url, headers=known | {"prefer": "modes=snapshot,delta;wait=20"})
        )
        await asyncio.sleep(0.5)
        assert not waiting.done()
        producer.write("gpt-*", "claude-*")
        second = await waiting
        assert second.status_code == 200
        assert b"claude" in unpack(second.content)["data.json"]
        assert int(json.loads(unpack(second.content)[".manifest"])["revision"].split("-")[0]) == 2


async def test_a_program_fetches_it_by_its_certificate_or_token_only_when_it_is_named(producer):
    path = "/bundles/portcullis.tar.gz"
    asked = {}
    async with httpx2.AsyncClient(timeout=30) as http:
        for kind, name in (("application", "opa-1"), ("application", "shop"), ("agent", "shop-1")):
            done = await asyncio.to_thread(
                commands.run, kind, "create", name, *OWNED, cwd=producer.folder
            )
            assert done.returncode == 0, done.stderr
            shown = {"authorization": f"Bearer {json.loads(done.stdout)['token']}"}
            for url in (producer.gate.control_url, producer.gate.gate_url):
                answer = await http.get(f"{url}{path}", headers=shown)
                asked.setdefault(name, []).append((answer.status_code, answer.content[:2]))
        assert (await http.get(f"{producer.gate.gate_url}{path}")).status_code == 401
        assert asked["opa-1"] == [(200, b"\x1f\x8b")] * 2
        assert {status for name in ("shop", "shop-1") for status, _ in asked[name]} == {403}
        async with connected(producer, "opa-1") as base:
            by_certificate = await http.get(f"{base}{path}")
    assert by_certificate.status_code == 200
    assert ".signatures.json" in unpack(by_certificate.content)


class Shelf:
    """A web server that knows nothing of bundles."""

    def __init__(self):
        self.content, self.asked = b"", []

    async def get(self, request):
        self.asked.append(request.headers.get("authorization"))
        etag = f'"{hash(self.content)}"'
        if request.headers.get("if-none-match") == etag:
            return web.Response(status=304)
        return web.Response(body=self.content, headers={"etag": etag})

    @contextlib.asynccontextmanager
    async def open(self):
        runner = web.ServerRunner(web.Server(self.get), shutdown_timeout=0.1)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        try:
            yield f"http://127.0.0.1:{site._server.sockets[0].getsockname()[1]}/policy.tar.gz"
        finally:
            await runner.cleanup()


async def archive(producer, number, folder):
    await producer.run("bundle", str(number), "-o", str(folder / f"{number}.tar.gz"))
    return (folder / f"{number}.tar.gz").read_bytes()


async def test_a_gate_takes_what_is_signed_and_newer_and_nothing_else(producer, tmp_path):
    producer.write("o1")
    await until(lambda: _has(producer, 3))
    bundles = [await archive(producer, number, tmp_path) for number in (1, 2, 3)]
    (tmp_path / "key.pem").write_text(await producer.run("key"))
    shelf = Shelf()
    shelf.content = bundles[1]
    async with shelf.open() as url:
        more = (
            f"policy_source: {{bundle: '{url}', key: {tmp_path / 'key.pem'}, seconds: 0.1,"
            " credential: 'env:SHELF'}\n"
        )
        house = House(tmp_path / "there", "nothing-*", more=more)
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("SHELF", "a-token-for-the-shelf")
            async with house.running():
                await until(lambda: _is(house, "2-"))
                assert set(shelf.asked) == {"Bearer a-token-for-the-shelf"}
                shelf.content = bundles[0]
                await until(lambda: "PC7039" in house.refusals())
                files = unpack(bundles[2])
                files["data.json"] = files["data.json"].replace(b"o1", b"o9")
                shelf.content = pack(files)
                await until(lambda: "PC7037" in house.refusals())
                assert (await house.active())["revision"].startswith("2-")
                shelf.content = bundles[2]
                await until(lambda: _is(house, "3-"))
                assert [one["origin"] for one in await house.releases()] == [
                    "bundle",
                    "bundle",
                    "folder",
                ]
            shelf.content = bundles[1]  # nor after a restart
            async with house.running():
                await until(lambda: house.refusals().count("PC7039") == 2)
                assert (await house.active())["revision"].startswith("3-")


async def test_a_gate_follows_another_within_seconds(producer, tmp_path):
    (tmp_path / "key.pem").write_text(await producer.run("key"))
    url = f"{producer.gate.control_url}/bundles/portcullis.tar.gz"
    more = (  # without the server's waiting it would ask once in ten minutes
        f"policy_source: {{bundle: '{url}', key: {tmp_path / 'key.pem'}, seconds: 600,"
        " credential: 'env:HERE'}\n"
    )
    house = House(tmp_path / "there", "nothing-*", more=more)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HERE", producer.token())
        async with house.running():
            newest = (await producer.active())["number"]
            await until(lambda: _is(house, f"{newest}-"))
            producer.write("another-*")
            await until(lambda: _is(house, f"{newest + 1}-"))
            assert "another" in await house.run("show", "3", "--files")
            assert house.refusals() == []


async def _has(house, number):
    return any(one["number"] == number for one in await house.releases())


async def _is(house, revision):
    return (await house.active())["revision"].startswith(revision)


def test_the_key_of_bundles_is_always_the_same(tmp_path):
    house = House(tmp_path / "keys", "gpt-*")
    said = [commands.run("policy", "release", "key", cwd=house.folder).stdout for _ in range(2)]
    assert said[0] == said[1]
    assert len(base64.b64decode("".join(said[0].splitlines()[1:-1]))) == 91
