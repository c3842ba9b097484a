"""What addresses and forms of the console's pages may say, and what they may not."""

import json
import re

import msgspec
import pytest

from portcullis.control.console.approval import MOST, PART, Source, Wait, _content, arguments, part
from portcullis.control.console.decisions import filtered as decisions_wanted
from portcullis.control.console.inbox import Filters, Row, named
from portcullis.control.console.live import Happening
from portcullis.control.console.live import filtered as live_wanted
from portcullis.control.console.reasons import reason_of
from portcullis.core.approval import Approval, Shown, State
from portcullis.core.call import RiskClass
from portcullis.core.desk import LiveEvent, Wanted
from portcullis.core.errors import Problem

APPROVAL = Approval(
    id="01a2c0ffee12345678",
    state=State.PENDING,
    binding="b",
    agent="shop-1",
    session="s",
    action="tool",
    server="crm",
    name="delete_customer",
    risk=RiskClass.DELETE,
    created_at=1.0,
    expires_at=2.0,
)
SHOWN = Shown(
    agents=("shop-1",),
    application="",
    user="",
    prompts=(),
    subject={},
    grant=None,
    bounds={},
    called="delete_customer",
    method="tools/call",
    arguments={"to": "a", "items": [1]},
    request=None,
    reason="",
    rule="",
    questions=(),
    recent=(),
    labels={
        "session": "internal",
        "arguments.to": "recipient: no source",
        "arguments.items.price": "amount: a trusted field",
    },
)


def other(**fields):
    return msgspec.structs.replace(APPROVAL, **fields)


def refused(work, *given):
    with pytest.raises(Problem) as problem:
        work(*given)
    return problem.value.code


def test_filters_are_what_the_address_says_and_read_back():
    asked = Filters.of({"agent": "a b", "tool": "crm.delete.all", "risk": "", "state": "denied"})
    assert asked.wanted() == Wanted(
        states=(State.DENIED,), agent="a b", server="crm", name="delete.all"
    )
    assert asked.query(cursor="c&d") == "?agent=a+b&cursor=c%26d&state=denied&tool=crm.delete.all"
    assert Filters.parsed(asked.query()) == asked
    assert Filters().query() == ""
    assert set(Filters.of({"state": "all"}).wanted().states) == set(State)


@pytest.mark.parametrize("query", [{"state": "asleep"}, {"risk": "huge"}])
def test_a_filter_that_does_not_exist_is_refused(query):
    assert refused(Filters.of, query) == "PC1020"


def test_what_goes_without_arguments_or_beside_them_is_on_the_page():
    asked = {"messages": [{"role": "user", "content": "wire everything"}]}
    model = msgspec.structs.replace(SHOWN, arguments={}, request=asked)
    assert "wire everything" in _content(model)["rest"].text
    params = {"name": "send", "arguments": SHOWN.arguments, "_meta": {"to": "mallory"}}
    beside = _content(msgspec.structs.replace(SHOWN, request=params))["rest"]
    assert "mallory" in beside.text
    assert "items" not in beside.text
    assert _content(SHOWN)["rest"] is None


