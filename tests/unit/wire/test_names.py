"""If these fail, a secret that somebody used as a member's name is in the log for ever."""

import secrets
import string

import pytest

from portcullis.catalogue.schema import Validator
from portcullis.core.errors import Problem
from portcullis.wire import SHAPES
from portcullis.wire.slots import grown
from portcullis.wire.texts import where

DRAWN = "".join(secrets.choice(string.ascii_letters) for _ in range(32))
NAMES = [f"ghp_a1B2{DRAWN}", f"AKIA{'QX7Z' * 4}", "4111111111111111", "123-45-6789", f"k-{DRAWN}"]


@pytest.mark.parametrize("name", NAMES, ids=range(len(NAMES)))
def test_a_name_that_could_be_content_is_shown_nowhere(name):
    path = ("metadata", name, "inner")
    assert where(path) == "metadata.?.inner"
    assert name not in grown("choices[0].message", name, path, "x").key
    chat = SHAPES["openai", "POST", "/v1/chat/completions"]
    broken = Validator({"properties": {"metadata": {"maxProperties": 0}}})
    assert broken.check({"metadata": {name: 1}}) == ("$.metadata: maxProperties",)
    broken = Validator({"additionalProperties": {"type": "string"}})
    assert broken.check({name: 1}) == ("$.?: type",)
    with pytest.raises(Problem) as caught:
        chat.request({"model": "m", "messages": [], name: 1})
    assert name not in caught.value.detail


@pytest.mark.parametrize("name", ["customer_id", "structuredContent", "x-api-key", "line2", "$ref"])
def test_the_names_that_people_give_are_shown(name):
    assert where((name, 0)) == f"{name}[0]"
    assert grown("a", name, (name,), "x").key == f"a.{name}"
