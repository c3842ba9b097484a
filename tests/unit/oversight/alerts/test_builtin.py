"""The built-in rules: each is raised by what it is for, and not by what merely looks like it."""

import msgspec
import pytest

from controls import register
from happenings import event, fed, over
from portcullis.core.alert import UNSILENCED
from portcullis.core.codes import CODES
from portcullis.core.event import EventType
from portcullis.oversight.alerts.builtin import builtin
from portcullis.oversight.alerts.engine import Engine

RULES = {rule.name: rule for rule in builtin()}


def many(count, seconds=1.0, **fields):
    """So many events, evenly; ``{}`` in a value is the number."""
    return [
        event(
            number * seconds,
            **{
                key: value.format(number) if isinstance(value, str) else value
                for key, value in fields.items()
            },
        )
        for number in range(count)
    ]


def level(name):
    """An agent's risk is at this level."""
    said = {"agent": "a", "level": name, "before": "normal", "score": 1.0, "kinds": []}
    return event(type="admin", verdict="allow", method="behaviour.level", parameters=said)


def decided(how, *agents):
    """People decided about these agents' calls, one every ten minutes."""
    return [
        event(number * 600, **ADMIN, method=f"approval.{how}", parameters={"agent": agent})
        for number, agent in enumerate(agents)
    ]


def active(at, digest):
    """A policy came into force."""
    return event(at, **ADMIN, method="policy.activate", parameters={"policy": digest})


def ruled(*digests):
    """Rules of alerts came into force, one after the other."""
    return [
        event(number, **ADMIN, method="alert.rules", parameters={"digest": one})
        for number, one in enumerate(digests)
    ]


def reviewed(how, **more):
    """What an agent may was held against what was confirmed, or was confirmed."""
    return event(9, **ADMIN, method=f"policy.{how}", parameters={"agent": "a"} | more)


def observed(how):
    """An agent is observed, or was, or what was seen became a draft."""
    return event(9, **ADMIN, method=f"policy.{how}", parameters={"agent": "a"})


def channel(how):
    """A channel of notifications fails, works again, or gave a message up."""
    return event(9, **ADMIN, method=f"notification.{how}", parameters={"channel": "chat"})


def silenced(rule, **fields):
    """Somebody silenced a rule."""
    return event(**ADMIN | fields, method="alert.silenced", parameters={"rule": rule})


