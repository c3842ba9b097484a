"""Two sessions, both taken over, and a memory between them: nothing is laundered through it."""

from __future__ import annotations

import asyncio
import itertools
from typing import Any

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from labelled import LabelBook, MemoryBook
from policies import call, context, session_of
from portcullis.checks.memory import Memory as MemoryCheck
from portcullis.checks.provenance import Provenance
from portcullis.core.call import Result, RiskClass
from portcullis.core.containment import (
    LEVELS,
    ArgumentModel,
    ArgumentRole,
    Confidentiality,
    Containment,
    Memory,
    ResultField,
    ToolModel,
)
from portcullis.provenance.canonical import keys
from portcullis.provenance.labels import Labels

ROLE = ArgumentRole.DESTINATION
SESSIONS = ("one", "two")
VALUES = ("ada@example.org", "bob@example.org", "eve@evil.example")
SPELT = ("plan", "PLAN", " plan", "x/../plan", "open", "Open", "open%20", "007", "7")


def server_reads(name: str) -> str:
    """Which record a careless server takes a name for."""
    name = name.rpartition("../")[2].replace("%20", " ").strip().lower()
    return name.lstrip("0") or name


KEY = {"record": (("key",),)}
FIELDS = (
    ResultField(path=("[]", "text"), trusted=(ROLE,), confidentiality=Confidentiality.PUBLIC),
    ResultField(path=("[]", "key"), confidentiality=Confidentiality.PUBLIC),
)
LINES = {name: ArgumentModel(role=ArgumentRole.PAYLOAD) for name in ("key", "text", "source")}


def tool(name: str, memory: Memory | None, *fields: ResultField) -> ToolModel:
    return ToolModel(
        tool=name, risk=RiskClass.MODIFY, arguments=LINES, results=fields, memory=memory
    )


def notes(**fields: Any) -> Memory:
    return Memory(store="notes/notes", **fields)


TOOLS = {
    one.tool: one
    for one in (
        tool("notes.save", notes(writes=True, **KEY), *FIELDS),
        tool("notes.add", notes(writes=True), *FIELDS),
        tool("notes.copy", notes(writes=True, sources=(("source",),), **KEY), *FIELDS),
        tool("notes.get", notes(**KEY), *FIELDS),
        tool("notes.search", notes(records=(("[]", "key"),)), *FIELDS),
        tool("notes.all", notes(), *FIELDS),
        *(
            tool(f"files.{level}", None, ResultField(path=("text",), confidentiality=level))
            for level in Confidentiality
        ),
    )
}


class Catalogue:
    def model(self, server: str, name: str) -> ToolModel | None:
        return TOOLS.get(f"{server}.{name}")

    def memories(self, server: str) -> tuple[str, ...]:
        return ("notes/notes",) if server == "notes" else ()

    def containment(self, around: Any) -> Containment:
        del around
        return Containment()


SESSION = st.sampled_from(SESSIONS)
STEP = st.one_of(
    st.tuples(st.just("read"), SESSION, st.sampled_from(list(Confidentiality))),
    st.tuples(st.just("approve"), SESSION, st.sampled_from(VALUES)),
    st.tuples(
        st.sampled_from(["save", "add", "hidden"]),
        SESSION,
        st.tuples(st.sampled_from(SPELT), st.sampled_from(VALUES)),
    ),
    st.tuples(st.just("copy"), SESSION, st.tuples(st.sampled_from(SPELT), st.sampled_from(SPELT))),
    st.tuples(st.sampled_from(["get", "search", "all"]), SESSION, st.sampled_from(SPELT)),
)


