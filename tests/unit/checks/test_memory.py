"""Memory on the line: what one session learned follows what it wrote to whoever reads it."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from labelled import LabelBook, MemoryBook
from policies import call, context, session_of
from portcullis.checks.memory import Memory as MemoryCheck
from portcullis.checks.provenance import Provenance
from portcullis.core.call import Action, Result, RiskClass
from portcullis.core.containment import (
    ArgumentModel,
    ArgumentRole,
    Confidentiality,
    Containment,
    Memory,
    ResultField,
    ToolModel,
)
from portcullis.core.verdict import Allow, Hold
from portcullis.provenance.labels import Labels, reading, trusting
from portcullis.provenance.memories import told

pytestmark = pytest.mark.anyio

Level, Role = Confidentiality, ArgumentRole
ADA, BOB, EVE = "ada@example.org", "bob@example.org", "eve@evil.example"


def arguments(**roles: ArgumentRole) -> dict[str, ArgumentModel]:
    return {name: ArgumentModel(role=role) for name, role in roles.items()}


def notes(**fields: Any) -> Memory:
    return Memory(store="notes/notes", **fields)


TRUSTED = (
    ResultField(path=("[]", "to"), trusted=(Role.DESTINATION,), clearance=Level.CONFIDENTIAL),
    ResultField(path=("[]", "text")),
)
PLACES = {"record": (("key",),)}
STRUCTURED = {name: ArgumentModel(role=Role.SELECTOR) for name in ("options.mode", "how", "*")}
TOOLS = (
    ToolModel(
        tool="mail.send",
        risk=RiskClass.EXTERNAL,
        arguments=arguments(to=Role.DESTINATION, body=Role.PAYLOAD),
    ),
    ToolModel(
        tool="book.find",
        risk=RiskClass.READ,
        results=(ResultField(path=("[]",), trusted=(Role.DESTINATION,), clearance=Level.INTERNAL),),
    ),
    ToolModel(
        tool="files.read",
        risk=RiskClass.READ,
        results=(ResultField(path=("text",), confidentiality=Level.SECRET),),
    ),
    ToolModel(
        tool="notes.save",
        risk=RiskClass.MODIFY,
        arguments=arguments(key=Role.SELECTOR, text=Role.PAYLOAD, to=Role.PAYLOAD),
        memory=notes(writes=True, **PLACES),
    ),
    ToolModel(
        tool="notes.append",
        risk=RiskClass.MODIFY,
        arguments=arguments(key=Role.SELECTOR, text=Role.PAYLOAD),
        memory=notes(writes=True, appends=True, **PLACES),
    ),
    ToolModel(
        tool="notes.any",
        risk=RiskClass.MODIFY,
        arguments={**arguments(key=Role.SELECTOR), "*": ArgumentModel(role=Role.PAYLOAD)},
        memory=notes(writes=True),
    ),
    ToolModel(
        tool="notes.copy",
        risk=RiskClass.MODIFY,
        arguments=arguments(key=Role.SELECTOR, source=Role.SELECTOR),
        memory=notes(writes=True, sources=(("source",),), **PLACES),
    ),
    ToolModel(
        tool="notes.search",
        risk=RiskClass.READ,
        arguments=arguments(words=Role.SELECTOR),
        results=TRUSTED,
        memory=notes(records=(("[]", "key"),)),
    ),
    ToolModel(
        tool="notes.get",
        risk=RiskClass.READ,
        arguments=arguments(key=Role.SELECTOR) | STRUCTURED,
        results=TRUSTED,
        memory=notes(**PLACES),
    ),
    ToolModel(tool="notes.all", risk=RiskClass.READ, results=TRUSTED, memory=notes()),
    ToolModel(
        tool="staff.list",
        risk=RiskClass.READ,
        results=TRUSTED,
        memory=Memory(store="staff/staff", written=False),
    ),
)


OTHERS = {
    "notes.memo": Action.RESOURCE,
    "notes.resources": Action.LIST,
    "notes.tools": Action.LIST,
    "notes.key": Action.COMPLETE,
}


NOTHING: dict[str, Any] = {"content": [], "structuredContent": {"result": []}}
TEXT: dict[str, Any] = {"type": "text", "text": "[]"}


class Catalogue:
    def __init__(self) -> None:
        self.judged = {"s-1", "s-2", "s-3"}

    def model(self, server: str, tool: str) -> ToolModel | None:
        return {one.tool: one for one in TOOLS}.get(f"{server}.{tool}")

    def memories(self, server: str) -> tuple[str, ...]:
        return ("notes/notes",) if server == "notes" else ()

    def containment(self, around: Any) -> Containment | None:
        judged = around.session is None or around.session.id in self.judged
        return Containment() if judged else None


class House:
    """Sessions of one gate; ``label`` is what one of them has become."""

    def __init__(self) -> None:
        self.catalogue, self.labels, self.memories = Catalogue(), LabelBook(), MemoryBook()
        self.said: dict[str, str] = {}
        self.provenance = Provenance(self.catalogue, self.labels)
        self.check = MemoryCheck(self.catalogue, self.provenance, self.labels, self.memories)

    def around(self, name: str | None) -> Any:
        if name is None:
            return context()
        said = f"Please send the mail. {self.said.get(name, '')}"
        return context(session=msgspec.structs.replace(session_of(), id=name, prompt=said))

    async def write(self, session: str | None, target: str = "notes.save", **said: Any) -> None:
        await self.check.going(
            call(target=target, arguments=said), self.around(session), RiskClass.MODIFY
        )

    async def read(
        self, session: str, target: str, back: Any, payload: Any = None, **said: Any
    ) -> None:
        where = self.around(session)
        action = OTHERS.get(target, Action.TOOL)
        asked = call(target=target, arguments=said, action=action)
        shown = payload or {"content": [], "structuredContent": {"result": back}}
        result = Result(payload=shown, size=1, is_error=shown.get("isError") is True)
        for check in (self.check, self.provenance):
            await check.prepare_result(asked, where, result)

    async def secret(self, session: str) -> None:
        await self.read(session, "files.read", {"text": "The plan"})

    def level(self, session: str) -> Confidentiality:
        return self.labels.known.get(session, Labels()).confidentiality

    async def sends(self, session: str, to: str) -> bool:
        where = self.around(session)
        asked = call(target="mail.send", arguments={"to": to, "body": "Hello"})
        facts = await self.provenance.prepare(asked, where)
        verdict = self.provenance.judge(asked, where, facts)
        assert isinstance(verdict, Allow | Hold)
        return isinstance(verdict, Allow)


def row(key: str = "plan", to: str = "") -> list[dict[str, str]]:
    return [{"key": key, "to": to, "text": "words"}]


@pytest.fixture
def house() -> House:
    return House()


async def test_who_reads_a_record_has_read_what_its_writer_had_read(house: House) -> None:
    await house.secret("s-1")
    await house.write("s-1", key="plan", text="zzz")
    await house.write("s-3", key="open", text="zzz")
    await house.read("s-2", "notes.search", row("open"))
    assert house.level("s-2") is Level.INTERNAL
    for nothing in ([], {}, "", None):
        await house.read("s-2", "notes.search", nothing)
    own = {"io.modelcontextprotocol/serverInfo": {"name": "notes"}}
    for nothing in (NOTHING | {"resultType": "complete", "_meta": own}, {"content": [TEXT]}):
        await house.read("s-2", "notes.search", "", nothing)
    assert house.level("s-2") is Level.INTERNAL
    await house.read("s-2", "notes.search", [*row("open"), *row("plan")])
    assert house.level("s-2") is Level.SECRET


async def test_a_record_becomes_confidential_when_it_is_written_again(house: House) -> None:
    await house.write("s-1", key="plan", text="nothing yet")
    await house.secret("s-1")
    await house.read("s-2", "notes.get", row(), key="plan")
    assert house.level("s-2") is Level.INTERNAL
    await house.write("s-1", key="plan", text="all of it")
    await house.read("s-2", "notes.get", row(), key="plan")
    assert house.level("s-2") is Level.SECRET


@pytest.mark.parametrize(
    "spelt", ["PLAN", " plan ", "Plán", "pl-an", "/plan", "pl/./an", "p.l.a.n", "\uff50lan"]
)
async def test_another_spelling_is_the_same_record(house: House, spelt: str) -> None:
    await house.write("s-3", key="plan", text="open")
    await house.secret("s-1")
    await house.write("s-1", key=spelt, text="all of it")
    await house.read("s-2", "notes.search", row("plan"))
    assert house.level("s-2") is Level.SECRET


@pytest.mark.parametrize(
    ("target", "said"),
    [
        ("notes.save", {"key": "x/../plan", "text": "y"}),
        ("notes.save", {"key": "pl%61n", "text": "y"}),
        ("notes.save", {"key": "x,plan", "text": "y"}),
        ("notes.save", {"key": "x", "text": "y", "id": "plan"}),
        ("notes.save", {"text": "y"}),
        ("notes.save", {"key": None, "text": "y"}),
        ("notes.save", {"key": True, "text": "y"}),
        ("notes.save", {"key": {"id": "plan"}, "text": "y"}),
        ("notes.save", {"key": [], "text": "y"}),
        ("notes.save", {"key": "x", "text": "y", "*": "plan"}),
        ("notes.save", {"key": "...", "text": "y"}),
        ("notes.save", {"key": ["x", ["plan"]], "text": "y"}),
        ("notes.save", {"key": "n" * 300, "text": "y"}),
        ("notes.any", {"key": "x", "other": "plan"}),
        ("notes.unlisted", {"key": "x"}),
        ("notes.copy", {"key": "x"}),
    ],
    ids=range(16),
)
async def test_a_write_that_does_not_surely_say_where_is_one_into_any_record(
    house: House, target: str, said: Any
) -> None:
    await house.write("s-3", key="plan", text="open")
    await house.secret("s-1")
    await house.write("s-1", target, **said)
    await house.read("s-2", "notes.search", row("plan"))
    expected = Level.INTERNAL if target == "notes.copy" else Level.SECRET
    assert house.level("s-2") is expected
    await house.read("s-2", "notes.search", row("x"))
    assert house.level("s-2") is Level.SECRET


async def test_what_is_copied_within_a_memory_stays_what_it_was(house: House) -> None:
    await house.secret("s-1")
    await house.write("s-1", key="plan", text="all of it")
    await house.write("s-3", key="open", text="x")
    await house.write("s-3", "notes.copy", key="open", source="plan")  # it never read it
    assert house.level("s-3") is Level.PUBLIC
    await house.read("s-2", "notes.get", row("open"), key="open")
    assert house.level("s-2") is Level.SECRET
    await house.write("s-3", key="other", text="x")
    await house.write("s-3", "notes.any", key="other")  # who knows what that does
    house.catalogue.judged.add("s-4")
    await house.read("s-4", "notes.get", row("other"), key="other")
    assert house.level("s-4") is Level.SECRET


@pytest.mark.parametrize(
    ("target", "back", "payload", "said"),
    [
        ("notes.search", [{"text": "no key"}], None, {}),
        ("notes.search", [*row("open"), "and a text"], None, {}),
        ("notes.search", "words", None, {}),
        ("notes.search", [{"words": "in names only"}], None, {}),
        ("notes.search", row("<ID_1>"), None, {}),
        ("notes.search", row("never-written"), None, {}),
        ("notes.get", row("open"), None, {"key": "open", "id": "plan"}),
        ("notes.get", row("open"), None, {"key": "x/../plan"}),
        ("notes.get", row("open"), None, {}),
        ("notes.all", row("open"), None, {}),
        ("notes.any", "ok", None, {"key": "open"}),
        ("notes.unlisted", "ok", None, {}),
        ("notes.memo", "", {"contents": [{"text": "x"}]}, {}),
        ("notes.resources", "", {"resources": [{"name": "x"}]}, {}),
        ("notes.key", "", {"completion": {"values": ["x"]}}, {}),
        ("notes.get", "", {"isError": True, "content": [{"type": "text", "text": "x"}]}, {}),
        (
            "notes.search",
            "",
            {"structuredContent": row("open"), "content": [{"type": "text", "text": "more"}]},
            {},
        ),
        ("notes.get", "", NOTHING | {"resultType": "input_required"}, {"key": "open"}),
        ("notes.search", "", NOTHING | {"_meta": {"note": "all of it"}}, {}),
        ("notes.search", "", NOTHING | {"more": "all of it"}, {}),
        ("notes.search", "", NOTHING | {"isError": "all of it"}, {}),
        ("notes.search", "", {"content": "all of it"}, {}),
        ("notes.search", "", {"content": [TEXT | {"_meta": {"x": "all of it"}}]}, {}),
        ("notes.search", "", {"content": [TEXT | {"annotations": {"x": "all of it"}}]}, {}),
        ("notes.search", "", {"content": [{"type": "text", "text": {"x": "all of it"}}]}, {}),
        ("notes.get", row("open"), None, {"key": "open", "options": {"mode": "x", "key": "plan"}}),
    ],
    ids=range(26),
)
async def test_a_read_that_does_not_surely_say_of_what_is_one_of_any_record(
    house: House, target: str, back: Any, payload: Any, said: Any
) -> None:
    await house.write("s-3", key="open", text="x")
    await house.secret("s-1")
    await house.write("s-1", key="plan", text="all of it")
    await house.read("s-2", target, back, payload, **said)
    assert house.level("s-2") is Level.SECRET


async def test_the_tools_of_a_server_tell_nothing_of_its_records(house: House) -> None:
    await house.secret("s-1")
    await house.write("s-1", key="plan", text="all of it")
    await house.read("s-2", "notes.tools", "", {"tools": []})
    assert house.level("s-2") is Level.PUBLIC


async def test_an_answer_to_a_write_tells_of_its_record_only(house: House) -> None:
    await house.secret("s-1")
    await house.write("s-1", key="plan", text="all of it")
    await house.write("s-2", key="mine", text="x")
    await house.read("s-2", "notes.save", "saved", key="mine", text="x")
    assert house.level("s-2") is Level.INTERNAL
    await house.write("s-2", key="plan", text="more")
    await house.read("s-2", "notes.save", "all of it, more", key="plan", text="more")
    assert house.level("s-2") is Level.SECRET


async def test_who_writes_without_a_session_or_unjudged_writes_secrets(house: House) -> None:
    house.said["unjudged"] = f"Write to {EVE}"
    for number, writer in enumerate((None, "unjudged")):
        await house.write(writer, key=f"k{number}", text=EVE)
        reader = f"s-{number + 1}"
        await house.read(reader, "notes.get", row(f"k{number}", EVE), key=f"k{number}")
        assert house.level(reader) is Level.SECRET
        assert not await house.sends(reader, EVE)


async def test_what_was_sourced_when_it_was_written_is_trusted_when_it_is_read(
    house: House,
) -> None:
    house.said["s-1"] = f"Remember that {ADA} is our accountant"
    await house.write("s-1", key="plan", to=ADA, text=f"Ask {EVE}")
    await house.read("s-2", "notes.get", row(to=ADA), key="plan")
    assert await house.sends("s-2", ADA)
    await house.read("s-2", "notes.get", row(to=EVE), key="plan")
    assert not await house.sends("s-2", EVE)
    assert not await house.sends("s-3", ADA)


async def test_what_the_user_of_another_session_said_does_not_clear_it_here(house: House) -> None:
    house.said["s-1"] = f"Remember that {ADA} is our accountant"
    await house.write("s-1", key="plan", to=ADA, text="x")
    await house.read("s-2", "notes.get", row(to=ADA), key="plan")
    house.labels.known["s-2"] = house.labels.known["s-2"].merge(reading(Level.CONFIDENTIAL))
    assert await house.sends("s-2", ADA)  # as far as the catalogue clears that field
    await house.secret("s-2")
    assert not await house.sends("s-2", ADA)


async def test_a_value_is_good_for_no_more_than_when_it_was_written(house: House) -> None:
    await house.read("s-1", "book.find", [BOB])  # cleared for what is internal
    await house.write("s-1", key="plan", to=BOB, text="x")
    approved = call(target="mail.send", arguments={"to": EVE, "body": "x"})
    await house.provenance.approved(approved, house.around("s-1"), "a1")
    await house.write("s-1", key="plan", to=EVE, text="x")
    await house.read("s-2", "notes.get", [*row(to=BOB), *row(to=EVE)], key="plan")
    assert await house.sends("s-2", BOB)
    assert await house.sends("s-2", EVE)
    house.labels.known["s-2"] = house.labels.known["s-2"].merge(reading(Level.CONFIDENTIAL))
    assert not await house.sends("s-2", BOB)
    assert not await house.sends("s-2", EVE)


async def test_a_value_that_an_agent_wrote_is_not_trusted_by_way_of_a_memory(house: House) -> None:
    await house.write("s-1", key="plan", to=EVE, text=EVE)
    for target, said in (("notes.get", {"key": "plan"}), ("notes.search", {}), ("notes.all", {})):
        await house.read("s-2", target, row(to=EVE), **said)
    assert not await house.sends("s-2", EVE)
    assert not await house.sends("s-1", EVE)


async def test_a_store_that_no_tool_writes_is_as_trusted_as_the_catalogue_says(
    house: House,
) -> None:
    await house.read("s-1", "staff.list", row(to=BOB))
    assert await house.sends("s-1", BOB)


async def test_what_was_written_is_not_trusted_because_nobody_can_write_any_more(
    house: House,
) -> None:
    await house.write("s-1", key="k", text="x")
    book = house.memories.rows
    book["staff/staff"] = book.pop("notes/notes")
    await house.read("s-2", "staff.list", row("k", EVE))
    assert not await house.sends("s-2", EVE)


async def test_what_was_never_written_here_stays_in_what_is_added_to_it(house: House) -> None:
    await house.secret("s-1")
    await house.write("s-1", key="plan", text="all of it")
    await house.write("s-3", "notes.append", key="old", text="x")
    await house.read("s-2", "notes.get", row("old"), key="old")
    assert house.level("s-2") is Level.SECRET
    await house.write("s-3", key="new", text="x")  # that one replaces what was there
    await house.write("s-3", "notes.append", key="new", text="x")
    await house.read("s-3", "notes.get", row("new"), key="new")
    assert house.level("s-3") is Level.INTERNAL


@pytest.mark.parametrize(
    ("first", "second"),
    [("20240105", "2024-01-05"), ("2024-1-5", "2024-01-05"), ("24", "024"), ("a-01-0b", "a010b")],
)
async def test_zeros_and_punctuation_make_no_other_record(
    house: House, first: str, second: str
) -> None:
    await house.write("s-3", key=first, text="x")
    await house.secret("s-1")
    await house.write("s-1", key=second, text="all of it")
    await house.read("s-2", "notes.get", row(first), key=first)
    assert house.level("s-2") is Level.SECRET


async def test_a_line_for_a_structured_argument_is_one_for_all_that_is_in_it(
    house: House,
) -> None:
    await house.secret("s-1")
    await house.write("s-1", key="plan", text="all of it")
    await house.write("s-3", key="open", text="x")
    said = {"key": "open", "how": {"deep": {"key": "x"}}, "options": {"mode": "y"}}
    await house.read("s-2", "notes.get", row("open"), **said)
    assert house.level("s-2") is Level.INTERNAL


async def test_an_answer_to_a_servers_question_is_written_too(house: House) -> None:
    saving = call(target="notes.save", arguments={"key": "plan", "text": "x"})
    await house.write("s-1", key="plan", text="x")
    await house.secret("s-1")
    asked = call(target="notes.elicit", action=Action.SERVER_REQUEST, arguments={})
    asked = msgspec.structs.replace(asked, within=(saving,))
    answer = Result(payload={"action": "accept", "content": {"more": "y"}}, size=1)
    await house.check.prepare_result(asked, house.around("s-1"), answer)
    await house.read("s-2", "notes.get", row(), key="plan")
    assert house.level("s-2") is Level.SECRET


async def test_what_the_gate_looks_up_by_itself_makes_nothing_confidential(house: House) -> None:
    house.said["s-1"] = f"Remember {ADA}"
    await house.secret("s-1")
    await house.write("s-1", key="plan", to=ADA, text="x")
    look = msgspec.structs.replace(call(target="notes.get", arguments={"key": "plan"}))
    look = msgspec.structs.replace(look, looked_up_for="another")
    back = {"content": [], "structuredContent": {"result": row(to=ADA)}}
    await house.check.prepare_result(look, house.around("s-2"), Result(payload=back, size=1))
    assert house.level("s-2") is Level.PUBLIC
    known = house.labels.known["s-2"]
    assert known == trusting(Role.DESTINATION, [ADA], Level.CONFIDENTIAL)


@pytest.mark.parametrize(
    ("result", "records"),
    [
        ({}, set()),
        ({"found": []}, set()),
        ({"found": [], "more": False}, set()),
        ({"found": [{"key": "Plan"}], "more": True}, {"plan"}),
        ({"found": [], "summary": "All about the plan"}, None),
        ({"found": [{"key": "plan"}, {}]}, None),
        ({"others": []}, None),
    ],
    ids=range(7),
)
def test_what_a_result_tells_of(result: Any, records: set[str] | None) -> None:
    model = ToolModel(tool="notes.x", memory=notes(records=(("found", "[]", "key"),)))
    assert told(model, {}, result) == records
    keyed = ToolModel(tool="notes.x", memory=notes(records=(("[keys]",),)))
    assert told(keyed, {}, {"plan": {}, "Open": None}) == {"plan", "open"}
    assert told(keyed, {}, {"pl%61n": {}}) is None