ADMIN = {"type": "admin", "verdict": "allow"}
OPERATOR = ADMIN | {"principal_kind": "operator", "principal": "eve"}
DENIED = {"principal": "a", "verdict": "deny"}
CASES = {
    "cut-off": (
        [event(**ADMIN, method="kills.kill", name="a")],
        [event(**ADMIN, method="principals.show", name="a")],
    ),
    "acts-after-cut": (many(20, **DENIED, code="PC4010"), many(19, **DENIED, code="PC4001")),
    "feed-stale": (many(3, code="PC4002", verdict="deny"), many(3, 40, code="PC4002")),
    "quarantined": (
        [event(**ADMIN, method="quarantine.begin", name="agent:a")],
        [event(**ADMIN, method="principals.resume", name="a")],
    ),
    "breaker-open": (
        [event(type="admin", method="breaker.open", parameters={"breaker": "upstream:crm"})],
        [event(type="admin", method="breaker.close", parameters={"breaker": "upstream:crm"})],
    ),
    "agent-observed": ([observed("observe.begin")], [observed("observe.end")]),
    "policy-drafted": ([observed("drafted")], [observed("observe.end")]),
    "policy-drift": ([reviewed("drift", approvals=0)], [reviewed("drift", approvals=1)]),
    "access-review-overdue": ([reviewed("certify.overdue")], [reviewed("certify.confirm")]),
    "risk-high": (
        [level("high")],
        [level("elevated"), level("normal")],
    ),
    "canary-left": ([event(**DENIED, code="PC3020")], [event(**DENIED, code="PC3021")]),
    "honeytoken-used": (
        [event(**DENIED, code="PC5065", findings=("HONEYTOKEN:block@x",))],
        [event(type="tool_result", server="mail", findings=("HONEYTOKEN:block@x",))],
    ),
    "honeytoken-seen": (
        [event(type="tool_result", server="mail", findings=("HONEYTOKEN:block@x",))],
        [event(**DENIED, code="PC5065", findings=("HONEYTOKEN:block@x",))],
    ),
    "injection-found": (
        many(3, 600, type="tool_result", server="mail", findings=("INJECTION:wrap@x",)),
        many(3, 600, type="tool_result", server="mail{}", findings=("INJECTION:wrap@x",)),
    ),
    "injection-then-effect": (
        [
            event(0, type="tool_result", principal="a", findings=("INJECTION:wrap@x",)),
            event(5, principal="a", risk="external", verdict="allow"),
        ],
        [
            event(0, session="s", risk="external", verdict="allow"),
            event(5, type="tool_result", session="s", findings=("INJECTION:wrap@x",)),
            event(6, session="s", risk="read", verdict="allow"),
        ],
    ),
    "data-blocked": (many(5, **DENIED, code="PC3021"), many(4, **DENIED, code="PC3021")),
    "refused-often": (many(20, 10, **DENIED, code="PC3001"), many(40, **DENIED, code="PC3040")),
    "probing": (
        [
            event(at, **DENIED, code="PC3003", name="?", commitments={"name": f"c{at}"})
            for at in range(8)
        ],
        many(15, 60, **DENIED, code="PC3003", name="tool"),
    ),
    "refused-slowly": (
        many(100, 200, **DENIED, code="PC3001"),
        many(300, 220, **DENIED, code="PC3001"),
    ),
    "beyond-rows": (many(3, 60, **DENIED, code="PC3004"), many(2, 60, **DENIED, code="PC3004")),
    "not-asked-for": (
        many(3, 60, **DENIED, code="PC3060"),
        many(3, 60, **DENIED, session="s{}", code="PC3060"),
    ),
    "two-hosts": (
        many(2, 60, credential="c", source="10.0.0.{}:99"),
        many(5, 60, credential="c", source="10.0.0.1:{}"),
    ),
    "replayed": (
        many(2, type="error", source="10.0.0.1:{}", code="PC2046"),
        many(1, type="error", source="10.0.0.1:1", code="PC2046"),
    ),
    "wrong-key": (
        many(3, type="error", source="10.0.0.1:{}", code="PC2040"),
        many(3, type="error", source="10.0.0.{}:1", code="PC2040"),
    ),
    "forged": (
        many(10, type="error", source="10.0.0.1:{}", code="PC2031"),
        many(10, type="error", source="10.0.0.1:{}", code="PC2003"),
    ),
    "enrolment-guessed": (
        many(5, type="identity", source="10.0.0.1:{}", code="PC2061", verdict="deny"),
        many(4, type="identity", source="10.0.0.1:{}", code="PC2061", verdict="deny"),
    ),
    "login-guessed": (
        many(5, type="identity", method="login", verdict="deny", code="PC2070"),
        many(9, type="identity", method="login", verdict="allow"),
    ),
    "mint-burst": (
        many(20, **ADMIN, method="tokens.mint", name="a"),
        many(20, **ADMIN, method="tokens.mint", name="a{}"),
    ),
    "approvals-refused": (
        decided("denied", "a", "a", "a"),
        [*decided("approved", "a", "a", "a", "a"), *decided("denied", "a", "b", "c", "d")],
    ),
    "asks-no-more": (
        [event(**ADMIN, method="approval.frozen", name="agent:a")],
        [event(**ADMIN, method="approval.lifted", name="agent:a")],
    ),
    "approves-own": (
        [event(type="admin", principal="eve", verdict="deny", code="PC3046")],
        [event(type="admin", principal="eve", verdict="deny", code="PC3042")],
    ),
    "waits-too-long": (
        [event(**ADMIN, method="approval.escalated", approval="x")],
        [event(**ADMIN, method="approval.reminded", approval="x")],
    ),
    "tool-changed": (
        [event(type="admin", method="catalogue.changed", server="crm", name="find")],
        [event(type="admin", method="catalogue.pin", server="crm", name="find")],
    ),
    "secret-in-result": (
        [event(type="tool_result", server="crm", findings=("GITHUB_TOKEN:mask@body",))],
        [
            event(type="tool_call", server="crm", findings=("GITHUB_TOKEN:mask@body",)),
            event(type="tool_result", server="crm", findings=("EMAIL_ADDRESS:mask@body",)),
        ],
    ),
    "policy-changed": ([active(0, "x"), active(60, "y")], [active(0, "x"), active(60, "x")]),
    "changes-at-night": (
        [event(16 * 3600, **OPERATOR, method="principals.roles", name="operator:bob")],
        [
            event(0, **OPERATOR, method="principals.roles", name="operator:bob"),
            event(16 * 3600, **OPERATOR, method="alert.acknowledged", name="x"),
            event(16 * 3600, **ADMIN, method="principals.expire", name="agent:a"),
        ],
    ),
    "policy-refused": (
        [event(type="admin", method="policy.activate", verdict="deny", code="PC7002")],
        [event(**ADMIN, method="policy.activate")],
    ),
    "rules-changed": (ruled(*"ab"), ruled(*"aaa")),
    "rules-refused": (
        [event(type="admin", method="alert.rules", verdict="deny", code="PC7002")],
        ruled("a"),
    ),
    "silenced-widely": (
        [silenced("*", principal="eve")],
        [silenced("refused-*", principal="eve"), silenced("cut-off", principal="eve")],
    ),
    "channel-failing": ([channel("failing")], [channel("recovered"), channel("failed")]),
    "kept-silenced": (
        [silenced("log-fault", principal="eve")],
        [
            silenced("refused-often", principal="eve"),
            silenced("log-*", principal="eve"),
            silenced("log-fault", principal="eve", verdict="deny"),
        ],
    ),
    "glass-broken": (
        [event(**ADMIN, method="break_glass.begun", principal="eve", name="g1")],
        [
            event(**ADMIN, method="break_glass.ended", principal="eve", name="g1"),
            event(type="admin", verdict="deny", method="break_glass.begun", name="g1"),
        ],
    ),
    "glass-unreviewed": (
        [event(**ADMIN, method="break_glass.unreviewed", name="g1")],
        [event(**ADMIN, method="break_glass.begun", principal="eve", name="g1")],
    ),
    "rights-changed": (
        [event(**ADMIN, method="principals.roles", principal="eve", name="bob")],
        [
            event(
                type="admin", verdict="deny", method="principals.roles", principal="eve", name="bob"
            )
        ],
    ),
    "log-fault": ([event(type="error", code="PC6001")], [event(type="error", code="PC6004")]),
    "unwitnessed": (
        [event(type="admin", method="witness.quorum_lost")],
        [event(type="admin", method="witness.quorum_back")],
    ),
    "erased": (
        [event(**ADMIN, method="audit.erase", principal="eve")],
        [event(**ADMIN, method="audit.hold", principal="eve")],
    ),
    "spending": (
        many(3, 60, **DENIED, code="PC3071", reason="limit month: 9 of 9"),
        many(9, 60, **DENIED, code="PC3071", reason="limit m{}: 9 of 9"),
    ),
    "upstream-fails": (
        many(3, type="tool_result", principal="a{}", server="crm", code="PC5001"),
        many(9, type="tool_result", principal="a", server="crm", code="PC5001"),
    ),
    "reflected": (
        [event(type="tool_result", server="crm", code="PC5005")],
        [event(type="tool_result", server="crm", code="PC5004")],
    ),
}


