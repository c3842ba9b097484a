"""If these fail, a token is narrowed to more than its agent may use, or not at all."""

import pytest

from policies import PAIR, SUPPORT, chained, context, pdp_of, session_of
from portcullis.control.scopes import Scopes


@pytest.fixture(scope="module")
def scopes():
    return Scopes(pdp_of(SUPPORT))


@pytest.mark.parametrize(
    "word",
    ["tool:orders.search", "resource:files.memo://one", "prompt:files.summarise", "model:gpt-5.2"],
)
def test_what_policy_grants_may_stand_in_a_scope(scopes, word):
    assert scopes(context(session=session_of()), (word,))


@pytest.mark.parametrize(
    "word",
    [
        "tool:orders.drop",
        "tool:nothing.search",
        "resource:files.memo://two",
        "prompt:files.other",
        "model:nobody-grants-this",
    ],
)
def test_what_policy_does_not_grant_may_not(scopes, word):
    around = context(session=session_of())
    assert not scopes(around, (word,))
    assert not scopes(around, ("tool:orders.search", word))


def test_a_whole_server_is_whatever_policy_grants_there():
    scopes = Scopes(pdp_of(PAIR))
    assert scopes(context("helper"), ("tool:kb.*",))
    assert not scopes(context("helper"), ("tool:kb.*", "tool:kb.read"))


def test_a_scope_is_within_what_each_agent_of_the_chain_may_use():
    scopes = Scopes(pdp_of(PAIR))
    helper = chained(context("helper"), "shop")
    assert scopes(context("helper"), ("tool:kb.write",))
    assert not scopes(helper, ("tool:kb.write",))
    assert scopes(helper, ("tool:kb.search",))
