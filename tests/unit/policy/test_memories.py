"""What the catalogue says of memories is read as it was meant, or refused with its place."""

import pytest

from policies import pdp_of, policy_of
from portcullis.core.containment import Memory
from portcullis.core.errors import Problem

TOOLS = """\
version: 1
agents: {a: {role: r}}
roles: {r: {allowed_tools: [notes.save]}}
tools:
"""
SAVE = "arguments: {key: {role: selector}, text: {role: payload}, from: {role: selector}}"


def memory(said, name="notes.save", more=SAVE):
    text = f"{TOOLS}  {name}: {{{more}, memory: {said}}}\n"
    return policy_of(text).models[name].memory


def test_a_store_is_its_servers_own_unless_its_name_says_that_it_is_everyones():
    assert memory("{store: notes, writes: true, record: key}") == Memory(
        store="notes/notes", writes=True, record=(("key",),)
    )
    assert memory("{store: n, writes: true, appends: true}").appends
    assert memory("{store: /notes}", "other.get").store == "/notes"
    assert memory("{store: notes}", "other.get").store == "other/notes"


def test_places_of_records_are_paths():
    found = memory(
        '{store: n, writes: true, record: ["items[].key", key], from: from, records: "[keys]"}',
        more='arguments: {"items[].key": {role: object}, key: {role: object}, from: {log: clear}}',
    )
    assert found.record == (("items", "[]", "key"), ("key",))
    assert found.sources == (("from",),)
    assert found.records == (("[keys]",),)


def test_a_tool_knows_whether_any_tool_writes_its_memory():
    text = f"{TOOLS}  notes.get: {{memory: {{store: notes}}}}\n"
    assert not policy_of(text).models["notes.get"].memory.written
    text += "  notes.put: {memory: {store: notes, writes: true}}\n"
    text += "  staff.get: {memory: {store: notes}}\n"
    models = policy_of(text).models
    assert models["notes.get"].memory.written
    assert not models["staff.get"].memory.written
    pdp = pdp_of(text)
    assert pdp.memories("notes") == ("notes/notes",)
    assert pdp.memories("mail") == ()


def test_what_is_said_of_a_memory_is_part_of_the_policys_digest():
    texts = [f"{TOOLS}  notes.get: {{memory: {{store: {name}}}}}\n" for name in ("one", "other")]
    assert len({policy_of(text).digest for text in (*texts, f"{TOOLS}  notes.get: {{}}\n")}) == 3


@pytest.mark.parametrize(
    ("said", "fault"),
    [
        ("[]", "must be a mapping"),
        ("{writes: true}", "has no store"),
        ("{store: a/b}", "not of the form"),
        ("{store: [a]}", "expected a string"),
        ("{store: n, writes: false}", "writes must be true"),
        ("{store: n, reads: true}", "unknown key reads"),
        ("{store: n, appends: true}", "only what writes appends"),
        ("{store: n, writes: true, appends: 1}", "appends must be true"),
        ("{store: n, record: kye}", "do not name kye"),
        ("{store: n, record: text.key}", "do not name text.key"),
        ("{store: n, record: '*'}", "leads to no argument"),
        ("{store: n, record: ''}", "leads to no argument"),
        ("{store: n, from: from}", "only what writes"),
        ("{store: n, records: '[].text[lines]'}", "not a path"),
        ("{store: n, records: 'a..b'}", "not a path"),
        ("{store: n, records: [1]}", "expected a string"),
    ],
    ids=range(16),
)
def test_what_cannot_be_meant_is_refused(said, fault):
    with pytest.raises(Problem, match="PC7002") as refused:
        memory(said)
    assert fault in refused.value.detail