def test_every_rule_is_shown():
    assert set(CASES) == set(RULES)


@pytest.mark.parametrize("name", sorted(CASES))
def test_it_is_raised_by_what_it_is_for_and_by_nothing_that_looks_like_it(name):
    meant, near = CASES[name]
    assert [one.rule for one in fed(Engine([RULES[name]]), *meant)] == [name]
    assert not fed(Engine([RULES[name]]), *near)


ENDS = {
    "agent-observed": observed("observe.end"),
    "access-review-overdue": reviewed("certify.confirm"),
    "asks-no-more": event(9, **ADMIN, method="approval.lifted", name="agent:a"),
    "breaker-open": event(
        9, **ADMIN, method="breaker.close", parameters={"breaker": "upstream:crm"}
    ),
    "channel-failing": channel("recovered"),
    "cut-off": event(9, **ADMIN, method="kills.undo", name="a"),
    "policy-drift": reviewed("certify.confirm"),
    "policy-refused": event(9, **ADMIN, method="policy.activate"),
    "quarantined": event(9, **ADMIN, method="quarantine.end", name="agent:a"),
    "risk-high": level("normal"),
    "glass-broken": event(9, **ADMIN, method="break_glass.reviewed", name="g1"),
    "glass-unreviewed": event(9, **ADMIN, method="break_glass.reviewed", name="g1"),
    "rules-refused": event(9, **ADMIN, method="alert.rules"),
    "unwitnessed": event(9, **ADMIN, method="witness.quorum_back"),
    "waits-too-long": event(9, **ADMIN, method="approval.denied", approval="x"),
}


