"""The guard API: a small client of it, whose tools are functions of this program.

They do what those of ``peer.py`` do. What was run, with which arguments, is in ``deployment.ran``,
in the shape in which servers note what arrives.
"""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx2

from e2e.matrix.peer import LARGE, TOOLS, told, wait
from e2e.matrix.seen import Seen, code_in
from e2e.matrix.ways import Way

if TYPE_CHECKING:
    from e2e.matrix.deployment import Deployment

SEARCH = {
    "name": "search",
    "inputSchema": {
        "type": "object",
        "properties": {"customer_id": {"type": "string"}, "limit": {"type": "integer"}},
        "required": ["customer_id"],
    },
}
DESCRIBED = {one["name"]: {"description": f"Does {one['name']}."} | one for one in [*TOOLS, SEARCH]}


class GuardRoute:
    """``good`` and the others are as those of the other routes; nothing comes in pieces."""

    name = "guard"
    server = tools = "program"
    mode = ""

    def __init__(self, deployment: Deployment) -> None:
        self.deployment = deployment
        self.token = deployment.token
        self.way = Way(deployment.url)

    async def good(self, token: str | None = None) -> Seen:
        return await self.call("say", token=token, text="hello")

    async def effect(self, token: str | None = None) -> Seen:
        return await self.call("write", token=token, text="hello")

    async def scripted(self, how: str, folder: Path | None = None, **more: Any) -> Seen:
        where = {"folder": str(folder)} if folder else {}
        return await self.call("misbehave", how=how, **where, **more)

    async def told(self, what: Any, folder: Path, **more: Any) -> Seen:
        """What the program goes on with when its tool returns ``what``."""
        (folder / "told").write_text(json.dumps(what), encoding="utf-8")
        return await self.scripted("tell", folder, **more)

    async def call(
        self,
        name: str,
        /,
        *,
        server: str | None = None,
        token: str | None = None,
        lists: bool = False,
        description: str = "",
        **arguments: Any,
    ) -> Seen:
        """Ask, run and report; ``description`` is what is said of the tool in place of the usual.

        Nothing is listed on this route.
        """
        del lists
        async with self.client(token) as http:
            try:
                asked = await self.ask(
                    http, name, arguments, server=server, description=description
                )
                if asked.failed:
                    return asked
                given = json.loads(asked.text)
                result = await self.run(name, given["arguments"])
                return await self.report(http, given["call"], json.dumps({"result": result}))
            except httpx2.TransportError:
                return Seen(failed=True)

    def client(self, token: str | None = None) -> httpx2.AsyncClient:
        headers = {"authorization": f"Bearer {token or self.token}"}
        return self.way.http(headers=headers, base_url=self.way.url)

    async def ask(
        self,
        http: httpx2.AsyncClient,
        name: str,
        arguments: dict[str, Any],
        *,
        server: str | None = None,
        description: str = "",
    ) -> Seen:
        """Ask for a call; the text of what is allowed is the answer's body."""
        tool = DESCRIBED.get(name, DESCRIBED["say"] | {"name": name})
        if description:
            tool = tool | {"description": description}
        asked = {"toolset": server or self.server, "tool": tool, "arguments": arguments}
        return _seen(await http.post("/v1/calls", json=asked))

    async def report(
        self, http: httpx2.AsyncClient, call: str, body: str | bytes, **headers: str
    ) -> Seen:
        """Report what a call came to; the text is what the program may go on with."""
        headers = {"content-type": "application/json"} | headers
        seen = _seen(await http.post(f"/v1/calls/{call}/result", content=body, headers=headers))
        if seen.passed:
            result = json.loads(seen.text)["result"]
            seen.text = result if isinstance(result, str) else json.dumps(result)
        return seen

    async def run(self, name: str, arguments: dict[str, Any]) -> Any:
        """Run a tool, and note that it ran."""
        params = {"name": name, "arguments": arguments}
        self.deployment.ran.append({"message": {"params": params}})
        match name:
            case "typed":
                return {"n": 1 if arguments["good"] else "one"}
            case "search":
                return {"orders": [{"customer": arguments["customer_id"]}]}
            case "misbehave":
                folder = Path(arguments.get("folder", ""))
                match arguments["how"]:
                    case "wait":
                        await wait(folder)
                    case "tell":
                        return await asyncio.to_thread(told, folder)
                    case "large":
                        return LARGE
                return "plain"
        return arguments.get("text", "done")

    def body(self) -> bytes:
        """A good request's bytes."""
        arguments = {"text": "hello"}
        asked = {"toolset": self.server, "tool": DESCRIBED["say"], "arguments": arguments}
        return json.dumps(asked).encode()

    async def raw(
        self, body: bytes, headers: list[tuple[str, str]] | None = None, *, token: str | None = None
    ) -> Seen:
        """Send bytes in place of a request for a call."""
        pairs = [("content-type", "application/json"), *(headers or [])]
        return await self.deployment.post("/v1/calls", body, pairs, token=token or self.token)

    async def renew(self) -> None:
        """Nothing of this route outlives a call."""

    def upstream_saw(self) -> list[Any]:
        """What was run."""
        return list(self.deployment.ran)

    def effects(self) -> list[Any]:
        """The calls of ``effect`` that were run."""
        params = [one["message"]["params"] for one in self.upstream_saw()]
        return [one for one in params if one["name"] == "write"]

    def events(self) -> list[Any]:
        return self.deployment.events()


def _seen(answer: httpx2.Response) -> Seen:
    failed = answer.status_code != 200
    kind = "application/problem+json" if failed else "application/json"
    assert answer.headers["content-type"] == kind
    code = code_in(answer.json()["code"]) if failed else ""
    return Seen(code=code, text=answer.text, failed=failed, headers=dict(answer.headers))