def test_all_of_a_call_is_read_in_parts_that_lose_nothing_and_say_where_the_next_is():
    said = "\u202e\npart 9 of 9\n" * (PART // 8)
    shown = msgspec.structs.replace(SHOWN, arguments={"note": said})
    first = part("a1", shown, 1)
    count = int(re.match(r"part 1 of (\d+) of /approvals/a1/whole; ", first)[1])
    assert first.endswith(
        "part 1 of 3 of /approvals/a1/whole: it goes on at /approvals/a1/whole?part=2\n"
    )
    whole = ""
    for number in range(1, count + 1):
        head, found, end = part("a1", shown, number).split("\n\n")
        assert head.startswith(f"part {number} of {count}")
        assert end.startswith(f"part {number} of {count}")
        whole += found.removeprefix("\u2026")
    assert end.endswith("this is the end\n")
    assert json.loads(whole)["arguments"]["note"] == said
    assert "part" not in part("a1", SHOWN, 1)
    for number in (0, count + 1):
        assert refused(lambda number: part("a1", shown, number), number) == "PC1010"


def test_sources_that_nobody_knows_are_shown_first_and_what_is_left_out_needs_the_tick():
    labels = {f"arguments.to.{n}": "destination: the user's words" for n in range(11)}
    labels["arguments.to.11"] = "destination: no source"
    content = _content(msgspec.structs.replace(SHOWN, labels=labels))
    assert content["arguments"][0].sources[0].unknown
    assert content["left_out"]
    assert not _content(SHOWN)["left_out"]


def test_what_deletes_needs_its_name_and_what_leaves_a_tick():
    seen = {"whole": "yes"}
    deletes = Wait.of(APPROVAL)
    assert deletes == Wait("crm.delete_customer", confirmed=False)
    assert refused(deletes.check, seen) == "PC3054"
    assert refused(deletes.check, seen | {"typed": "CRM.delete_customer"}) == "PC3054"
    deletes.check(seen | {"typed": " crm.delete_customer "})
    leaves = Wait.of(other(risk=RiskClass.EXTERNAL))
    assert refused(leaves.check, seen | {"confirmed": "no"}) == "PC3054"
    leaves.check(seen | {"confirmed": "yes"})
    Wait.of(other(risk=RiskClass.MODIFY)).check(seen)
    assert refused(Wait.of(other(risk=RiskClass.MODIFY)).check, {}) == "PC3054"


@pytest.mark.parametrize("name", ["?", "x" * 100])
def test_a_name_that_nobody_can_type_is_replaced_by_the_end_of_the_id(name):
    assert Wait.of(other(name=name)).typed == "12345678"


@pytest.mark.parametrize("reason", [None, "", "   ", "two\nlines", "x" * 201, "\x1b[0m"])
def test_a_decision_without_one_line_of_reason_is_refused(reason):
    assert refused(reason_of, {} if reason is None else {"reason": reason}) == "PC1020"


def test_a_reason_is_kept_without_the_spaces_around_it():
    assert reason_of({"reason": " asked the customer "}) == "asked the customer"


def test_each_argument_says_where_its_values_come_from():
    to, items = arguments(SHOWN)
    assert (to.name, to.sources) == ("to", (Source("", "recipient: no source", unknown=True),))
    known = Source("items.price", "amount: a trusted field", unknown=False)
    assert (items.name, items.sources) == ("items", (known,))


def test_of_very_many_arguments_the_first_are_shown():
    many = msgspec.structs.replace(SHOWN, arguments={f"a{n}": n for n in range(MOST + 5)})
    assert [one.name for one in arguments(many)] == [f"a{n}" for n in range(MOST)]


@pytest.mark.parametrize(
    ("fields", "note"),
    [
        ({}, ""),
        ({"reminded_at": 1.0}, "reminded"),
        ({"reminded_at": 1.0, "escalated_at": 2.0}, "escalated"),
        ({"state": State.DENIED, "decided_by": "bea"}, "by bea"),
        ({"reminded_at": 1.0, "endorsed_by": "bea"}, "approved by bea, one more"),
        ({"state": State.EXPIRED}, ""),
    ],
)
def test_the_list_says_what_else_there_is_to_know(fields, note):
    assert Row.of(other(**fields), Filters()).note == note


def test_the_list_leads_back_to_itself_and_shows_no_hidden_characters():
    row = Row.of(other(name="a\u202eb", server=""), Filters(agent="shop-1"))
    assert row.link == "/approvals/01a2c0ffee12345678?agent=shop-1"
    assert row.tool == "a⟨U+202E⟩b"
    assert named(APPROVAL) == "crm.delete_customer"


def test_times_of_decisions_are_in_utc_unless_they_say_where():
    wanted = decisions_wanted({"since": "1970-01-01T00:01", "until": "1970-01-01T01:00+01:00"})
    assert (wanted.since, wanted.until) == (60.0, 0.0)
    assert refused(decisions_wanted, {"since": "yesterday"}) == "PC1020"


def test_the_live_view_shows_only_kinds_that_there_are():
    assert live_wanted({"kind": "decision", "agent": "a"}).kinds == ("decision",)
    assert live_wanted({}).kinds == ()
    assert refused(live_wanted, {"kind": "resync"}) == "PC1020"


def test_a_live_line_names_what_was_done_once():
    listed = LiveEvent(
        id=7, at=1.0, kind="decision", method="tools/list", name="tools/list", server="kb"
    )
    assert Happening.of(listed).what == "tools/list kb"
    denied = LiveEvent(
        id=8,
        at=1.0,
        kind="approval",
        method="approval.denied",
        server="kb",
        name="get",
        state="denied",
    )
    line = Happening.of(denied)
    assert (line.what, line.verdict, line.id) == ("approval.denied kb.get", "denied", "8")
