"""If these fail, a release changes what an agent may and its own approvers are not asked."""

import pytest

from portcullis.policy.source import SourceFile
from portcullis.review.grants_touched import touched

POLICY = """\
version: 1
agents:
  pay-1: {role: payer, owner: finance}
  shop-1: {role: support, owner: shop team}
  shop-2: {role: helper}
roles:
  payer: {allowed_tools: [bank.pay], models: [gpt-4o]}
  support: {permissions: [{read: customer}], models: [gpt-4o]}
  helper: {inherits: [support]}
tools:
  bank.pay: {risk: external}
  crm.get: {verb: read, resource: customer, risk: read}
  crm.find: {risk: read}
  bank.try: {verb: read, resource: customer, arguments: {dry: {equals: true}}}
"""
ALL = {"pay-1", "shop-1", "shop-2"}


def about(*changes, rego=""):
    text = POLICY
    for old, new in changes:
        assert old in text
        text = text.replace(old, new, 1)
    new = [SourceFile("policy/main.yaml", text)]
    if rego:
        new.append(SourceFile("policy/own.rego", rego))
    return touched((SourceFile("policy/main.yaml", POLICY),), tuple(new))


@pytest.mark.parametrize(
    ("change", "agents"),
    [
        (("version: 1\n", "# moved by a line\nversion: 1\n"), set()),
        (("role: payer, owner: finance", "owner: finance, role: payer"), set()),
        (("[bank.pay]", "[bank.pay, crm.find]"), {"pay-1"}),
        (("[bank.pay]", "[]"), {"pay-1"}),
        (("[{read: customer}]", "[]"), {"shop-1", "shop-2"}),
        (("inherits: [support]", "inherits: [support], models: [o3]"), {"shop-2"}),
        (("  bank.pay: {risk: external}", "  bank.pay: {risk: read}"), {"pay-1"}),
        (("resource: customer, risk: read", "resource: customer"), {"shop-1", "shop-2"}),
        (("  crm.find: {risk: read}\n", ""), set()),
        (("  shop-2: {role: helper}", "  shop-3: {role: helper}"), {"shop-2", "shop-3"}),
        (("owner: finance}", 'owner: finance, expires: "2030-01-01"}'), {"pay-1"}),
        (("equals: true", "equals: 1"), {"shop-1", "shop-2"}),
        (("version: 1\n", "version: 1\ninspection: {links: [example.com]}\n"), ALL),
    ],
    ids=str.split(
        "line order wider narrower inherited own risk meaning nobodys renamed expires number common"
    ),
)
def test_a_change_is_about_the_agents_of_which_it_says_something_else(change, agents):
    assert set(about(change)) == agents


def test_hand_written_rules_are_about_everybody_and_owners_are_those_of_both_policies():
    rego = 'package portcullis.custom.more\n\ndeny contains {"reason": "no"} if false\n'
    assert set(about(rego=rego)) == ALL
    assert about(("owner: finance", "owner: treasury")) == {"pay-1": ("finance", "treasury")}
    assert about(("{role: helper}", "{role: support}")) == {"shop-2": ()}
