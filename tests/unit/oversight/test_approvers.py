"""Who may approve what, by the rules: what a rule speaks of, and whom it names."""

import pytest

from portcullis.config import Approvals, Config
from portcullis.core.approval import Approval, Shown, State
from portcullis.core.call import RiskClass
from portcullis.core.errors import Problem
from portcullis.oversight.approvers import Asked, Beside, answerable, qualified, ruled, speaks

MONDAY_NOON = 1_795_435_200.0  # 2026-11-23T12:00:00Z


def asked(*, name="pay", owners=("Shop Team",), now=MONDAY_NOON, environment="production", **given):
    approval = Approval(
        id="a" * 32,
        state=State.PENDING,
        binding="b",
        agent="buyer",
        session="s",
        action="tool",
        server="bank",
        name=name,
        risk=RiskClass.EXTERNAL,
        created_at=now,
        expires_at=now + 60,
    )
    shown = Shown(
        agents=("buyer", "planner"),
        application="shop",
        user="ann",
        prompts=(),
        subject={},
        grant=None,
        bounds={},
        called=name,
        method="tools/call",
        arguments=given,
        request={},
        reason="",
        rule="",
        questions=(),
        recent=(),
    )
    return Asked(approval=approval, shown=shown, owners=owners, environment=environment, now=now)


def settings(*rules, **teams):
    whole = [{"name": f"rule-{at}", "operators": ["bea"], **rule} for at, rule in enumerate(rules)]
    return Approvals.model_validate({"rules": whole, "teams": teams})


def holds(rule, **call):
    return speaks(settings(rule).rules[0], asked(**call))


@pytest.mark.parametrize(
    ("rule", "others"),
    [
        ({"risk": ["external", "delete"]}, {"risk": ["read"]}),
        ({"calls": ["shop.*", "BANK.p*"]}, {"calls": ["pay", "bank", "bank.pa"]}),
        ({"servers": ["bank"]}, {"servers": ["ban", "bank."]}),
        ({"agents": ["plan*"]}, {"agents": ["plan"]}),
        ({"owners": ["shop team"]}, {"owners": ["shop"]}),
        ({"environments": ["production"]}, {"environments": ["staging"]}),
        ({"over": {"amount": 99}}, {"over": {"amount": 100}}),
        (
            {"during": {"days": ["mon"], "from": "12:00", "to": "18:00"}},
            {"during": {"days": ["mon"], "from": "12:00", "to": "18:00", "zone": "Europe/Athens"}}
            | {"servers": ["x"]},
        ),
    ],
)
def test_a_rule_speaks_of_what_it_says_and_of_nothing_else(rule, others):
    assert holds(rule, amount=100)
    assert not holds(others, amount=100)
    assert not holds(rule | {"servers": ["another"]}, amount=100), "all of it has to hold"


def test_what_cannot_be_known_is_what_the_rule_speaks_of():
    for amount in ("12", None, True, float("nan"), [1], {}):
        assert holds({"over": {"amount": 100}}, amount=amount), amount
    assert holds({"over": {"amount": 100}})
    assert holds({"over": {"order.total": 5}}, order={"total": 6})
    assert not holds({"over": {"order.total": 5}}, order={"total": 5})
    assert not holds({"over": {"order.total": 5}}, **{"order.total": 1, "order": {"total": 9}})
    assert holds({"calls": ["mail.send"]}, name="?")
    assert holds({"calls": ["mail.send"]}, name="x" * 200), "more of it may have been cut off"
    assert holds({"owners": ["finance"]}, owners=(None,))


def test_hours_are_those_of_the_zone_and_go_on_past_midnight():
    night = {"days": ["sun"], "from": "22:00", "to": "06:00", "zone": "Europe/Berlin"}
    assert holds({"during": night}, now=MONDAY_NOON - 8 * 3600)  # 05:00 in Berlin
    assert not holds({"during": night}, now=MONDAY_NOON - 7 * 3600)


