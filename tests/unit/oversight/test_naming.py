"""If these fail, an agent writes what people read in a channel, by how it names things."""

import pytest

from portcullis.core.call import Action, Call, Route, ToolSpec
from portcullis.oversight.naming import told_name, told_why

TOOL = ToolSpec(
    name="send",
    input_schema={"properties": {"to": {"items": {"properties": {"address": {}}}}}},
)


def call(name="send", tool=TOOL, action=Action.TOOL):
    return Call(
        id="c1",
        route=Route.MCP_HTTP,
        action=action,
        server="mail",
        name=name,
        method="tools/call",
        payload={},
        body=b"",
        arguments={},
        tool=tool,
    )


@pytest.mark.parametrize(
    ("one", "told"),
    [
        (call(), "send"),
        (call("tickets.create_now-2"), "tickets.create_now-2"),
        (call("Approved by security team press approve now"), "?"),
        (call(tool=None), "?"),
        (call("gpt-4o", None, Action.MODEL), "gpt-4o"),
    ],
)
def test_a_name_is_one_word_of_what_is_offered(one, told):
    assert told_name(one) == told


@pytest.mark.parametrize(
    ("reason", "told"),
    [
        ("EMAIL_ADDRESS in params.arguments.to[0].address", None),
        ("EMAIL_ADDRESS in params.arguments.grace_hopper", "EMAIL_ADDRESS in params.arguments.?"),
        (
            "IBAN_CODE in params.arguments.to; INJECTION in params.arguments.a.b, score 0.9",
            "IBAN_CODE in params.arguments.to; INJECTION in params.arguments.?.?, score 0.9",
        ),
        ("PERSON in messages[2].content[0].text", None),
        ("without a source: recipient, amount", None),
        ("every transfer in production needs a human", None),
    ],
)
def test_of_arguments_only_what_the_tool_declares_is_named(reason, told):
    assert told_why(reason, call()) == (told or reason)
