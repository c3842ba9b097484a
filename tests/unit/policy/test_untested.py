"""If these fail, a canary that went well is taken for a test of what no canary tests."""

import pytest

from policies import SUPPORT, policy_of
from portcullis.policy.untested import untested

READ = "risk: read"
FORMED = "{schema: {multipleOf: 5}}"


@pytest.mark.parametrize(
    ("new", "parts"),
    [
        ("# a line more, so that every place is another\n" + SUPPORT, {}),
        (SUPPORT.replace("allowed_tools: [kb.search, files.read]", "allowed_tools: []"), {}),
        (SUPPORT + "limits: {slow: {requests: {rate: 1/minute}}}\n", {"limits": ("slow",)}),
        (SUPPORT + "quarantine: {reads: [orders.search]}\n", {"quarantine": ("quarantine",)}),
        (SUPPORT.replace(READ, "risk: modify", 1), {"tools": ("orders.search",)}),
        (SUPPORT.replace("minimum: 1, ", ""), {}),
        (SUPPORT.replace("{minimum: 1, maximum: 100}", FORMED), {"schemas": ("orders.search",)}),
        (SUPPORT.replace("{role: idle}", "{role: support}"), {"roles": ("idle-1",)}),
    ],
)
def test_what_differs_and_is_not_tested_is_named_and_nothing_else(new, parts):
    found = untested(policy_of(SUPPORT), policy_of(new))
    assert {one.part: one.names for one in found} == parts