class World:
    """The gate, a memory server, and what is true: what each text was made of."""

    def __init__(self, spoken: dict[str, str]) -> None:
        self.spoken = spoken
        self.labels, self.memories = LabelBook(), MemoryBook()
        self.provenance = Provenance(Catalogue(), self.labels)
        self.check = MemoryCheck(Catalogue(), self.provenance, self.labels, self.memories)
        self.held: dict[str, str] = {}
        self.taint = dict.fromkeys(SESSIONS, 0)
        self.tainted: dict[str, int] = {}
        self.sources = {name: {spoken[name]} for name in SESSIONS}
        self.sourced: dict[str, set[str]] = {}

    def around(self, name: str) -> Any:
        session = msgspec.structs.replace(session_of(), id=name, prompt=self.spoken[name])
        return context(session=session)

    async def back(self, name: str, target: str, said: dict[str, str], value: Any) -> None:
        result = Result(payload={"content": [], "structuredContent": {"result": value}}, size=1)
        asked = call(target=target, arguments=said)
        for check in (self.check, self.provenance):
            await check.prepare_result(asked, self.around(name), result)

    async def read(self, name: str, level: Confidentiality) -> None:
        await self.back(name, f"files.{level}", {}, {"text": "words"})
        self.taint[name] = max(self.taint[name], LEVELS[level])

    async def approve(self, name: str, value: str) -> None:
        model = tool("notes.mail", None)
        arguments = {"to": ArgumentModel(role=ROLE)}
        TOOLS["notes.mail"] = msgspec.structs.replace(model, arguments=arguments)
        asked = call(target="notes.mail", arguments={"to": value})
        await self.provenance.approved(asked, self.around(name), value)
        self.sources[name].add(value)

    async def write(self, name: str, target: str, said: dict[str, str], at: str, text: str) -> None:
        await self.check.going(
            call(target=target, arguments=said), self.around(name), RiskClass.MODIFY
        )
        place = server_reads(at)
        self.held[place] = text
        self.tainted[place] = max(self.tainted.get(place, 0), self.taint[name])
        if text in self.sources[name]:
            self.sourced.setdefault(place, set()).add(text)

    async def save(self, name: str, at: tuple[str, str]) -> None:
        await self.write(name, "notes.save", {"key": at[0], "text": at[1]}, *at)

    async def add(self, name: str, at: tuple[str, str]) -> None:
        await self.write(name, "notes.add", {"text": at[1]}, *at)

    async def hidden(self, name: str, at: tuple[str, str]) -> None:
        said = {"key": "open", "text": at[1], "id": at[0]}
        await self.write(name, "notes.save", said, *at)

    async def copy(self, name: str, pair: tuple[str, str]) -> None:
        to, source = map(server_reads, pair)
        said = {"key": pair[0], "source": pair[1]}
        await self.check.going(
            call(target="notes.copy", arguments=said), self.around(name), RiskClass.MODIFY
        )
        if source in self.held:
            self.held[to] = self.held[source]
            self.tainted[to] = max(self.tainted.get(to, 0), self.tainted[source])
            self.sourced.setdefault(to, set()).update(self.sourced.get(source, ()))

    async def get(self, name: str, key: str) -> None:
        await self.shown(name, "notes.get", {"key": key}, [server_reads(key)])

    async def search(self, name: str, key: str) -> None:
        await self.shown(name, "notes.search", {"text": key}, [server_reads(key), "open"])

    async def all(self, name: str, _: str) -> None:
        await self.shown(name, "notes.all", {}, list(self.held))

    async def shown(self, name: str, target: str, said: dict[str, str], records: list[str]) -> None:
        rows = [{"key": one, "text": self.held[one]} for one in records if one in self.held]
        await self.back(name, target, said, rows)
        for row in rows:
            self.taint[name] = max(self.taint[name], self.tainted[row["key"]])

    def known(self, name: str) -> Labels:
        return self.labels.known.get(name, Labels())


BEFORE: tuple[tuple[str, str, Any], ...] = (
    *(("save", "two", (name, VALUES[0])) for name in ("plan", "open", "7")),
    ("read", "one", Confidentiality.SECRET),
)
"""Three records that anybody may read, and a session that has read a secret."""


def held(world: World) -> None:
    """What has to be true in every world, whatever was done in it."""
    for name in SESSIONS:
        assert LEVELS[world.known(name).confidentiality] >= world.taint[name]
        for value in VALUES:
            if world.known(name).trusts(ROLE, keys(value)):
                assert any(value in values for values in world.sourced.values())


def test_whatever_the_name_what_is_written_by_one_is_known_of_what_the_other_reads() -> None:
    pairs = tuple(itertools.product(SPELT, SPELT))
    writes = [
        *((step, (name, VALUES[2])) for step in ("save", "add", "hidden") for name in SPELT),
        *(("copy", pair) for pair in pairs),
    ]
    reads = [("search", "x"), ("all", ""), *(("get", name) for name in SPELT)]

    async def run(*steps: tuple[str, str, Any]) -> None:
        world = World(dict.fromkeys(SESSIONS, VALUES[0]))
        for step, name, what in (*BEFORE, *steps):
            await getattr(world, step)(name, what)
        held(world)

    async def every() -> None:
        for (write, what), (read, which) in itertools.product(writes, reads):
            secret = ("save", "one", ("7", VALUES[2]))
            steps = (secret,) if write == "copy" else ()
            copier = "two" if write == "copy" else "one"
            await run(*steps, (write, copier, what), (read, "two", which))

    asyncio.run(every())


@settings(max_examples=150, deadline=None)
@given(
    st.lists(STEP, max_size=6).flatmap(
        lambda steps: st.sampled_from([steps, [*BEFORE, *steps], [*BEFORE, *steps]])
    ),
    st.sampled_from(VALUES[:2]),
    st.sampled_from(VALUES[:2]),
)
def test_no_sequence_over_two_sessions_and_a_memory_launders_anything(
    steps: list[tuple[str, str, Any]], one: str, two: str
) -> None:
    world = World({"one": one, "two": two})

    async def run() -> None:
        for step, name, what in steps:
            before = {each: world.known(each) for each in SESSIONS}
            await getattr(world, step)(name, what)
            for each in SESSIONS:
                after = world.known(each)
                assert after == after.merge(before[each])
                assert each == name or after == before[each]
            held(world)

    asyncio.run(run())


@settings(max_examples=60, deadline=None)
@given(
    st.lists(STEP.filter(lambda step: step[0] not in {"approve", "add", "hidden"}), max_size=8),
    st.sampled_from(SPELT[4:6]),
)
def test_a_record_vouches_for_nothing_that_was_written_into_it_without_a_source(
    steps: list[tuple[str, str, Any]], key: str
) -> None:
    world = World(dict.fromkeys(SESSIONS, VALUES[0]))

    async def run() -> None:
        for step, name, what in steps:
            await getattr(world, step)(name, what)
        await world.save("one", (key, VALUES[2]))
        await world.get("two", key)

    asyncio.run(run())
    assert not world.known("two").trusts(ROLE, keys(VALUES[2]))
