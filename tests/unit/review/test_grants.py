"""If these fail, a review says that all is well of a policy by which agents may too much, or names
the wrong line."""

import time

import msgspec
import pytest

from portcullis.core.call import RiskClass
from portcullis.core.errors import Problem
from portcullis.policy.source import SourceFile
from portcullis.review import grants_apart
from portcullis.review.grants import Confirmed, Known, Used, sets_of
from portcullis.review.grants_apart import Held, Job, reviewed, reviewed_apart
from portcullis.review.grants_page import page
from portcullis.review.grants_removed import patch, without
from portcullis.review.grants_review import Asking, review

NOW = 1_800_000_000.0
DAY = 86_400.0
TEXT = """\
version: 1
windows: {office: {days: [mon], from: "08:00", to: "09:00", zone: UTC}}
agents:
  shop-1: {role: support, owner: shop, review_by: "2026-01-01"}
  ops-1: {role: ops}
roles:
  base:
    permissions: [{read: orders}, {write: tickets}]
  support:
    inherits: [base]
    allowed_tools:
      - {tool: crm.export, when: "session.user == 'ada'", during: office}
      - kb.search   # the handbook
    models: ["gpt-*", "*"]
    denied_tools: [orders.purge]
  ops:
    environments: [staging]
    allowed_tools: [crm.export]
    egress: [{host: "*.example.org"}]
tools:
  orders.search: {verb: read, resource: orders, risk: read}
  orders.purge: {verb: read, resource: orders, risk: delete}
  tickets.create: {verb: write, resource: tickets, risk: modify}
  crm.export: {risk: external}
"""


def files(text=TEXT):
    return (SourceFile("policy/main.yaml", text),)


def used(agent, name, *, action="tool", server="orders", count=3):
    return Used(
        agent=agent,
        action=action,
        server=server,
        name=name,
        count=count,
        first=NOW - DAY,
        last=NOW - DAY,
    )


def kinds(report):
    return {(one.kind, *one.agents) for one in report.findings}


def test_conditions_and_windows_count_as_open_but_environments_and_denials_hold():
    report = review(files(), Known(), NOW)
    tools = {one.name: one.risk for one in sets_of(report, "shop-1").effective}
    assert tools == {
        "orders.search": RiskClass.READ,
        "tickets.create": RiskClass.MODIFY,
        "crm.export": RiskClass.EXTERNAL,
        "kb.search": RiskClass.DELETE,
    }
    assert sets_of(report, "ops-1").effective == ()
    there = review(files(), Known(), NOW, Asking(environment="staging"))
    assert [one.name for one in sets_of(there, "ops-1").effective] == ["crm.export"]


def test_each_set_says_what_the_others_do_not():
    known = Known(
        offered=frozenset({"orders.search", "crm.export", "crm.other"}),
        registered={"shop-1": "shop", "ghost-1": "x"},
        used=(
            used("shop-1", "search"),
            used("shop-1", "purge"),
            used("shop-1", "gpt-5", action="model", server=""),
            used("ops-1", "api.example.org:443", action="egress", server=""),
            used("ops-1", "example.org:443", action="egress", server=""),
        ),
        log_from=NOW - 200 * DAY,
    )
    report = review(files(), known, NOW)
    mine = sets_of(report, "shop-1")
    assert mine.reachable == ("crm.export", "orders.search")
    counts = {one.value: (one.role, one.count, one.place) for one in mine.declared}
    assert counts == {
        "read:orders": ("base", 6, "policy/main.yaml:8"),
        "write:tickets": ("base", 0, "policy/main.yaml:8"),
        "crm.export": ("support", 0, "policy/main.yaml:12"),
        "kb.search": ("support", 0, "policy/main.yaml:13"),
        "gpt-*": ("support", 3, "policy/main.yaml:14"),
        "*": ("support", 3, "policy/main.yaml:14"),
    }
    ops = sets_of(report, "ops-1")
    assert [(one.value, one.count) for one in ops.declared] == [
        ("crm.export", 0),
        ("*.example.org", 3),
    ]
    assert (ops.registered, ops.reachable) == (False, ())
    assert {
        ("ownerless", "ops-1"),
        ("overdue", "shop-1"),
        ("unregistered", "ops-1"),
        ("unnamed", "ghost-1"),
        ("beyond", "shop-1"),
        ("unclassed", "shop-1"),
        ("bare_wildcard", "shop-1"),
        ("wildcard", "shop-1"),
        ("wildcard", "ops-1"),
        ("admin_role", "shop-1"),
    } <= kinds(report)
    idle = {one.id for one in report.findings if one.kind == "unused"}
    assert idle == {
        "unused:roles.base.permissions[1]",
        "unused:roles.support.allowed_tools[0]",
        "unused:roles.support.allowed_tools[1]",
        "unused:roles.ops.allowed_tools[0]",
    }
    beyond = next(one for one in report.findings if one.kind == "beyond")
    assert beyond.text == "shop-1: orders.purge"


