"""Content sealed end to end: whoever has the key reads it, and the service cannot."""

from __future__ import annotations

import asyncio
import contextlib
import json
import sqlite3
from pathlib import Path
from typing import Any

import pytest
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from typer.testing import CliRunner

from portcullis.audit.keys import open_subjects
from portcullis.audit.recipients import SUITE, load_identity, make_identity, parse
from portcullis.cli.audit import app
from portcullis.config import load
from portcullis.control.privacy_api import ContentView
from portcullis.core.errors import Problem
from standins import Stage, agent_token, mcp_client, staged

pytestmark = pytest.mark.anyio

WORDS = {"subject": "A late parcel", "body": "It lies at the depot"}
SECRET = b"It lies at the depot"


async def audit(*words: str, said: str | None = None) -> tuple[int, str, str]:
    def run() -> tuple[int, str, str]:
        done = CliRunner().invoke(app, list(words), input=said)
        if done.exception is not None and not isinstance(done.exception, SystemExit):
            raise done.exception
        return done.exit_code, done.stdout, done.stderr

    return await asyncio.to_thread(run)


async def ticketed(stage: Stage, token: str) -> str:
    """Open a ticket; the id of the decision's event, once its content is on disk."""
    async with mcp_client(stage, "tickets", token, mode="legacy") as client:
        await client.call_tool("create", {"customer_id": "C-1001", **WORDS})
    contents = stage.gate.services.privacy_parts.contents
    event = [event.id for event in stage.events() if event.type == "tool_call"][-1]
    for _ in range(1500):
        with contextlib.suppress(Problem):
            contents.read(event)
            return event
        await asyncio.sleep(0.02)
    raise AssertionError("its content was not kept")


def settings(readers: Path) -> dict[str, Any]:
    content = {"keep": "arguments+results", "encrypt_to": str(readers)}
    return {"tokens": {"bearer": "loopback"}, "audit": {"content": content}}


def tried(state: Path, sealer: Any) -> list[bytes]:
    """Everything that the service's keys make of what is in its content store."""
    keys, found = open_subjects(state / "keys/gate", sealer), []
    try:
        with contextlib.closing(sqlite3.connect(state / "content/gate.db")) as file:
            rows = file.execute("SELECT event, field, handle, sealed FROM content").fetchall()
        for event, field, handle, sealed in rows:
            place = f"{event}\0{field}".encode()
            content = keys.find(handle).content
            outer = AESGCM(content).decrypt(sealed[:12], sealed[12:], place)
            envelope = parse(outer)
            found += [outer, envelope.sealed]
            for key in (content, keys.find(handle).handle, bytes(32)):
                with contextlib.suppress(InvalidTag):
                    found.append(AESGCM(key).decrypt(envelope.nonce, envelope.sealed, place))
                for wrapped in envelope.keys.values():
                    private = X25519PrivateKey.from_private_bytes(key)
                    info = b"portcullis/content/v1\0" + event.encode()
                    with contextlib.suppress(InvalidTag):
                        found.append(SUITE.decrypt(wrapped, private, info))
    finally:
        keys.close()
    return found


async def test_the_reader_reads_and_the_service_cannot(tmp_path: Path) -> None:
    client, machine = tmp_path / "client", tmp_path / "machine"
    client.mkdir()
    machine.mkdir()
    identity, readers = client / "identity.pem", machine / "readers.pem"
    code, public, _ = await audit("identity", str(identity))
    assert (code, public.splitlines()[0]) == (0, "-----BEGIN PUBLIC KEY-----")
    readers.write_text(public)
    async with staged(machine, settings=settings(readers)) as stage:
        event = await ticketed(stage, await agent_token(stage))
        state = load(stage.config).state
        found = tried(state, stage.gate.services.sealer)
        assert len(found) >= 2
        assert not any(SECRET in one or b"parcel" in one for one in found)

        asked = ("content", event, "--reason", "complaint 12", "--config", str(stage.config))
        code, shown, told = await audit(*asked)
        assert (code, "depot" in shown, "(sealed)" in shown) == (0, False, True)
        assert "--identity FILE" in told
        code, shown, _ = await audit(*asked, "--identity", str(identity))
        assert code == 0
        assert f'arguments.body: "{WORDS["body"]}"' in shown
        reads = [one for one in stage.events() if one.method == "content.read"]
        assert len(reads) == 2  # that it was asked for is on record, whoever can open it
        (begun,) = [one for one in stage.events() if one.method == "content.readers"]
        assert begun.parameters["readers"] == [load_identity(identity).name]

        # what the API answers opens anywhere, without the gate or its configuration
        view = stage.gate.services.privacy("test")

        answer = ContentView.of(event, *(await asyncio.to_thread(view._stores.content, event)))
        assert "depot" not in answer.model_dump_json()
        code, shown, _ = await audit(
            "open", "--identity", str(identity), "--json", said=answer.model_dump_json()
        )
        lines = {one["field"]: one for one in map(json.loads, shown.splitlines())}
        assert code == 0
        assert lines["arguments.body"] == {
            "field": "arguments.body",
            "value": f'"{WORDS["body"]}"',
            "committed": True,
        }

        other = client / "other.pem"
        make_identity(other)
        with pytest.raises(Problem, match="PC6051"):
            await audit(*asked, "--identity", str(other))
        await audit(
            *("erase", "--subject", "subject:customer_id=C-1001", "--reason", "as asked"),
            *("--config", str(stage.config)),
        )
        with pytest.raises(Problem, match="PC6041"):
            await audit(*asked, "--identity", str(identity))


async def test_a_gate_does_not_start_with_a_private_key_among_its_recipients(
    tmp_path: Path,
) -> None:
    make_identity(tmp_path / "readers.pem")
    with pytest.raises(Problem, match="PC6050"):
        async with staged(tmp_path, settings=settings(tmp_path / "readers.pem")):
            pass
