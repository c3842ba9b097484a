"""If these fail, whoever responds to an incident sees less than the logs hold, or another's."""

from __future__ import annotations

import pytest

from histories import SHOP, Past, second
from portcullis.core.errors import Problem
from portcullis.core.incident import Subject
from portcullis.review.incident_timeline import LogTimeline
from portcullis.review.incident_words import KINDS
from portcullis.store.happened import SqlHappened


@pytest.fixture(scope="module")
def past(tmp_path_factory):
    made = Past(tmp_path_factory.mktemp("timeline"))
    made.event(0, "identity", method="svid.issue", principal_kind="agent", principal="shop",
               credential="svid:01", source="10.0.0.5:1", verdict="allow")  # fmt: skip
    made.event(1, "admin", method="sessions.open", principal_kind="application", principal="web",
               name="agent:shop", session="s1", verdict="allow")  # fmt: skip
    made.call(2, "crm.read", commitments={"arguments.id": "hmac-sha256:" + "ab" * 32})
    made.call(3, "mail.send", risk="external", parameters={"subject": "hi\x1b[31m"},
              commitments={"arguments.to": "hmac-sha256:" + "cd" * 32})  # fmt: skip
    made.call(4, "crm.drop", verdict="deny", code="PC3002", reason="not granted", risk="delete")
    made.call(5, "crm.read", log="gw-2", findings=("INJECTION:hold@result",), verdict="hold",
              approval="a1")  # fmt: skip
    made.admin(6, "approval.approved", name="a1", approval="a1",
               parameters={"agent": "shop", "session": "s1", "reason": "fine"})  # fmt: skip
    made.call(7, "crm.read", log="gw-2", approval="a1", session="s2")
    made.event(8, "tool_result", principal_kind="agent", principal="shop", server="crm",
               name="read", session="s2", verdict="allow", decision="x")  # fmt: skip
    made.admin(9, "kills.kill", name="session:s2", parameters={"reason": "odd"})
    made.event(10, "admin", method="behaviour.level", verdict="allow",
               parameters={"agent": "shop", "level": "high"})  # fmt: skip
    made.event(11, "admin", method="breaker.open", verdict="allow",
               parameters={"breaker": "agent:shop", "reason": "denied"})  # fmt: skip
    made.admin(12, "kills.kill", name="all:*", parameters={"reason": "everybody"})
    made.admin(13, "quarantine.begin", name="agent:shop", parameters={"reason": "odd"})
    made.admin(14, "principals.rotate", name="agent:shop")
    made.call(15, "crm.read", verdict="deny", code="PC3070", session="s2")
    made.call(3.5, "crm.read", principal="other", session="s9")
    made.admin(3.6, "kills.kill", name="agent:other", parameters={"reason": "not ours"})
    made.admin(3.7, "principals.suspend", name="agent:other", principal="shop")
    yield made.written()
    made.close()


def everything(past: Past, subject: Subject = SHOP, **wanted):
    rows, cursor = [], ""
    while True:
        page = past.timeline.read(subject, 0.0, 0.0, cursor=cursor, **wanted)
        rows += page.rows
        cursor = page.next
        if not cursor:
            return rows


def test_all_that_an_agent_did_and_that_was_done_to_it_is_told_in_order_of_time(past) -> None:
    rows = everything(past)
    assert [one.at - second(0) for one in rows] == [*range(16)]
    assert [one.kind for one in rows] == [
        "credential", "session", "read", "write", "denied", "approval", "approval", "read",
        "result", "kill", "behaviour", "limit", "kill", "quarantine", "credential", "limit",
    ]  # fmt: skip
    assert {one.log for one in rows} == {"gate", "gw-2"}


def test_what_is_done_to_its_role_is_done_to_it(tmp_path) -> None:
    made = Past(tmp_path)
    made.admin(0, "kills.kill", name="role:seller", parameters={"reason": "all of them"})
    made.admin(1, "kills.kill", name="role:clerk", parameters={"reason": "others"})
    made.written()
    happened = SqlHappened(made.engine, lambda agent: "seller" if agent == "shop" else "")
    (row,) = LogTimeline(happened, made.logs).read(SHOP, 0.0, 0.0).rows
    assert row.text.startswith("kills.kill role:seller")
    made.close()


def test_each_row_says_where_in_the_log_it_stands(past) -> None:
    logs = past.logs()
    for row in everything(past):
        assert logs.event(row.log, row.index).id == row.id


def test_pages_of_any_size_hold_the_same(past) -> None:
    whole = everything(past)
    for limit in (1, 2, 5):
        assert everything(past, limit=limit) == whole


@pytest.mark.parametrize(
    ("kinds", "count"),
    [(("write",), 1), (("denied", "limit"), 3), (("finding",), 1), (("kill",), 2), (("model",), 0)],
)
def test_a_filter_leaves_out_nothing_of_its_kind(past, kinds, count) -> None:
    assert len(everything(past, kinds=kinds, limit=2)) == count


def test_a_session_has_its_own_history_only(past) -> None:
    rows = everything(past, Subject(agent="shop", session="s2"))
    assert [one.at - second(0) for one in rows] == [7, 8, 9, 12, 15]


def test_a_line_shows_commitments_and_nothing_that_a_terminal_acts_on(past) -> None:
    sent = next(one for one in everything(past) if one.kind == "write")
    assert "to=#cdcdcdcdcdcd" in sent.text
    assert "\\x1b" in sent.text
    assert sent.name == "mail.send"
    assert "10.0.0.5" in sent.text
    assert all(one.text.isprintable() for one in everything(past))


def test_a_page_looks_at_a_bounded_piece_and_goes_on_behind_it(past) -> None:
    timeline = LogTimeline(past.happened, past.logs, walk=3)
    first = timeline.read(SHOP, 0.0, 0.0, kinds=("quarantine",))
    assert first.rows == ()
    assert first.next
    rows, cursor, pages = [], "", 0
    while pages == 0 or cursor:
        page = timeline.read(SHOP, 0.0, 0.0, kinds=("quarantine",), cursor=cursor)
        rows, cursor, pages = [*rows, *page.rows], page.next, pages + 1
    assert [one.kind for one in rows] == ["quarantine"]
    assert pages > 4


@pytest.mark.parametrize(
    ("wanted", "code"), [({"cursor": "nonsense!"}, "PC3051"), ({"kinds": ("<b>",)}, "PC1020")]
)
def test_what_is_asked_wrongly_is_refused(past, wanted, code) -> None:
    with pytest.raises(Problem) as refused:
        past.timeline.read(SHOP, 0.0, 0.0, **wanted)
    assert refused.value.code == code


def test_every_kind_has_a_meaning(past) -> None:
    assert {one.kind for one in everything(past)} <= KINDS.keys()


def test_a_log_that_is_not_what_was_signed_is_not_told_of(tmp_path) -> None:
    made = Past(tmp_path)
    made.call(0)
    made.written()
    (bundle,) = (path for path in made.places["gate"].rglob("entries/*") if path.is_dir())
    tile = next(path for path in bundle.rglob("*") if path.is_file())
    content = tile.read_bytes()
    tile.chmod(0o600)
    tile.write_bytes(content.replace(b"crm", b"xxx"))
    with pytest.raises(Problem) as refused:
        made.timeline.read(SHOP, 0.0, 0.0)
    assert refused.value.code == "PC6002"
    made.close()
