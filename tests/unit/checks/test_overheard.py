"""If these fail, an agent hears something confidential, leaves, and may tell it to anybody."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest

from policies import call
from portcullis.checks import overheard
from portcullis.checks.overheard import Overheard
from portcullis.core.call import Action, Call, Result, RiskClass
from portcullis.store.called import SharedCalled
from portcullis.wire.mcp import SERVER_NOTIFICATIONS, SERVER_REQUESTS, Era, interpret
from unit.checks.test_memory import House, Level

pytestmark = pytest.mark.anyio

SAID = {
    "notifications/message": {"level": "info", "data": "found: all of it"},
    "notifications/progress": {"progressToken": 1, "progress": 1, "message": "all of it"},
    "notifications/cancelled": {"requestId": 1, "reason": "all of it"},
    "notifications/resources/updated": {"uri": "note://all-of-it"},
    "notifications/tools/list_changed": {"_meta": {"note": "all of it"}},
    "notifications/elicitation/complete": {"elicitationId": "all of it"},
    "elicitation/create": {"message": "Overwrite 'all of it'?"},
    "sampling/createMessage": {"messages": [{"role": "user"}], "maxTokens": 5},
    "ping": {"_meta": {"note": "all of it"}},
}
QUIET = {
    "notifications/progress": {"progressToken": "t", "progress": 1, "total": 2.5},
    "notifications/cancelled": {"requestId": "e"},
    "notifications/tools/list_changed": {"_meta": {"io.modelcontextprotocol/serverInfo": {}}},
    "notifications/resources/list_changed": {},
    "roots/list": {},
    "ping": {},
}


class Room(House):
    """Somebody has written a secret note; ``hear`` is what a server says, and to whom."""

    def __init__(self) -> None:
        super().__init__()
        self.ears = Overheard(self.catalogue, self.provenance, self.labels, self.memories)

    async def begin(self) -> Room:
        await self.secret("s-1")
        await self.write("s-1", key="plan", text="all of it")
        return self

    async def calls(self, session: str, target: str, action: Action = Action.TOOL) -> None:
        made = call(target=target, arguments={}, action=action)
        await self.ears.going(made, self.around(session), RiskClass.READ)

    async def hear(
        self, session: str | None, server: str, method: str, params: Any, *during: Call
    ) -> None:
        asks = method in SERVER_REQUESTS
        table = SERVER_REQUESTS if asks else SERVER_NOTIFICATIONS[Era.LEGACY]
        asked = interpret(table, method, params)
        said = call(target=f"{server}.{method}", arguments={}, action=asked.action)
        payload = {"id": "e1", "method": method, "params": params}
        said = msgspec.structs.replace(said, method=method, payload=payload, within=during)
        where = self.around(session)
        if asks:
            await self.ears.going(said, where, RiskClass.READ)
        else:
            await self.ears.prepare_result(said, where, Result(payload=params, size=1))


@pytest.fixture
async def room() -> Room:
    return await Room().begin()


@pytest.mark.parametrize("method", SAID)
async def test_what_a_server_says_while_it_searches_a_memory_is_as_secret_as_the_memory(
    room: Room, method: str
) -> None:
    await room.calls("s-2", "notes.search")
    await room.hear("s-2", "notes", method, SAID[method])
    assert room.level("s-2") is Level.SECRET
    assert room.level("s-3") is Level.PUBLIC


@pytest.mark.parametrize("method", QUIET)
async def test_what_says_nothing_makes_nothing_confidential(room: Room, method: str) -> None:
    await room.calls("s-2", "notes.search")
    await room.hear("s-2", "notes", method, QUIET[method])
    assert room.level("s-2") is Level.PUBLIC


async def test_a_server_tells_what_its_tools_read_that_were_called(room: Room) -> None:
    log = ("notifications/message", SAID["notifications/message"])
    await room.calls("s-2", "book.find")
    await room.calls("s-2", "book.tools", Action.LIST)
    await room.hear("s-2", "book", *log)
    assert room.level("s-2") is Level.INTERNAL
    await room.hear("s-2", "files", *log)  # nothing was called there: nobody knows what it tells
    assert room.level("s-2") is Level.CONFIDENTIAL
    await room.hear("s-2", "notes", *log)
    assert room.level("s-2") is Level.SECRET
    await room.calls("s-3", "notes.copy")
    await room.calls("s-3", "notes.unlisted")
    await room.hear("s-3", "notes", *log)
    assert room.level("s-3") is Level.SECRET


async def test_a_progress_tells_of_the_call_that_it_is_of(room: Room) -> None:
    progress = ("notifications/progress", SAID["notifications/progress"])
    await room.calls("s-2", "files.read")
    finding = call(target="book.find", arguments={})
    await room.hear("s-2", "book", *progress, finding)
    assert room.level("s-2") is Level.INTERNAL
    listing = call(target="book.listen", arguments={}, action=Action.PROTOCOL)
    await room.hear("s-2", "book", *progress, listing)
    assert room.level("s-2") is Level.CONFIDENTIAL


async def test_it_counts_where_policy_has_containment_and_for_sessions(room: Room) -> None:
    log = ("notifications/message", SAID["notifications/message"])
    await room.hear("unjudged", "notes", *log)
    await room.hear(None, "notes", *log)
    assert set(room.labels.known) == {"s-1"}


async def test_of_too_many_sessions_anything_may_have_been_called(
    room: Room, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(overheard, "_CALLED", 1)
    await room.calls("s-2", "book.find")
    await room.calls("s-3", "book.find")
    for session, level in (("s-2", Level.CONFIDENTIAL), ("s-3", Level.INTERNAL)):
        await room.hear(session, "book", "notifications/message", SAID["notifications/message"])
        assert room.level(session) is level


async def test_a_question_within_a_result_is_learned_from_with_the_result(room: Room) -> None:
    asks = call(target="book.ask", arguments={}, action=Action.SERVER_REQUEST)
    said = {"method": "elicitation/create", "params": SAID["elicitation/create"]}
    asks = msgspec.structs.replace(asks, payload=said)
    await room.ears.going(asks, room.around("s-2"), RiskClass.READ)
    assert room.level("s-2") is Level.PUBLIC
    asking = {"resultType": "input_required", "inputRequests": {"k": said}}
    await room.read("s-2", "notes.search", "", asking)
    assert room.level("s-2") is Level.SECRET


async def test_what_was_called_at_another_gateway_counts_at_this_one(
    room: Room, tmp_path: Path
) -> None:
    parts = (room.catalogue, room.provenance, room.labels, room.memories)
    ears = [Overheard(*parts, SharedCalled(tmp_path / "called.db")) for _ in range(2)]
    room.ears = ears[0]
    await room.calls("s-2", "book.unlisted")
    room.ears = ears[1]
    await room.calls("s-2", "book.find")
    await room.calls("s-3", "book.find")
    for session, level in (("s-2", Level.CONFIDENTIAL), ("s-3", Level.INTERNAL)):
        await room.hear(session, "book", "notifications/message", SAID["notifications/message"])
        assert room.level(session) is level
