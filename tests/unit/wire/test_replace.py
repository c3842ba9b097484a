"""Replacing within a payload: only there, in the right types, with nothing lost."""

import pytest

from portcullis.core.inspection import JSON_TEXT
from portcullis.wire.texts import replaced


def test_only_what_lies_on_the_path_is_copied():
    payload = {"a": [{"b": "x"}, {"c": "y"}], "d": {"e": 1}}
    new = replaced(payload, {("a", 0, "b"): "z"})
    assert new == {"a": [{"b": "z"}, {"c": "y"}], "d": {"e": 1}}
    assert payload["a"][0]["b"] == "x"
    assert new["a"][1] is payload["a"][1]
    assert new["d"] is payload["d"]
    assert replaced(payload, {}) is payload


def test_a_change_within_json_text_is_encoded_into_it():
    payload = {"arguments": '{ "to": "x", "n": 41111111, "k": [1, {"z": "\\u00e9"}] }'}
    below = ("arguments", JSON_TEXT)
    new = replaced(payload, {(*below, "to"): "y", (*below, "n"): "***"}, {(*below, "k"): "kk"})
    assert new == {"arguments": '{"to":"y","n":"***","kk":[1,{"z":"é"}]}'}


def test_a_whole_text_goes_before_a_change_within_it():
    path = ("a", JSON_TEXT, "b")
    for changes in ({path: "1", ("a",): "2"}, {("a",): "2", path: "1"}):
        assert replaced({"a": '{"b":"x"}'}, changes) == {"a": "2"}
    assert replaced("x", {(): "y"}) == "y"


def test_members_keep_their_order_and_none_is_lost_when_names_become_equal():
    payload = {"a@b.example": 1, "c": 2, "d@e.example": {"f": "g"}, "***": 4}
    names = {("a@b.example",): "***", ("d@e.example",): "***"}
    new = replaced(payload, {("d@e.example", "f"): "h"}, names)
    assert list(new.items()) == [("***_2", 1), ("c", 2), ("***_3", {"f": "h"}), ("***", 4)]


def test_token_probabilities_beside_a_change_are_emptied_and_other_members_of_the_name_are_not():
    tokens = {"content": [{"token": "x"}], "refusal": None}
    payload = {"choices": [
        {"message": {"content": "x"}, "logprobs": tokens},
        {"message": {"content": "y"}, "logprobs": tokens},
    ]}  # fmt: skip
    new = replaced(payload, {("choices", 0, "message", "content"): "z"})
    assert new["choices"][0]["logprobs"] is None
    assert new["choices"][1]["logprobs"] is tokens
    part = {"text": "x", "logprobs": [{"token": "x"}]}
    assert replaced(part, {("text",): "y"}) == {"text": "y", "logprobs": []}
    assert replaced({"text": "x", "logprobs": 5}, {("text",): "y"}) == {"text": "y", "logprobs": 5}


@pytest.mark.parametrize("path", [("b",), ("a", "b"), ("l", 3)])
def test_a_path_that_is_not_there_is_a_fault(path):
    with pytest.raises((KeyError, IndexError, TypeError, AttributeError)):
        replaced({"a": "x", "l": [1]}, {path: "y"})
