"""If these fail, a policy is widened by hand and the review does not see it."""

import pytest

from portcullis.catalogue.schema import fault
from portcullis.policy.grammar import parse
from portcullis.policy.source import SourceFile
from portcullis.review.grants_widened import widened

TEXT = """\
version: 1
windows: {office: {days: [mon], from: "08:00", to: "17:00", zone: UTC}}
agents:
  shop-1: {role: support, owner: shop, expires: "2027-01-31"}
roles:
  support:
    environments: [staging]
    permissions: [{read: orders}]
    allowed_tools:
      - {tool: crm.export, when: "arguments.rows < 10", during: office, until: "2027-01-31"}
      - {tool: crm.note, obligations: {approvers: 1, log: [to]}}
    denied_tools: [orders.purge]
    data_access: {namespaces: [a], secrets: false, config_maps: true}
    resource_limits: {calls: 5}
tools:
  orders.search: {verb: read, resource: orders, risk: read, data: none}
  orders.purge: {verb: read, resource: orders, risk: delete, data: none}
  crm.export:
    risk: external
    data:
      namespaces: {argument: namespace}
      kinds: {argument: kind, classes: {secrets: [Secret], config_maps: [ConfigMap]}}
  crm.note: {risk: modify, data: none}
"""

CHANGES = {
    "condition": ('when: "arguments.rows < 10"', 'when: "arguments.rows < 99"',
                  "wider terms of allowed_tools crm.export"),
    "unconditional": ('when: "arguments.rows < 10", ', "",
                      "wider terms of allowed_tools crm.export"),
    "window": ('to: "17:00"', 'to: "18:00"', "wider terms of allowed_tools crm.export"),
    "until": ('until: "2027-01-31"', 'until: "2028-01-31"',
              "wider terms of allowed_tools crm.export"),
    "approvers": ("approvers: 1, ", "", "wider terms of allowed_tools crm.note"),
    "environment": ("environments: [staging]", "environments: [staging, production]",
                    "the role holds in more environments"),
    "expires": ('expires: "2027-01-31"', 'expires: "2028-01-31"',
                "expires 2028-01-31 instead of 2027-01-31"),
    "denial": ("denied_tools: [orders.purge]", "denied_tools: []", "tool orders.purge"),
    "data": ("namespaces: [a]", "namespaces: [a, b]", "data access to namespaces b"),
    "secrets": ("secrets: false", "secrets: true", "data access to secrets"),
    "risk": ("crm.note: {risk: modify", "crm.note: {risk: read",
             "risk of crm.note: modify -> read"),
    "agent": ("roles:\n", "  shop-2: {role: support, owner: shop}\nroles:\n", "the agent is new"),
}  # fmt: skip


def policy(text):
    return parse((SourceFile("policy/main.yaml", text),), fault)


@pytest.mark.parametrize("name", CHANGES)
def test_what_is_wider_is_named_and_the_way_back_is_none(name):
    old, new, said = CHANGES[name]
    other = TEXT.replace(old, new, 1)
    assert other != TEXT
    found = widened(policy(TEXT), policy(other))
    agent = "shop-2" if name == "agent" else "shop-1"
    assert said in found[agent]
    if name != "risk":
        assert said not in [
            line for lines in widened(policy(other), policy(TEXT)).values() for line in lines
        ] or name in {"condition", "window"}


def test_what_moves_in_its_file_or_says_why_is_the_same():
    other = TEXT.replace(
        "      - {tool: crm.note,", "\n      # x\n      - {tool: crm.note, reason: y,"
    )
    assert widened(policy(TEXT), policy(other)) == {}


def test_limits_of_the_role_that_rise_are_named():
    found = widened(policy(TEXT), policy(TEXT.replace("calls: 5", "calls: 50")))
    assert len(found["shop-1"]) == 1
    assert widened(policy(TEXT), policy(TEXT.replace("    resource_limits: {calls: 5}\n", "")))
