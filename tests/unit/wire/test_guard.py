"""If these fail, what a tool gets or gives is not what was decided on."""

import pytest

from portcullis.core.errors import Problem
from portcullis.wire import guard

TOOL = {"name": "look", "description": "Looks.", "inputSchema": {"type": "object"}}
CALL = {"toolset": "shop", "tool": TOOL, "arguments": {"a": 1}}
TYPED = guard.asked(CALL | {"tool": TOOL | {"outputSchema": {"type": "string"}}}).tool
PLAIN = guard.asked(CALL).tool


def shown(value, tool=PLAIN, *, is_error=False):
    return guard.result(guard.Reported(result=value, is_error=is_error), tool)


def test_a_call_looks_like_that_of_a_servers_tool():
    asked = guard.asked(CALL)
    message = guard.request("1", asked.tool.name, asked.arguments)
    assert message["method"] == "tools/call"
    assert message["params"] == {"name": "look", "arguments": {"a": 1}}
    assert guard.arguments_of(message) == {"a": 1}


def test_a_definition_is_the_same_in_whatever_order_it_is_said():
    turned = dict(reversed(TOOL.items())) | {"outputSchema": None}
    assert guard.asked(CALL | {"tool": turned}).tool == PLAIN
    assert guard.asked(CALL | {"tool": TOOL | {"description": "Looks"}}).tool != PLAIN


@pytest.mark.parametrize("tool", [PLAIN, TYPED, None])
@pytest.mark.parametrize("is_error", [True, False])
@pytest.mark.parametrize("value", [None, False, 3, "text", "", [], {"content": 1}, {"result": 2}])
def test_every_result_goes_there_and_back(value, tool, is_error):
    result = shown(value, tool, is_error=is_error)
    assert guard.value(result) == value
    assert result.get("isError", False) is is_error


def test_a_text_is_content_unless_the_tool_says_what_it_returns():
    assert shown("hi") == {"content": [{"type": "text", "text": "hi"}]}
    assert shown("hi", TYPED) == {"content": [], "structuredContent": "hi"}
    assert "structuredContent" not in shown("oh", TYPED, is_error=True)


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ([], "PC1020"),
        (CALL | {"more": 1}, "PC1021"),
        ({"toolset": "shop", "tool": TOOL}, "PC1020"),
        (CALL | {"tool": TOOL | {"name": ""}}, "PC1020"),
        (CALL | {"tool": TOOL | {"name": "n" * 129}}, "PC1020"),
        (CALL | {"tool": {"name": "look", "inputSchema": {}}}, "PC1020"),
        (CALL | {"tool": TOOL | {"title": "Look"}}, "PC1021"),
        (CALL | {"tool": TOOL | {"description": "d" * guard.MAX_DEFINITION}}, "PC1007"),
    ],
)
def test_what_is_no_call_is_refused(body, code):
    with pytest.raises(Problem) as refused:
        guard.asked(body)
    assert refused.value.code == code


def test_a_result_says_by_itself_whether_it_is_an_error():
    assert guard.reported({"result": None}) == guard.Reported(result=None, is_error=False)
    assert guard.reported({"result": 1, "is_error": True}).is_error
    for bad in ({}, {"result": 1, "is_error": 1}, {"result": 1, "status": "ok"}, None):
        with pytest.raises(Problem, match=r"PC102[01]"):
            guard.reported(bad)
