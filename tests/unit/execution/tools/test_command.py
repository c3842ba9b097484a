"""If these fail, an argument becomes more than one word of a command, or an option of it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from portcullis.catalogue.schema import fault
from portcullis.config.tools import CodeTool, CommandTool
from portcullis.core.errors import Problem
from portcullis.execution.tools.answer import OUTPUT_SCHEMA
from portcullis.execution.tools.code import Code
from portcullis.execution.tools.command import words

ONE = {"type": "object", "properties": {"a": {"type": "string"}}}
TEMPLATE = ("tool", "--name={name}", "{size}", "--", "{rest}")


@given(st.text(st.characters(blacklist_characters="\0", blacklist_categories=["Cs"])))
def test_whatever_an_argument_is_it_is_one_word_at_its_place(value):
    assert words(("a", "x{v}y", "z"), {"v": value}) == ("a", f"x{value}y", "z")


def test_a_word_whose_argument_is_not_given_is_left_out():
    assert words(TEMPLATE, {}) == ("tool", "--")
    assert words(TEMPLATE, {"size": 3}) == ("tool", "3", "--")
    given_all = {"name": "a b", "size": [1, {"x": None}], "rest": "-v"}
    assert words(TEMPLATE, given_all) == (*("tool", "--name=a b", '[1,{"x":null}]', "--", "-v"),)
    assert words(("t", "{a}"), {"a": "{b}", "b": "x"}) == ("t", "{b}")


@pytest.mark.parametrize("value", ["-v", "--help", "-", -1, "nul\0"])
def test_what_a_program_would_take_for_an_option_is_refused(value):
    with pytest.raises(Problem) as refused:
        words(("t", "{size}", "--", "{rest}"), {"size": value})
    assert refused.value.code == "PC5043"
    assert str(value) not in refused.value.detail


@pytest.mark.parametrize(
    "settings",
    [
        {"command": []},
        {"command": ["{a}"], "arguments": ONE},
        {"command": ["t", "{b}"]},
        {"command": ["sh", "-c", "echo {a}"], "arguments": ONE},
        {"command": ["t"], "arguments": {"type": "string"}},
        {"command": ["t"], "sandbox": "none"},
        {"command": ["t"], "seconds": 0},
    ],
    ids=["empty", "program", "unknown", "script", "no-object", "no-box", "no-time"],
)
def test_a_tool_that_cannot_be_is_no_tool(settings):
    with pytest.raises(ValueError, match=r".+"):
        CommandTool(**settings)


def test_arguments_that_a_schema_does_not_name_are_refused_unless_it_says_so():
    assert CommandTool(command=("t",)).input_schema["additionalProperties"] is False
    loose = {"type": "object", "additionalProperties": True}
    assert CommandTool(command=("t",), arguments=loose).input_schema["additionalProperties"]


def test_the_schemas_of_our_own_tools_can_be_enforced():
    code = Code("x", CodeTool(), boxes=None, secrets=None, path="")
    assert fault(code.definition["inputSchema"]) is None
    assert fault(OUTPUT_SCHEMA) is None
