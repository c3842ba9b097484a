"""If these fail, an observed agent carries data out in the URI of a resource that it made up."""

import pytest

from policies import call, context
from portcullis.catalogue.schema import fault
from portcullis.checks.authorize import Authorize
from portcullis.checks.listed import MOST_NAMES, Listed
from portcullis.core.call import Action, Result
from portcullis.core.verdict import Allow, Deny
from portcullis.policy.engine import RegorusEngine
from portcullis.policy.pdp import RegoPdp, compile_files
from portcullis.policy.source import SourceFile

POLICY = """\
version: 1
agents: {new: {role: small, observe: {until: "2026-11-05T00:00:00Z", reason: trial}}}
roles: {small: {allowed_resources: ["web.kb://own/*"]}}
"""
TEMPLATES = (
    "https://docs.example/{page}",
    "https://{host}/x",
    "https://a.example/{?q}",
    "n://{id}",
    "{scheme}://{host}/x",
    "{+url}",
    "h{rest}",
    "git+https://{host}/",
    "file:///srv/{path}",
)


class Clock:
    def now(self):
        return 1_793_836_800 - 60


@pytest.fixture(scope="module")
def check():
    policy = compile_files((SourceFile("policy/p.yaml", POLICY),), fault, RegorusEngine())
    made = Authorize(RegoPdp(policy, RegorusEngine(), clock=Clock()))
    for kind, member, key, names in (
        ("resources", "resources", "uri", ["https://docs.example/?page=1", "memo://one"]),
        ("resource_templates", "resourceTemplates", "uriTemplate", TEMPLATES),
    ):
        payload = {member: [{key: one} for one in names]}
        asked = call(Action.LIST, f"web.{kind}")
        made.judge_result(asked, context(agent="new"), Result(payload=payload, size=1), None)
    return made


@pytest.mark.parametrize(
    ("uri", "allowed"),
    [
        ("memo://one", True),
        ("https://docs.example/?page=1", True),  # word for word as it was listed
        ("https://docs.example/prices", True),
        ("n://7", True),
        ("kb://own/7?x", True),  # granted: nobody observes that
        ("memo://two", False),
        ("https://docs.example/prices?q=secret", False),
        ("https://docs.example.evil.example/prices", False),
        ("https://evil.example/x", False),
        ("https://a.example/secret", False),
        ("n://7#x", False),
        ("file:///srv/a", True),
        ("git+https://evil.example/", False),
        ("https://docs.example/https:/evil.example/secret", False),
    ],
)
def test_an_observed_agent_reads_only_what_the_server_has_listed(check, uri, allowed):
    verdict = check.judge(call(Action.RESOURCE, f"web.{uri}"), context(agent="new"), None)
    assert isinstance(verdict, Allow) is allowed
    if not allowed:
        assert (verdict.code, "listed" in verdict.reason) == ("PC3001", True)


@pytest.mark.parametrize(
    ("action", "arguments", "allowed"),
    [
        ("prompt", {"topic": "prices: 1/2"}, True),
        ("prompt", {"page": "see https://evil.example/secret"}, False),
        ("prompt", {"page": "//evil.example/secret"}, False),
        ("prompt", {"page": "https%3A%2F%2Fevil.example"}, False),
        ("complete", {"ref": {"name": "x"}, "argument": {"name": "a", "value": "b"}}, True),
        ("complete", {"argument": {"name": "a", "value": "http:/evil.example"}}, False),
        ("complete", {"context": {"arguments": {"a": "ftp://evil.example"}}}, False),
    ],
)
def test_an_observed_agent_hands_no_address_to_a_prompt(check, action, arguments, allowed):
    asked = call(action, "web.hello", arguments=arguments)
    verdict = check.judge(asked, context(agent="new"), None)
    assert isinstance(verdict, Allow) is allowed
    assert allowed or (verdict.code, "addresses" in verdict.reason) == ("PC3001", True)


def test_what_another_server_listed_is_not_this_ones(check):
    verdict = check.judge(call(Action.RESOURCE, "other.memo://one"), context(agent="new"), None)
    assert isinstance(verdict, Deny)


def test_a_server_that_lists_without_end_is_remembered_within_bounds():
    listed = Listed()
    listed.note("resources", "web", (f"memo://{n}" for n in range(MOST_NAMES + 5)))
    assert (listed.has("web", "memo://4"), listed.has("web", "memo://5")) == (False, True)
