"""If these fail, what was found in an agent's traffic is treated otherwise than policy says."""

import pytest

from policies import context, pdp_of, policy_of
from portcullis.core.errors import Problem
from portcullis.core.inspection import Category, Channel, Envelope, Source, Treatment
from portcullis.policy.inspection import DEFAULTS, STRICTEST

POLICY = """\
version: 1
agents: {plain-1: {role: plain}, own-1: {role: own}}
inspection:
  to_model: {personal: mask, CREDIT_CARD: block}
  injection: {user: hold}
  links: [docs.example.com]
roles:
  plain: {}
  own:
    inspection:
      to_model: {personal: tokenise}
      from_tool: {EMAIL_ADDRESS: hash}
      injection: {tool: strip, document: wrap}
      opaque: {to_model: allow}
      envelope: datamark
      canaries: false
      links: []
"""


def profile_of(agent, text=POLICY):
    return pdp_of(text).profile(context(agent))


def test_without_a_word_in_policy_the_defaults_enforce():
    text = "version: 1\nagents: {a-1: {role: r}}\nroles: {r: {}}\n"
    assert profile_of("a-1", text) == DEFAULTS
    assert DEFAULTS.treatment(Channel.TO_TOOL, "GITHUB_TOKEN", Category.SECRET) is Treatment.BLOCK
    assert DEFAULTS.injection[Source.TOOL] is Treatment.BLOCK


def test_what_policy_says_for_everyone_reaches_every_role():
    profile = profile_of("plain-1")
    treatment = profile.treatment
    assert treatment(Channel.TO_MODEL, "EMAIL_ADDRESS", Category.PERSONAL) is Treatment.MASK
    assert treatment(Channel.TO_MODEL, "CREDIT_CARD", Category.FINANCIAL) is Treatment.BLOCK
    assert treatment(Channel.TO_MODEL, "IBAN_CODE", Category.FINANCIAL) is Treatment.TOKENISE
    assert profile.injection[Source.USER] is Treatment.HOLD
    assert profile.links == ("docs.example.com",)


def test_a_roles_own_words_go_before_and_leave_the_rest():
    profile = profile_of("own-1")
    treatment = profile.treatment
    assert treatment(Channel.TO_MODEL, "EMAIL_ADDRESS", Category.PERSONAL) is Treatment.TOKENISE
    assert treatment(Channel.TO_MODEL, "CREDIT_CARD", Category.FINANCIAL) is Treatment.BLOCK
    assert treatment(Channel.FROM_TOOL, "EMAIL_ADDRESS", Category.PERSONAL) is Treatment.HASH
    assert treatment(Channel.FROM_TOOL, "PHONE_NUMBER", Category.PERSONAL) is Treatment.ALLOW
    assert profile.injection[Source.TOOL] is Treatment.STRIP
    assert profile.injection[Source.USER] is Treatment.HOLD
    assert profile.opaque[Channel.TO_MODEL] is Treatment.ALLOW
    assert (profile.envelope, profile.canaries, profile.links) == (Envelope.DATAMARK, False, ())


def test_whom_policy_does_not_name_gets_the_strictest():
    assert profile_of("nobody") == STRICTEST


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("to_model: {CREDIT_CARD: encrypt}", "one of allow, mask"),
        ("to_model: {creditcard: mask}", "creditcard in inspection.to_model"),
        ("from_model: {personal: tokenise}", "inspection.from_model.personal"),
        ("to_tool: {personal: tokenise}", "inspection.to_tool.personal"),
        ("to_tool: {personal: strip}", "inspection.to_tool.personal"),
        ("injection: {tool: mask}", "one of allow, wrap, strip"),
        ("injection: {everyone: block}", "everyone in inspection.injection"),
        ("opaque: {to_model: mask}", "one of allow, hold, block"),
        ("envelope: loud", "one of delimit, datamark, off"),
        ("canaries: maybe", "must be true or false"),
        ("links: [https://x.example]", "a host name"),
        ("links: [X.example]", "a host name"),
        ("to_modell: {}", "unknown key to_modell"),
    ],
)
def test_what_cannot_be_enforced_is_not_accepted(line, says):
    with pytest.raises(Problem) as caught:
        policy_of(f"version: 1\ninspection:\n  {line}\n")
    assert caught.value.code == "PC7002"
    assert says in caught.value.detail
    assert "policy/main.yaml:3:" in caught.value.detail


def test_two_sections_for_everyone_would_be_read_in_two_ways():
    text = "version: 1\ninspection: {canaries: true}\n"
    with pytest.raises(Problem, match="defined twice"):
        policy_of(text, text)


def test_every_entity_that_policy_names_is_known_with_its_place():
    assert policy_of(POLICY).entities == {
        "CREDIT_CARD": "policy/main.yaml:4:30",
        "EMAIL_ADDRESS": "policy/main.yaml:12:19",
    }


def test_a_rule_is_tolerated_for_one_argument_of_one_tool():
    text = "version: 1\ntools: {kb.ask: {arguments: {question: {tolerate: [sql, template]}}}}\n"
    assert policy_of(text).tolerated == {
        "kb.ask": {"question": frozenset({"sql", "template"})},
    }


def test_the_profile_changes_what_the_digest_covers():
    assert policy_of(POLICY).digest != policy_of(POLICY.replace("mask", "block")).digest