def test_nothing_is_called_unused_by_a_log_that_is_too_young_or_of_a_grant_that_is_new():
    known = Known(used=(), log_from=NOW - 30 * DAY)
    assert not [one for one in review(files(), known, NOW).findings if one.kind == "unused"]
    asking = Asking(unused_days=20)
    assert [one for one in review(files(), known, NOW, asking).findings if one.kind == "unused"]
    new = Known(used=(), log_from=NOW - 30 * DAY, then=frozenset())
    found = review(files(), new, NOW, asking).findings
    assert not [one for one in found if one.kind == "unused"]


def test_a_confirmation_lasts_as_long_as_is_said():
    lately = {"shop-1": Confirmed(at=NOW - 40 * DAY, by="ada", release=3)}
    known = Known(confirmed=lately, log_from=NOW - 50 * DAY)
    report = review(files(), known, NOW)
    assert (sets_of(report, "shop-1").due, sets_of(report, "ops-1").due) == (0.0, 0.0)
    monthly = review(files(), known, NOW, Asking(certify_days=30))
    dues = [sets_of(monthly, name).due for name in ("shop-1", "ops-1")]
    assert dues == [NOW - 10 * DAY, NOW - 20 * DAY]
    assert {("overdue", "shop-1"), ("overdue", "ops-1")} <= kinds(monthly)


def test_the_page_runs_nothing_and_takes_no_text_for_markup():
    evil = TEXT.replace("owner: shop", 'owner: "<script>alert(1)</script>"')
    text = page(review(files(evil), Known(), NOW))
    assert "<script" not in text
    assert "&lt;script&gt;alert(1)" in text
    assert "default-src &#39;none&#39;; style-src &#39;sha256-" in text


@pytest.mark.parametrize(
    ("agent", "path", "gone"),
    [
        ("shop-1", "roles.base.permissions[0]", "{read: orders}, "),
        ("shop-1", "roles.support.models[1]", ', "*"'),
        ("shop-1", "roles.support.allowed_tools[1]", "      - kb.search   # the handbook\n"),
        ("ops-1", "roles.ops.allowed_tools[0]", "crm.export"),
        ("ops-1", "roles.ops.egress[0]", '{host: "*.example.org"}'),
    ],
    ids=["first", "last", "block", "only", "egress"],
)
def test_one_grant_is_taken_out_and_the_rest_stays_as_it_was_written(agent, path, gone):
    left = without(files(), agent, path)
    index = TEXT.index(gone, TEXT.index("ops:") if agent == "ops-1" else 0)
    index = TEXT.rindex(gone, 0, TEXT.index("tools:\n  orders")) if agent == "ops-1" else index
    assert left[0].text == TEXT[:index] + TEXT[index + len(gone) :]
    assert patch(files(), left).startswith("--- a/main.yaml\n+++ b/main.yaml\n")


def test_what_others_have_too_goes_only_on_request_and_what_is_not_there_not_at_all():
    text = TEXT.replace("ops-1: {role: ops}", "ops-1: {role: support, owner: x}")
    with pytest.raises(Problem) as shared:
        without(files(text), "shop-1", "roles.support.allowed_tools[0]")
    assert (shared.value.code, "ops-1" in shared.value.detail) == ("PC7047", True)
    left = without(files(text), "shop-1", "roles.support.allowed_tools[0]", everybody=True)
    assert "crm.export, when" not in left[0].text
    for agent, rule in (("nobody", "x"), ("shop-1", "roles.ops.allowed_tools[0]")):
        with pytest.raises(Problem) as missing:
            without(files(text), agent, rule)
        assert missing.value.code == "PC7049"


def test_a_large_policy_is_reviewed_in_a_process_of_its_own_with_the_same_end(monkeypatch):
    held = Held(
        files(TEXT.replace("      - kb.search   # the handbook\n", "")), frozenset({"shop-1"})
    )
    known = Known(
        offered=frozenset({"crm.export"}),
        registered={"shop-1": "shop"},
        used=(used("shop-1", "search"),),
        log_from=NOW - 200 * DAY,
        confirmed={"shop-1": Confirmed(at=NOW - DAY, by="ada", release=1)},
    )
    job = Job(files=files(), known=known, now=NOW, asking=Asking(release=2), held=(held,))
    here = reviewed(job)
    assert here.gained == {"shop-1": ("tool kb.search",)}
    assert ("widened", "shop-1") in kinds(here.report)
    began = []
    monkeypatch.setattr(grants_apart, "LARGE", 0)
    assert reviewed_apart(job, began.append) == here
    assert [one.returncode for one in began] == [0]
    with pytest.raises(Problem) as wrong:
        reviewed_apart(msgspec.structs.replace(job, files=files("version: 1\nx: 1\n")))
    assert wrong.value.code == "PC7002"


def test_a_review_of_two_hundred_agents_takes_seconds():
    agents = "".join(f"  bot-{n}: {{role: support, owner: shop}}\n" for n in range(200))
    began = time.monotonic()
    report = review(files(TEXT.replace("agents:\n", f"agents:\n{agents}")), Known(), NOW)
    assert len(report.agents) == 202
    assert time.monotonic() - began < 10
