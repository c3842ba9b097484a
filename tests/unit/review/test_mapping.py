"""The data files: complete, strict, and never promising what is not there."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from portcullis.review import mapping
from portcullis.review.conditions import CONDITIONS
from portcullis.review.evaluate import State, assess, judge
from portcullis.review.facts import Kind
from portcullis.review.mapping import FRAMEWORKS, Row, concerned, framework, register
from portcullis.review.oscal import control_id
from portcullis.review.signals import SIGNALS
from unit.review.making import created, event, review


@pytest.mark.parametrize("name", FRAMEWORKS)
def test_a_framework_names_each_control_once_and_never_calls_it_met(name):
    rows = framework(name).rows
    ids = [control_id(name, row.control) for row in rows]
    assert len(ids) == len(set(ids)) > 5
    for row in rows:
        assert not any(word in row.title.lower() for word in ("complian", "complied", "conform"))


@pytest.mark.parametrize("name", FRAMEWORKS)
def test_what_is_not_built_is_never_evidenced(name):
    case = review([created(0), event(1)])
    found = assess(case, name, judge(case, (name,)))
    for row, state in zip(framework(name).rows, found.rows, strict=True):
        if row.missing:
            assert state.state is not State.EVIDENCED
            assert state.reason == row.missing or state.gaps
    assert found.count(State.EVIDENCED)


def test_every_condition_and_every_signal_is_used_by_some_row():
    rows = [row for name in FRAMEWORKS for row in framework(name).rows]
    assert {gap for row in rows for gap in row.gaps} == CONDITIONS.keys()
    assert {signal for row in rows for signal in row.evidence} == SIGNALS.keys()


def test_what_the_register_of_controls_is_evidence_for_has_a_row():
    known = {(name, row.control) for name in FRAMEWORKS for row in framework(name).rows}
    claimed = {
        (name, one)
        for control in register().controls
        for name, ids in control.frameworks.items()
        for one in ids
        if name in FRAMEWORKS
    }
    assert claimed <= known


def test_a_baseline_selects_its_rows():
    chosen = {row.control for row in framework("fedramp-moderate").rows}
    assert {"AC-2", "AU-9", "SI-4"} <= chosen
    assert not chosen & {"AU-9(3)", "AU-10", "IA-9"}


@pytest.mark.parametrize(
    "row",
    [
        {"evidence": ("nothing",)},
        {"evidence": ("decisions",), "gaps": ("never",)},
        {"settings": ("secret",)},
        {"evidence": ("decisions",), "controls": ("luck",)},
        {},
    ],
)
def test_a_row_that_names_what_does_not_exist_is_refused(row):
    with pytest.raises(KeyError):
        mapping._check(Row(control="X-1", title="x", **row), {"authorize"})


def test_nobody_evaluates_a_framework_that_does_not_exist():
    with pytest.raises(KeyError):
        framework("soc9")


def test_a_gap_knows_the_controls_that_it_concerns():
    found = concerned("agent-without-owner", ("soc2", "gdpr", "eu-ai-act"))
    assert found == {"soc2": ("CC6.2",), "gdpr": ("30",)}


def test_ids_of_800_53_are_those_of_the_published_catalogue():
    assert control_id("fedramp-moderate", "AC-2(12)") == "ac-2.12"
    assert control_id("gdpr", "5(1)(c)") == "gdpr_5-1-c"


KIND = Kind("tool_call", "allow", "", "", "agent", "", session=False)
SEEN = {
    "decisions": KIND,
    "decisions_in_session": KIND._replace(session=True),
    "tool_calls": KIND,
    "model_calls": KIND._replace(type="llm_call"),
    "boxes": KIND._replace(type="admin", method="sandbox.start"),
    "results": KIND._replace(type="result"),
    "denials": KIND._replace(verdict="deny"),
    "holds": KIND._replace(verdict="hold", code="PC3040"),
    "human_decisions": KIND._replace(type="admin", method="approval.denied"),
    "dispositions": KIND._replace(type="admin", method="review.closed"),
    "policy_denials": KIND._replace(verdict="deny", code="PC3001"),
    "scope_denials": KIND._replace(verdict="deny", code="PC3004"),
    "argument_denials": KIND._replace(verdict="deny", code="PC3010"),
    "malformed_requests": KIND._replace(type="error", code="PC1003"),
    "bound_denials": KIND._replace(type="error", code="PC1007"),
    "identity_refusals": KIND._replace(type="error", code="PC2001"),
    "containment_denials": KIND._replace(verdict="deny", code="PC4001"),
    "withheld_results": KIND._replace(type="tool_result", verdict="deny"),
    "detections": KIND._replace(treatments="note"),
    "masked": KIND._replace(treatments="mask+wrap"),
    "data_denials": KIND._replace(code="PC3021"),
    "injections": KIND._replace(treatments="wrap"),
    "canaries": KIND._replace(code="PC3020"),
    "tools_pinned": KIND._replace(type="admin", method="catalogue.pin", principal=""),
    "tools_approved": KIND._replace(type="admin", method="catalogue.pin", principal="operator"),
    "tools_changed": KIND._replace(type="admin", verdict="deny", code="PC3026"),
    "registrations": KIND._replace(type="admin", method="principals.create"),
    "reviews": KIND._replace(type="admin", method="principals.review"),
    "cut_offs": KIND._replace(type="admin", method="principals.revoke"),
    "operator_acts": KIND._replace(type="admin", principal="operator"),
    "credentials_issued": KIND._replace(type="identity", method="svid.issue"),
    "credentials_renewed": KIND._replace(type="identity", method="svid.renew"),
    "certificates": KIND._replace(type="identity", method="svid.renew", principal="gateway"),
    "sessions_opened": KIND._replace(type="admin", method="sessions.open"),
    "sessions_closed": KIND._replace(type="admin", method="sessions.close"),
    "policies": KIND._replace(type="admin", method="policy.activate"),
    "policies_approved": KIND._replace(
        type="admin", method="policy.release.approve", verdict="allow"
    ),
    "policy_refusals": KIND._replace(type="admin", method="policy.activate", verdict="deny"),
    "credentials_reflected": KIND._replace(type="tool_result", code="PC5005"),
    "erasures": KIND._replace(type="admin", method="audit.erased"),
    "content_readings": KIND._replace(type="admin", method="content.read"),
    "gap_changes": KIND._replace(type="admin", method="evidence.gap"),
    "packages": KIND._replace(type="admin", method="evidence.package"),
    "limit_denials": KIND._replace(verdict="deny", code="PC3071"),
    "breaker_openings": KIND._replace(type="admin", method="breaker.open"),
    "risk_changes": KIND._replace(type="admin", method="behaviour.level"),
}
NOTHING = Kind("", "", "", "", "", "", session=False)


@pytest.mark.parametrize("name", SIGNALS)
def test_each_signal_counts_its_own_events_and_not_any(name):
    assert SIGNALS[name].matches(SEEN[name])
    assert not SIGNALS[name].matches(NOTHING)


def test_a_state_follows_gaps_before_what_is_missing_before_evidence():
    case = review([created(0, owner=""), event(1)])
    judged = judge(case, FRAMEWORKS)
    rows = {row.control: row for row in assess(case, "nist-800-53", judged).rows}
    assert rows["AC-2"].state is State.GAP
    assert [gap.condition for gap in rows["AC-2"].gaps] == ["agent-without-owner"]
    assert rows["AU-9"].state is State.NOT_EVALUATED  # nobody verified the log
    assert rows["AU-3"].state is State.EVIDENCED
    assert rows["SI-20"].reason == "nothing of the kind happened in the logs' period"
    assert rows["SC-8"].settings == {"plain": "none"}


def test_since_when_is_told_by_the_log_where_nothing_else_tells():
    opened = event(
        0,
        type="admin",
        method="evidence.gap",
        name="unbound-tokens",
        server="",
        parameters={"state": "opened"},
    )
    case = review([opened], tokens_bound=False)
    found = judge(case, ("soc2",))["unbound-tokens"]
    assert found.since == opened.time
    fresh = replace(case, facts=review().facts)
    assert judge(fresh, ("soc2",))["unbound-tokens"].since is None
