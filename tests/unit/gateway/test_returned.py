"""If these fail, a provider tells a client in a header what is in no text that was read."""

import secrets
import uuid

import pytest

from portcullis.gateway.returned import returned
from portcullis.inspection.canary import Canaries

GOOD = [
    ("retry-after", "7"),
    ("retry-after", "Wed, 21 Oct 2015 07:28:00 GMT"),
    ("retry-after-ms", "1250"),
    ("x-should-retry", "false"),
    ("x-request-id", "req_" + secrets.token_hex(16)),
    ("x-request-id", str(uuid.uuid4())),
    ("request-id", "req_011CSHoEeqs5C35K2UUqR7Fy"),
    ("openai-processing-ms", "412"),
    ("x-ratelimit-limit-requests", "5000"),
    ("x-ratelimit-reset-tokens", "6m0.5s"),
    ("x-ratelimit-remaining-project-tokens", "12"),
    ("anthropic-ratelimit-input-tokens-remaining", "80000"),
    ("anthropic-ratelimit-requests-reset", "2025-01-02T03:04:05Z"),
]
CANARY = Canaries(secrets.token_bytes(32)).token("s1", "system prompt")
SAID = [
    CANARY,
    "sk-" + secrets.token_hex(24),
    "4111 1111 1111 1111",
    "ask ada@shop.example",
    "9" * 16,
]


@pytest.mark.parametrize(("name", "value"), GOOD, ids=range(len(GOOD)))
def test_clients_see_when_to_try_again_and_what_to_ask_about(name, value):
    assert returned({name: value}) == [(name.encode(), value.encode())]


@pytest.mark.parametrize("value", SAID, ids=range(len(SAID)))
def test_no_header_says_anything_else(value):
    names = {name for name, _ in GOOD}
    assert returned(dict.fromkeys(names, value)) == []
    assert returned({f"x-ratelimit-{value}": "1", "x-said": value, "retry-after-ms": value}) == []
