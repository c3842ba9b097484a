"""Our system text stands after the caller's own, and takes nothing of it away."""

import pytest

from portcullis.wire import SHAPES
from portcullis.wire.prompts import with_system

CHAT, RESPONSES = "POST /v1/chat/completions", "POST /v1/responses"
MESSAGES = "POST /v1/messages"
USER = {"role": "user", "content": "u"}


@pytest.mark.parametrize(
    ("theirs", "at", "role"),
    [
        ([], 0, "system"),
        ([{"role": "system", "content": "s"}], 1, "system"),
        ([{"role": "system", "content": "s"}, {"role": "developer", "content": "d"}], 2,
         "developer"),
    ],
)  # fmt: skip
def test_a_chat_gets_a_message_after_the_callers_system_messages(theirs, at, role):
    later = {"role": "system", "content": "later"}
    payload = {"model": "m", "messages": [*theirs, USER, later]}
    new = with_system(CHAT, payload, "ours")["messages"]
    assert new == [*theirs, {"role": role, "content": "ours"}, USER, later]
    assert len(new) == at + 3
    assert len(payload["messages"]) == at + 2


@pytest.mark.parametrize(
    ("operation", "member"), [(RESPONSES, "instructions"), (MESSAGES, "system")]
)
def test_a_system_text_is_continued_or_begun(operation, member):
    assert with_system(operation, {member: "theirs"}, "ours")[member] == "theirs\n\nours"
    for empty in ({}, {member: None}, {member: ""}):
        assert with_system(operation, empty, "ours")[member] == "ours"


def test_the_callers_marks_for_caching_stay():
    block = {"type": "text", "text": "theirs", "cache_control": {"type": "ephemeral"}}
    new = with_system(MESSAGES, {"system": [block]}, "ours")
    assert new["system"] == [block, {"type": "text", "text": "ours"}]
    assert with_system("POST /v1/messages/count_tokens", {}, "ours") == {"system": "ours"}


def test_what_has_no_system_text_stays_as_it_is():
    payload = {"model": "m", "input": "x"}
    assert with_system("POST /v1/embeddings", payload, "ours") is payload


def test_the_new_request_still_fits_its_api():
    for key, payload in (
        (("openai", "POST", "/v1/chat/completions"), {"model": "m", "messages": [USER]}),
        (("openai", "POST", "/v1/responses"), {"model": "m", "input": "x"}),
        (("anthropic", "POST", "/v1/messages"), {"model": "m", "max_tokens": 1, "messages": []}),
    ):
        SHAPES[key].request(with_system(" ".join(key[1:]), payload, "ours"))