@pytest.mark.parametrize("name", sorted(name for name, rule in RULES.items() if rule.over))
def test_what_takes_it_back_ends_it_and_nothing_that_was_refused_does(name):
    meant, _ = CASES[name]
    engine = Engine([RULES[name]])
    (raised,) = fed(engine, *meant)
    (ended,) = over(engine, ENDS[name])
    assert (ended.rule, ended.group, ended.event) == (name, raised.group, ENDS[name].id)
    refused = msgspec.structs.replace(ENDS[name], verdict="deny", code="PC2003")
    assert not over(engine, refused)
    foreign = msgspec.structs.replace(ENDS[name], type=EventType.ERROR)
    assert not over(engine, foreign)
    assert not over(engine, *meant)


def test_a_budget_that_is_used_up_is_named_and_whoever_fills_a_network_is_one_host():
    spent = many(3, 60, **DENIED, code="PC3071", reason="limit month: 9 of 9 euros")
    (one,) = fed(Engine([RULES["spending"]]), *spent)
    assert one.group == {"limit": "month", "principal": "a"}
    assert one.hidden == ()
    addresses = many(10, type="error", source="[2001:db8:0:1::{}]:99", code="PC2031")
    (one,) = fed(Engine([RULES["forged"]]), *addresses)
    assert one.group == {"network": "2001:db8:0:1::/64"}


def test_each_of_many_changes_of_the_rules_or_the_policy_is_raised():
    assert len(fed(Engine([RULES["rules-changed"]]), *ruled(*"abccadd"))) == 4
    changes = [active(number, one) for number, one in enumerate("aabbc")]
    assert len(fed(Engine([RULES["policy-changed"]]), *changes)) == 2


def test_whoever_silences_what_must_not_be_missed_is_told_of():
    for name, rule in RULES.items():
        found = fed(Engine([RULES["kept-silenced"]]), silenced(name, principal="eve"))
        assert bool(found) == (rule.kept and name != UNSILENCED), name


def test_every_rule_says_what_it_protects_and_names_codes_that_there_are():
    threats = {control.id for control in register().controls}
    for rule in RULES.values():
        assert rule.title[0].isupper(), rule.name
        assert not rule.title.endswith("."), rule.name
        assert rule.threat in threats, rule.name
    assert {"PC3020", "PC4001"} <= set(CODES)
