"""If these fail, what a policy asks of the gate is lost, or a wrong one is accepted in silence."""

import pytest

from policies import call, chained, context, pdp_of, policy_of
from portcullis.checks.authorize import Authorize
from portcullis.core.errors import Problem
from portcullis.core.limit_told import Measure
from portcullis.core.limits import Ceiling, Dimension, Limit, Window
from portcullis.core.obligation import ColumnMask, MaskTreatment, Obligations, joined

POLICY = """\
version: 1
agents: {a: {role: obliged}, b: {role: free}, c: {role: careful}}
roles:
  obliged:
    permissions:
      - {read: customers, obligations: {mask: {"[].iban": drop}, log: [why]}}
    allowed_tools:
      - {tool: crm.plain, obligations: {approvers: 2}}
      - bank.pay
      - bank.unlisted
    obligations: {log: [to], approvers: {external: 1, delete: 2}}
  free:
    permissions: [{read: customers}]
    allowed_tools: [crm.plain, bank.pay]
    models: [gpt-*]
  careful:
    inherits: [obliged]
    obligations: {log: [id]}
tools:
  crm.get:
    verb: read
    resource: customers
    risk: read
    obligations: {mask: {"*.iban": mask, "notes[].text": hash}}
    arguments: {id: {log: clear}}
  crm.plain: {risk: read}
  bank.pay: {risk: external}
"""


def mask(treatment, *path):
    return ColumnMask(path=path, treatment=MaskTreatment(treatment))


@pytest.fixture(scope="module")
def pdp():
    return pdp_of(POLICY)


def test_what_the_tool_the_grant_and_the_role_ask_adds_up(pdp):
    found = pdp.decide(call(target="crm.get"), context("a"))
    assert set(found.obligations.mask) == {
        mask("mask", "*", "iban"),
        mask("drop", "*", "iban"),
        mask("hash", "notes", "*", "text"),
    }
    assert set(found.obligations.log) == {"to", "why"}
    assert set(found.clear) == {"id", "to", "why"}
    assert found.obligations.approvers == 0
    heir = pdp.decide(call(target="crm.get"), context("c"))
    assert set(heir.clear) == {"id", "to", "why"}, "what is inherited asks the same"


def test_a_role_that_asks_nothing_has_the_tools_obligations_alone(pdp):
    found = pdp.decide(call(target="crm.get"), context("b"))
    assert [one.treatment for one in found.obligations.mask] == ["mask", "hash"]
    assert found.clear == ("id",)
    assert pdp.decide(call(target="crm.plain"), context("b")).obligations is None
    assert pdp.decide(call("model", "up.gpt-5"), context("b")).obligations is None


@pytest.mark.parametrize(
    ("tool", "people"),
    [("crm.get", 0), ("crm.plain", 2), ("bank.pay", 1), ("bank.unlisted", 2)],
)
def test_people_are_asked_by_grant_and_by_class_of_risk(pdp, tool, people):
    assert pdp.decide(call(target=tool), context("a")).obligations.approvers == people


def test_who_acts_for_others_owes_what_they_owe(pdp):
    check = Authorize(pdp)
    around = chained(context("b"), "a")
    found = check.judge(call(target="bank.pay"), around, None).obligations
    assert found.approvers == 1
    both = check.judge(call(target="crm.get"), around, None).obligations
    assert {one.treatment for one in both.mask} == {"mask", "hash", "drop"}


def test_which_servers_results_are_masked_for_whom(pdp):
    assert pdp.masks("crm", context("a"))
    assert pdp.masks("crm", chained(context("x"), "a"))
    assert not pdp.masks("bank", context("a"))
    assert not pdp.masks("crm", context("x"))
    everything = POLICY.replace("careful:\n", "careful:\n    models: [x]\n").replace(
        "obligations: {log: [id]}", "obligations: {mask: {iban: drop}}"
    )
    assert pdp_of(everything).masks("bank", context("c"))


def test_a_raised_class_of_risk_asks_as_many_people():
    found = Obligations(approvers=1, by_risk=(("external", 1), ("delete", 2)))
    assert [found.people(risk) for risk in ("read", "external", "delete")] == [1, 1, 2]
    assert joined((None, found, None)) is found
    both = joined((found, Obligations(log=("x",), by_risk=(("read", 2),))))
    assert both.people("read") == 2
    assert (both.log, both.approvers) == (("x",), 1)


@pytest.mark.parametrize(
    ("said", "message"),
    [
        ("{}", "obliges to nothing"),
        ("{mask: {}}", "masks nothing"),
        ("{mask: {a..b: mask}}", "a..b is no path"),
        ("{mask: {a: hide}}", "one of hash, mask, drop"),
        ('{mask: {"a[].b": mask, "a.*.b": drop}}', "a.*.b is named twice"),
        ("{log: to}", "must be a list"),
        ("{approvers: 0}", "must be 1 or 2"),
        ("{approvers: 3}", "must be 1 or 2"),
        ("{approvers: true}", "must be 1 or 2"),
        ("{approvers: {}}", "names no class"),
        ("{approvers: {huge: 1}}", "unknown key huge"),
        ("{approvers: {delete: two}}", "must be 1 or 2"),
        ("{masks: {}}", "unknown key masks"),
    ],
    ids=map(str, range(13)),
)
def test_a_wrong_obligation_is_refused_with_its_line(said, message):
    text = POLICY.replace("{log: [to], approvers: {external: 1, delete: 2}}", said)
    with pytest.raises(Problem) as caught:
        policy_of(text)
    assert message in f"{caught.value.detail} {caught.value.hint}"
    assert "policy/main.yaml:11:" in caught.value.detail


LIMITED = """\
version: 1
agents: {a: {role: child}}
roles:
  parent: {models: [x], resource_limits: {calls: 50, seconds: 300}}
  child: {inherits: [parent], resource_limits: {calls: 100, tokens: 7}}
"""


def test_a_roles_limits_are_of_each_of_its_sessions_and_the_least_holds():
    *_, found = policy_of(LIMITED).limits
    assert found == Limit(
        name="role.child",
        place="policy/main.yaml:5",
        where={Dimension.ROLE: ("child",)},
        per=(Dimension.SESSION,),
        ceilings=(
            Ceiling(measure=Measure.CALLS, window=Window.SESSION, amount=50),
            Ceiling(measure=Measure.TOKENS, window=Window.SESSION, amount=7),
        ),
        session_seconds=300,
    )


@pytest.mark.parametrize(
    "said",
    ["{}", "{calls: -1}", "{calls: many}", "{seconds: 1.5}", "{call: 1}", "{tokens: true}"],
    ids=map(str, range(6)),
)
def test_a_wrong_resource_limit_is_refused(said):
    with pytest.raises(Problem, match=r"main.yaml:4:"):
        policy_of(LIMITED.replace("{calls: 50, seconds: 300}", said))
