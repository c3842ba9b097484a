"""What operators may say of erasures and holds: whole row scopes, and reasons of one line."""

import json

import pytest
from pydantic import ValidationError

from portcullis.control.privacy_api import ErasureRequest


def test_the_largest_row_scope_that_a_session_may_have_can_be_named() -> None:
    scope = {f"{'m' * 62}{number}": "v" * 512 for number in range(10, 42)}
    name = f"subject:{json.dumps(scope)}"
    assert ErasureRequest(subject=name, reason="case 7").subject == name


@pytest.mark.parametrize("code", [0x0A, 0x1B, 0x7F, 0x85, 0x2028, 0x2029])
def test_a_reason_cannot_look_like_two_lines_of_the_log(code: int) -> None:
    with pytest.raises(ValidationError, match="reason"):
        ErasureRequest(subject="user:ada", reason=f"case 7{chr(code)}case 8")
