"""Programs that know nothing of the gate go out through it with what every client reads."""

import asyncio
import json
import os
import ssl
import subprocess
import sys

import aiohttp
import httpx
import pytest
import websockets

from e2e.egress.rules import CARD, GIVEN, OPEN, PLAIN, READ, SECRET

pytestmark = pytest.mark.anyio
HOSTS = (OPEN, READ, GIVEN, PLAIN)


_NODE = """
import http from "node:http"; import https from "node:https"; import tls from "node:tls";
const proxy = new URL(process.env.HTTPS_PROXY);
const via = { host: proxy.hostname, port: proxy.port };
const text = (request) => new Promise((resolve, reject) => {
  request.on("response", async (answer) => {
    let said = ""; for await (const piece of answer) said += piece; resolve(said);
  });
  request.on("error", reject); request.end();
});
const tunnel = (url) => new Promise((resolve, reject) => {
  const asked = http.request({ ...via, method: "CONNECT", path: url.host });
  asked.on("connect", (answer, socket) => answer.statusCode === 200
    ? resolve(tls.connect({ socket, servername: url.hostname })) : reject(answer.statusCode));
  asked.on("error", reject); asked.end();
});
const get = async (url) => url.protocol === "http:"
  ? text(http.request({ ...via, path: url.href, headers: { host: url.host } }))
  : text(https.request(url, { agent }));
let socket; const found = [];
const agent = new https.Agent(); agent.createConnection = () => socket;
for (const each of process.argv.slice(1)) {
  const url = new URL(each);
  if (url.protocol === "https:") socket = await tunnel(url);
  found.push(await get(url));
  socket?.destroy();
}
console.log(JSON.stringify(found));
"""
"""Node's own modules: its fetch takes no proxy before Node 24."""


@pytest.fixture(scope="module")
async def environ(stage):
    """What a box gives to the programs in it."""
    trust, proxy = str(await stage.trust()), await stage.proxy()
    named = dict.fromkeys(("HTTPS_PROXY", "HTTP_PROXY", "https_proxy", "http_proxy"), proxy)
    files = ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "NODE_EXTRA_CA_CERTS", "CURL_CA_BUNDLE")
    return {
        "PATH": os.environ["PATH"],
        **named,
        **dict.fromkeys(files, trust),
    }


async def ran(environ, *argv: str) -> str:
    process = await asyncio.create_subprocess_exec(
        *argv, env=environ, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    try:
        async with asyncio.timeout(30):
            out, err = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert process.returncode == 0, err.decode()
    return out.decode()


async def said(stage, found: list[str]) -> None:
    assert found == ["hello"] * len(HOSTS)
    last = [one for one in stage.hosts.seen if one[0].startswith(GIVEN)][-1]
    assert last[3].get("authorization", last[3].get("Authorization")) == f"Bearer {SECRET}"


async def test_httpx_goes_out(stage):
    trust = ssl.create_default_context(cafile=await stage.trust())
    async with httpx.AsyncClient(proxy=await stage.proxy(), verify=trust, timeout=10) as http:
        await said(stage, [(await http.get(stage.url(host))).text for host in HOSTS])


async def test_aiohttp_goes_out(stage):
    trust = ssl.create_default_context(cafile=await stage.trust())
    proxy = await stage.proxy()
    async with aiohttp.ClientSession() as http:
        found = []
        for host in HOSTS:
            async with http.get(stage.url(host), proxy=proxy, ssl=trust) as answer:
                found.append(await answer.text())
    await said(stage, found)


@pytest.mark.parametrize("library", ["requests", "urllib"])
async def test_a_python_program_goes_out_by_its_environment(stage, environ, library):
    program = {
        "requests": "import requests; get = lambda url: requests.get(url, timeout=10).text",
        "urllib": "from urllib.request import urlopen\n"
        "get = lambda url: urlopen(url, timeout=10).read().decode()",
    }[library]
    program += "\nimport json, sys; print(json.dumps([get(url) for url in sys.argv[1:]]))"
    urls = [stage.url(host) for host in HOSTS]
    await said(stage, json.loads(await ran(environ, sys.executable, "-c", program, *urls)))


async def test_curl_goes_out_by_its_environment(stage, environ):
    asked = ("curl", "-sS", "--max-time", "10")
    await said(stage, [await ran(environ, *asked, stage.url(host)) for host in HOSTS])


async def test_node_goes_out_through_a_tunnel(stage, environ):
    urls = [stage.url(host) for host in HOSTS]
    out = await ran(environ, "node", "--input-type=module", "-e", _NODE, "--", *urls)
    await said(stage, json.loads(out))


async def test_a_websocket_is_read_message_by_message(stage):
    trust = ssl.create_default_context(cafile=await stage.trust())
    url = stage.url(READ, "/public/socket").replace("https", "wss")
    async with websockets.connect(url, proxy=await stage.proxy(), ssl=trust) as socket:
        assert await (await socket.ping()) >= 0
        await socket.send("good morning")
        assert await socket.recv() == "you said good morning"
        await socket.send("key")
        assert await socket.recv() == "[AWS_ACCESS_KEY_ID]"
    await stage.recorded("", method="WEBSOCKET", name=f"{READ}:{stage.tls}")


async def test_a_secret_does_not_leave_on_a_websocket(stage):
    trust = ssl.create_default_context(cafile=await stage.trust())
    url = stage.url(READ, "/public/socket").replace("https", "wss")
    async with websockets.connect(url, proxy=await stage.proxy(), ssl=trust) as socket:
        await socket.send("AKIAIOSFODNN7EXAMPLE")
        with pytest.raises(websockets.ConnectionClosed) as closed:
            await socket.recv()
        assert closed.value.rcvd.code == 1008
    await stage.recorded("PC3021", method="WEBSOCKET")
    await stage.recorded("PC3021", type="result")
    assert all(b"AKIA" not in one[4] for one in stage.hosts.seen)


async def test_what_is_not_read_arrives_as_it_is(stage):
    trust = ssl.create_default_context(cafile=await stage.trust())
    async with httpx.AsyncClient(proxy=await stage.proxy(), verify=trust, timeout=10) as http:
        answer = await http.post(stage.url(OPEN, "/x?say=card"), content=b"a" * 300_000)
        assert answer.text == f"the card is {CARD}"
    event = await stage.recorded("", type="result", name=f"{OPEN}:{stage.tls}", verdict="allow")
    assert event.result.bytes
    await stage.until(lambda: any(e.result and e.result.sent > 300_000 for e in stage.events()))