def test_every_rule_that_speaks_has_to_name_the_approver_by_a_whole_name():
    found = settings(
        {"servers": ["bank"], "operators": None, "teams": ["finance"]},
        {"over": {"amount": 1000}, "operators": ["Cy@shop.example"]},
        finance=["bea", "cy@shop.example"],
    )

    def by(*names, amount):
        return ruled(found.rules, found.teams, asked(amount=amount), names)

    qualified(by("bea", amount=10))
    qualified(by("oidc-1", "CY@shop.example", amount=2000))
    for names, amount, rule in [(("dan",), 10, "rule-0"), (("bea",), 2000, "rule-1")]:
        with pytest.raises(Problem) as refused:
            qualified(by(*names, amount=amount))
        assert refused.value.code == "PC3080"
        assert f"rule {rule}" in refused.value.detail
    with pytest.raises(Problem):
        qualified(by("cy", "cy@other.example", amount=10))


def test_a_rule_with_nobody_stops_everybody():
    (found,) = ruled(settings({"operators": []}).rules, {}, asked(), ("bea",))
    assert (str(found), found.you) == ("nobody", False)


@pytest.mark.parametrize(
    "rules",
    [
        [{"name": "a"}],
        [{"name": "a", "operators": []}, {"name": "a", "operators": []}],
        [{"name": "a", "teams": ["unknown"]}],
        [{"name": "a", "operators": [], "risk": ["high"]}],
        [{"name": "a", "operators": [], "amount": {"x": 1}}],
        [
            {
                "name": "a",
                "operators": [],
                "during": {"days": ["mon"], "from": "24:00", "to": "8:00"},
            }
        ],
        [
            {
                "name": "a",
                "operators": [],
                "during": {"days": ["mon"], "from": "08:00", "to": "09:00", "zone": "Mars/North"},
            }
        ],
    ],
    ids=["nobody-named", "twice", "no-team", "no-risk", "no-key", "no-hour", "no-zone"],
)
def test_a_rule_that_says_what_nobody_meant_does_not_load(rules):
    with pytest.raises(ValueError, match="rules"):
        Approvals.model_validate({"rules": rules})


@pytest.mark.parametrize(
    ("rule", "others"),
    [
        ({}, None),
        ({"agents": ["pay-*"]}, {"agents": ["shop-*"]}),
        ({"owners": ["finance"]}, {"owners": ["shop team"]}),
        ({"environments": ["production"]}, {"environments": ["staging"]}),
    ],
)
def test_a_rule_speaks_of_releases_or_of_incidents_and_then_of_no_call(rule, others):
    def about(kind, given, agents=("pay-1", "x"), owners=("finance",)):
        rule = settings(given | {f"{kind}s": True}).rules[0]
        beside = {
            one: speaks(
                rule,
                Beside(
                    kind=one,
                    agents=agents,
                    owners=owners,
                    environment="production",
                    now=MONDAY_NOON,
                ),
            )
            for one in ("release", "incident")
        }
        assert not speaks(rule, asked())
        assert not beside["incident" if kind == "release" else "release"]
        return beside[kind]

    for kind in ("release", "incident"):
        assert about(kind, rule)
        assert about(kind, rule, agents=(None,), owners=(None,)), "what cannot be known holds"
        assert others is None or not about(kind, others)
        if "agents" in rule:
            assert not about(kind, rule, agents=()), "it is about no agent"


@pytest.mark.parametrize("term", [{"over": {"x": 1}}, {"risk": ["read"]}, {"calls": ["a"]}])
def test_what_only_calls_have_is_no_term_of_another_rule(term):
    with pytest.raises(ValueError, match="is about held calls"):
        settings({"releases": True} | term)


def test_a_rule_about_releases_is_for_where_somebody_approves_them():
    rule = {"name": "policy", "releases": True, "operators": ["bea"]}
    whole = {"trust_domain": "example.test", "approvals": {"rules": [rule]}}
    with pytest.raises(ValueError, match="policy speaks of releases, and nobody approves one"):
        Config.model_validate(whole)
    assert Config.model_validate(whole | {"policy_changes": {"approvals": 1}}).approvals.rules


def test_a_teams_members_answer_for_what_it_owns_and_not_whoever_is_called_as_it_is():
    teams = {"Ops": ("sue", "kim@shop.example"), "none": ()}
    assert answerable("ops", teams) == ("sue", "kim@shop.example")
    assert answerable("none", teams) == ()
    assert answerable("sue", teams) == ("sue",)
