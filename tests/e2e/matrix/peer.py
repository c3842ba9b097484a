"""An MCP server that misbehaves on demand, in both eras, over HTTP and standard streams.

``misbehave(how=...)`` does what ``how`` says. Of the ways, those that begin with ``pieces`` send
messages before the answer; over HTTP they make it an event stream. A way that waits makes the
file ``begun`` in the folder it is told, and goes on when it finds ``go`` there; in mid-stream it
says one thing more then, and waits for ``end``. ``tell`` and ``pieces-tell`` say what the file
``told`` in the folder holds: a text, or the members of a result or of a notification. What the
file ``tools.json`` beside the log says of tools goes before ``TOOLS``. Every message
that arrives is written to the file ``log``, one JSON line each, with its headers.

Run for standard streams: ``peer.py LOG``; its credential is then in the variable PEER_KEY.
It imports nothing but the standard library, so that it starts in no time.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import secrets
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

VERSION_KEY = "io.modelcontextprotocol/protocolVersion"
LARGE = "x" * 200_000
BREAK = None
"""In place of a document: break the connection, or end the process."""


def tool(name: str, output: dict[str, Any] | None = None, **properties: str) -> dict[str, Any]:
    schema = {
        "type": "object",
        "properties": {key: {"type": kind} for key, kind in properties.items()},
    }
    described = {"name": name, "inputSchema": schema}
    return described | ({"outputSchema": output} if output else {})


TOOLS = [
    tool("say", text="string"),
    tool("write", text="string"),
    tool("spare", text="string"),
    tool("keep", key="string", text="string"),
    tool("recall", key="string", text="string"),
    tool("fetch", url="string", host="string", text="string"),
    tool("records", namespace="string", kind="string", text="string"),
    tool("hidden", text="string"),
    tool(
        "typed",
        {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]},
        good="boolean",
    ),
    tool("misbehave", how="string", folder="string"),
    tool("ask", method="string"),
]
QUESTIONS = {
    "sampling/createMessage": {
        "messages": [{"role": "user", "content": {"type": "text", "text": "tell me all"}}],
        "maxTokens": 9,
    },
    "elicitation/create": {
        "message": "Are you sure?",
        "mode": "form",
        "requestedSchema": {"type": "object", "properties": {"sure": {"type": "boolean"}}},
    },
}


class Peer:
    """``key`` is the credential that it was reached with; ``sessions`` its legacy session ids."""

    def __init__(self, log: Path, key: str) -> None:
        self.log = log
        self.key = key
        self.sessions: list[str] = []
        self.waiting: dict[str, asyncio.Future[dict[str, Any]]] = {}

    def note(self, message: dict[str, Any], headers: dict[str, str]) -> None:
        with self.log.open("a", encoding="utf-8") as file:
            file.write(json.dumps({"message": message, "headers": headers}) + "\n")

    def told(self, message: dict[str, Any]) -> None:
        """Take an answer to a question of ours; anything else needs nothing."""
        if message.get("id") in self.waiting:
            self.waiting.pop(message["id"]).set_result(message)

    async def play(self, message: dict[str, Any]) -> AsyncIterator[bytes | None]:
        """The documents that a request is answered with."""
        method, params = message["method"], message.get("params", {})
        if method == "initialize":
            yield self.result(
                message,
                protocolVersion="2025-11-25",
                capabilities={"tools": {}},
                serverInfo={"name": "peer", "version": "1"},
            )
        elif method == "server/discover":
            yield self.result(message, supportedVersions=["2026-07-28"], capabilities={"tools": {}})
        elif method == "tools/list":
            yield self.result(message, tools=self.tools())
        elif method == "tools/call":
            arguments = params.get("arguments", {})
            match params["name"]:
                case "typed":
                    yield self.result(
                        message,
                        content=[],
                        structuredContent={"n": 1 if arguments["good"] else "one"},
                    )
                case "ask":
                    async for document in self.ask(message, arguments["method"]):
                        yield document
                case "misbehave":
                    async for document in self.misbehave(message, **arguments):
                        yield document
                case _:
                    yield self.text(message, arguments.get("text", ""))
        else:
            yield self.result(message)

    async def misbehave(
        self, message: dict[str, Any], how: str, folder: str = ""
    ) -> AsyncIterator[bytes | None]:
        if not how.startswith("pieces"):
            if how == "wait":
                await wait(Path(folder))
            if how == "tell":
                what = told(Path(folder))
                plain = isinstance(what, str)
                yield self.text(message, what) if plain else self.result(message, **what)
                return
            yield {
                "duplicate-key": self.text(message, "x")[:-1] + b', "id": 1}',
                "unknown": self.text(message, "x")[:-1] + b', "shadow": 1}',
                "large": self.text(message, LARGE),
                "reflect": self.text(message, f"my key is {self.key}"),
            }.get(how) or self.text(message, "plain")
            return
        yield self.progress(message, 1)
        match how:
            case "pieces-wait":
                await wait(Path(folder))
                yield self.progress(message, 2)
                await wait(Path(folder), "end")
            case "pieces-endless":
                for count in range(2, 10_000_000):
                    yield self.progress(message, count, "and so on " * 20)
                    await asyncio.sleep(0.002)
            case "pieces-break":
                yield BREAK
                return
        if how == "pieces-tell":
            yield self.notice(message, told(Path(folder)))
        second = self.progress(message, 2)
        yield {
            "pieces-duplicate-key": second[:-1] + b', "method": "notifications/message"}',
            "pieces-unknown": document(method="notifications/steal", params={"what": "all"}),
            "pieces-reflect": self.progress(message, 2, f"my key is {self.key}"),
        }.get(how, second)
        yield self.text(message, "after the pieces")

    async def ask(self, message: dict[str, Any], method: str) -> AsyncIterator[bytes | None]:
        """Ask the client in the middle of a call, and say whether it answered."""
        question = {"method": method, "params": QUESTIONS[method]}
        if modern(message):
            given = message["params"].get("inputResponses")
            if given is None:
                asked = {"q": question}
                yield self.result(
                    message, resultType="input_required", inputRequests=asked, requestState="mine"
                )
            else:
                yield self.text(message, "answered")
            return
        own = secrets.token_hex(8)
        self.waiting[own] = asyncio.get_running_loop().create_future()
        yield document(id=own, **question)
        answer = await self.waiting[own] if own in self.waiting else {}
        refused = answer.get("error", {}).get("data", {}).get("code", "")
        yield self.text(message, f"refused {refused}" if "error" in answer else "answered")

    def text(self, message: dict[str, Any], text: str) -> bytes:
        return self.result(message, content=[{"type": "text", "text": text}])

    def result(self, message: dict[str, Any], **members: Any) -> bytes:
        return document(
            id=message["id"],
            result={"resultType": "complete"} | members if modern(message) else members,
        )

    def notice(self, message: dict[str, Any], what: Any) -> bytes:
        return self.progress(message, 2, what) if isinstance(what, str) else document(**what)

    def tools(self) -> list[dict[str, Any]]:
        file = self.log.with_name("tools.json")
        other = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}
        return [described | other.get(described["name"], {}) for described in TOOLS]

    @staticmethod
    def progress(message: dict[str, Any], count: int, said: str = "on it") -> bytes:
        token = message["params"].get("_meta", {}).get("progressToken", "none")
        params = {"progressToken": token, "progress": count, "message": said}
        return document(method="notifications/progress", params=params)


def modern(message: dict[str, Any]) -> bool:
    return VERSION_KEY in message.get("params", {}).get("_meta", {})


def document(**members: Any) -> bytes:
    return json.dumps({"jsonrpc": "2.0"} | members).encode()


def told(folder: Path) -> Any:
    return json.loads((folder / "told").read_text(encoding="utf-8"))


async def wait(folder: Path, name: str = "go") -> None:
    (folder / "begun").touch()
    while not (folder / name).exists():  # noqa: ASYNC110 - the other side may be another process
        await asyncio.sleep(0.01)


async def standard_streams(log: Path) -> None:
    peer = Peer(log, os.environ.get("PEER_KEY", ""))
    key = hashlib.sha256(peer.key.encode()).hexdigest()
    peer.note({"environment": sorted(os.environ), "key": key}, {})
    reader = asyncio.StreamReader(limit=2**22)
    await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), sys.stdin
    )
    tasks = set()

    async def answer(message: dict[str, Any]) -> None:
        async for found in peer.play(message):
            if found is BREAK:
                os._exit(1)
            sys.stdout.buffer.write(found + b"\n")
            sys.stdout.buffer.flush()

    while line := await reader.readline():
        message = json.loads(line)
        peer.note(message, {})
        if "method" not in message:
            peer.told(message)
        elif "id" in message:
            tasks.add(asyncio.create_task(answer(message)))


if __name__ == "__main__":
    asyncio.run(standard_streams(Path(sys.argv[1])))
