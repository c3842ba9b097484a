"""If these fail, a change of policy is taken for harmless that is not, or the other way round."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from policies import SUPPORT
from portcullis.core.event import Event, EventType
from portcullis.policy.source import SourceFile
from portcullis.review.replay import Kind, Replay
from portcullis.review.replay_side import Side

BEGAN = datetime(2026, 11, 2, 9, 0, tzinfo=UTC)
KEYED = "hmac-sha256:" + "0" * 64


def side(text):
    return Side((SourceFile("policy/policy.yaml", text),))


OLD = side(SUPPORT)


def event(tool="orders.search", clear=None, hidden=(), **fields):
    server, _, name = tool.partition(".")
    given = {
        "type": EventType.TOOL_CALL,
        "principal_kind": "agent",
        "principal": "support-1",
        "session": "s1",
        "action": "tool",
        "verdict": "allow",
        "risk": "read",
    }
    return Event(
        v=1,
        id=f"{abs(hash(tool)) % 10**6:032x}",
        time=BEGAN + timedelta(seconds=1),
        gateway="example.org/gate",
        server=server,
        name=name,
        parameters=clear or {},
        commitments={f"arguments.{one}": KEYED for one in hidden},
        **{**given, **fields},
    )


def opened(tools, session="s1"):
    return Event(
        v=1,
        id="f" * 32,
        time=BEGAN,
        type=EventType.ADMIN,
        gateway="example.org/gate",
        method="sessions.open",
        verdict="allow",
        session=session,
        parameters={"tools": tools},
    )


def replay(new, *events, old=OLD, **more):
    run = Replay(old, side(new), **more)
    return list(run.run(events)), run.summary


def test_what_does_not_change_is_proven_without_knowing_the_arguments():
    moved = "# a comment\n" + SUPPORT.replace("kb.search, files.read", "files.read, kb.search")
    found, told = replay(moved, event(hidden=["customer_id", "limit"]), event("kb.search"))
    assert found == []
    assert (told.decisions, told.same, told.changed, told.undetermined) == (2, 2, 0, 0)


def test_a_grant_that_is_gone_changes_every_call_of_it_and_no_other():
    lost = SUPPORT.replace("allowed_tools: [kb.search, files.read]", "allowed_tools: [files.read]")
    calls = [event("kb.search", hidden=["query"]) for _ in range(3)]
    found, told = replay(lost, *calls, event(clear={"customer_id": "C-1"}))
    assert [(one.kind, one.target, one.old, one.new) for one in found] == [
        (Kind.CHANGED, "kb.search", ("allow delete",), ("deny PC3001",))
    ] * 3
    assert (told.changed, told.same) == (3, 1)
    (group,) = told.groups
    assert (group.agent, group.count) == ("support-1", 3)


def test_a_new_bound_on_an_unknown_value_is_undetermined_and_on_a_known_one_certain():
    narrow = SUPPORT.replace(
        "limit: {minimum: 1, maximum: 100}", "limit: {minimum: 1, maximum: 50}"
    )
    unknown, _ = replay(narrow, event(hidden=["customer_id", "limit"]))
    assert [(one.kind, one.new) for one in unknown] == [
        (Kind.UNDETERMINED, ("allow read", "deny PC3004 or PC3012"))
    ]
    known, _ = replay(narrow, event(clear={"limit": 80}, hidden=["customer_id"]))
    assert [one.kind for one in known] == [Kind.UNDETERMINED]  # whose row scope, nobody knows
    decided = event(clear={"limit": 80}, hidden=["customer_id"], policy=OLD.digest)
    certain, _ = replay(narrow, decided)
    assert [(one.kind, one.old, one.new) for one in certain] == [
        (Kind.CHANGED, ("allow read",), ("deny PC3004 or PC3012",))
    ]
    absent, _ = replay(narrow, event(hidden=["customer_id"], policy=OLD.digest))
    assert absent == []


def test_what_the_old_policy_let_pass_a_wider_bound_lets_pass_too():
    wide = SUPPORT.replace("maximum: 100}", "maximum: 1000}")
    found, told = replay(wide, event(hidden=["customer_id", "limit"], policy=OLD.digest))
    assert (found, told.same) == ([], 1)
    refused = event(hidden=["customer_id", "limit"], verdict="deny", check="authorize",
                    code="PC3012", policy=OLD.digest)  # fmt: skip
    found, _ = replay(wide, refused)
    assert [(one.kind, one.old) for one in found] == [
        (Kind.UNDETERMINED, ("deny PC3004 or PC3012",))
    ]


def test_content_settles_what_the_log_alone_does_not():
    narrow = SUPPORT.replace("maximum: 100}", "maximum: 50}")
    kept = {"arguments.limit": b"40", "arguments.customer_id": b'"C-1"'}
    call = event(hidden=["customer_id", "limit"], policy=OLD.digest)
    found, told = replay(narrow, call, contents=lambda _: kept)
    assert (found, told.same) == ([], 1)
    found, _ = replay(narrow, call, contents=lambda _: kept | {"arguments.limit": b"60"})
    assert [one.kind for one in found] == [Kind.CHANGED]


def test_the_task_s_grant_counts_as_it_was():
    more = SUPPORT.replace("allowed_tools: [kb.search,", "allowed_tools: [kb.read, kb.search,")
    call = event("kb.read", verdict="deny", check="authorize", code="PC3001")
    found, _ = replay(more, opened(["kb.read"]), call)
    assert [(one.old, one.new) for one in found] == [(("deny PC3001",), ("allow delete",))]
    found, _ = replay(more, opened(["kb.search"]), call)
    assert [one.new for one in found] == [("deny PC3007",)]


def test_what_was_refused_before_policy_was_asked_changes_nothing():
    lost = SUPPORT.replace("allowed_tools: [kb.search, files.read]", "allowed_tools: [files.read]")
    refused = [
        event("kb.search", verdict="deny", check="contain", code="PC4001"),
        event("kb.search", verdict="deny", check="validate", code="PC3010"),
    ]
    found, told = replay(lost, *refused)
    assert (found, told.refused, told.same) == ([], 2, 2)


def test_a_higher_class_is_a_change_and_a_name_that_nobody_knows_is_undetermined():
    risky = SUPPORT.replace("verb: read\n    risk: read", "verb: read\n    risk: external")
    found, _ = replay(risky, event(clear={"customer_id": "C-1"}, policy=OLD.digest))
    assert [(one.old, one.new) for one in found] == [(("allow read",), ("allow external",))]
    lost = SUPPORT.replace("models: [gpt-*, claude-*]", "models: [gpt-*]")
    model = {"type": EventType.LLM_CALL, "action": "model", "tool": "api.claude-9"}
    found, _ = replay(lost, event(**model))
    assert [one.kind for one in found] == [Kind.CHANGED]


CHANGES = (
    ("maximum: 100}", "maximum: 50}"),
    ("minimum: 1,", "minimum: 5,"),
    ("enum: [open, closed]", "enum: [open]"),
    ("verb: read\n    risk: read", "verb: read\n    risk: modify"),
    ("- read: orders", ""),
    ("permissions: [{read: orders}, ", "permissions: ["),
    ("equals: session.subject.customer_id", "equals: session.user"),
    ("denied_tools: [crm.delete,", "denied_tools: [crm.delete, orders.export,"),
    ("limit: {minimum: 1, maximum: 100}", "limit: {required: true}"),
)
SIDES = [OLD, *(side(SUPPORT.replace(was, now)) for was, now in CHANGES)]


@settings(max_examples=150, deadline=None)
@given(
    old=st.sampled_from(SIDES),
    new=st.sampled_from(SIDES),
    arguments=st.fixed_dictionaries(
        {},
        optional={
            "customer_id": st.sampled_from(["C-1", "C-2", 7, None]),
            "limit": st.sampled_from([0, 1, 4, 5, 50, 51, 100, 101, "x"]),
            "status": st.sampled_from(["open", "closed", "gone"]),
        },
    ),
    hide=st.sets(st.sampled_from(["customer_id", "limit", "status"])),
    told=st.booleans(),
)
def test_what_is_said_of_hidden_values_is_so_whatever_they_are(old, new, arguments, hide, told):
    """Against the truth: what either policy says with all values and the session's row scope."""
    hidden = [name for name in arguments if name in hide]
    clear = {name: value for name, value in arguments.items() if name not in hide}
    run = Replay(old, new)
    (asked,) = [
        run._restoring.take(one) for one in [event(clear=clear, hidden=hidden, policy="other")]
    ]
    subject = {"customer_id": "C-1", "": "ada"}
    truth = [one.decide(asked, arguments, subject) for one in (old, new)]
    call = event(clear=clear, hidden=hidden)
    if told:
        was = truth[0]
        more = {} if was.allowed else {"verdict": "deny", "check": "authorize", "code": was.code}
        fields = {"policy": old.digest, **more}
        call = msgspec.structs.replace(call, **fields)
    found = list(run.run([call]))
    kind = found[0].kind if found else Kind.SAME
    bounds = {"PC3004", "PC3012"}  # of several that break, which is named is not told
    equal = truth[0] == truth[1] or {one.code for one in truth} <= bounds
    if kind is Kind.SAME:
        assert equal
    if kind is Kind.CHANGED:
        assert not equal


def test_a_thing_that_is_called_like_a_word_of_ours_is_told_apart():
    """What is left out of a comparison are lines, never names or values."""
    named = SUPPORT.replace("read: orders}", "read: rule}").replace(
        "resource: orders", "resource: rule"
    )
    lost = named.replace("[{read: rule}, {write", "[{write")
    (found,), told = replay(lost, event(hidden=["customer_id"]), old=side(named))
    assert (found.kind, found.new, told.proven) == (Kind.CHANGED, ("deny PC3001",), 0)
    listed = SUPPORT.replace("[open, closed]", '["roles. @ a:1", "b"]')
    other = listed.replace("a:1", "a:2")
    known = event(clear={"status": "roles. @ a:1"}, hidden=["customer_id"])
    assert replay(other, known, old=side(listed))[1].proven == 0
