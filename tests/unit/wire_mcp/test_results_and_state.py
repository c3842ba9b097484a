"""If these fail, a result escapes its filter, or a token works for someone else."""

import base64
import secrets

import pytest

from portcullis.core.errors import Problem
from portcullis.wire.mcp import Era
from portcullis.wire.mcp_lines import Lines
from portcullis.wire.mcp_results import adapt, check, input_requests, input_required, tool_specs
from portcullis.wire.mcp_state import Round, Seal, close_round, open_round


@pytest.mark.parametrize(
    ("method", "result"),
    [
        ("tools/list", {}),
        ("tools/list", {"tools": {}}),
        ("tools/list", {"tools": [{"title": "nameless"}]}),
        ("resources/list", {"resources": [{"uri": 1}]}),
        ("resources/templates/list", {"resourceTemplates": ["x"]}),
        ("prompts/list", {"prompts": None}),
        ("initialize", {}),
        ("initialize", {"protocolVersion": "2026-07-28"}),
        ("server/discover", {"resultType": "input_required"}),
    ],
)
def test_result_in_which_something_could_hide_is_refused(method, result):
    with pytest.raises(Problem) as caught:
        check(Era.MODERN, method, result)
    assert caught.value.code == "PC5003"


@pytest.mark.parametrize("era", Era)
def test_result_cannot_escape_its_schema_under_a_type_that_nobody_knows(era):
    check(era, "tools/call", {"resultType": "complete", "structuredContent": {}})
    for odd in ("odd", "task", "", None, ["complete"]):
        with pytest.raises(Problem) as caught:
            check(era, "tools/call", {"resultType": odd, "structuredContent": {}})
        assert caught.value.code == "PC5003"
    if era is Era.LEGACY:
        with pytest.raises(Problem):
            check(era, "tools/call", {"resultType": "input_required"})


@pytest.mark.parametrize(
    "method", ["tools/list", "resources/list", "resources/templates/list", "prompts/list"]
)
def test_filtered_list_is_private_and_stale_at_once(method):
    adapted = adapt(Era.MODERN, method, {"ttlMs": 5, "cacheScope": "public", "x": 1})
    assert adapted == {"ttlMs": 0, "cacheScope": "private", "x": 1}
    assert adapt(Era.LEGACY, method, {"x": 1}) == {"x": 1}


def test_resource_is_private_to_its_reader():
    adapted = adapt(Era.MODERN, "resources/read", {"ttlMs": 5, "cacheScope": "public"})
    assert adapted == {"ttlMs": 5, "cacheScope": "private"}


def test_question_is_one_only_in_the_modern_era():
    result = {"resultType": "input_required", "inputRequests": {"k": {"method": "roots/list"}}}
    assert input_required(Era.MODERN, result)
    assert not input_required(Era.LEGACY, result)
    assert input_requests(result) == {"k": ("roots/list", {})}
    assert adapt(Era.MODERN, "resources/read", result) == result


def test_tool_named_twice_is_refused_for_it_could_be_either():
    tool = {"name": "a", "inputSchema": {}}
    assert tool_specs({"tools": [tool]})[0].name == "a"
    for tools in ([tool, tool], [tool | {"outputSchema": []}]):
        with pytest.raises(Problem):
            tool_specs({"tools": tools})


def test_token_opens_only_with_what_it_was_bound_to():
    seal = Seal(secrets.token_bytes(32))
    token = seal.close(b"value", ("agent", "a1"))
    assert seal.open(token, ("agent", "a1")) == b"value"
    for bound in [("agent", "a2"), ("agenta1",), ("agent", "a1", ""), ()]:
        with pytest.raises(Problem):
            seal.open(token, bound)
    with pytest.raises(Problem):
        Seal(secrets.token_bytes(32)).open(token, ("agent", "a1"))


def test_client_cannot_read_in_a_token_what_no_check_has_read():
    seal = Seal(secrets.token_bytes(32))
    secret = secrets.token_hex(16)
    token = close_round(seal, Round(state=secret, asked={}, expires_at=1.0), ("x",))
    assert secret.encode() not in base64.urlsafe_b64decode(token)


def test_token_does_not_survive_any_changed_character():
    seal = Seal(secrets.token_bytes(32))
    token = seal.close(b"value!", ("x",))
    assert token.endswith("==")
    for place in range(len(token)):
        other = "A" if token[place] != "A" else "B"
        for changed in (token[:place] + other + token[place + 1 :], token[:place]):
            with pytest.raises(Problem) as caught:
                seal.open(changed, ("x",))
            assert caught.value.code == "PC1037"


def test_short_keys_are_not_accepted():
    with pytest.raises(ValueError, match="31"):
        Seal(secrets.token_bytes(31))


def test_round_expires():
    seal = Seal(secrets.token_bytes(32))
    known = Round(state="s", asked={"k": "roots/list"}, expires_at=10.0)
    token = close_round(seal, known, ("x",))
    assert open_round(seal, token, ("x",), 9.9) == known
    with pytest.raises(Problem) as caught:
        open_round(seal, token, ("x",), 10.0)
    assert caught.value.code == "PC1037"


def test_lines_of_any_ending_are_told_apart_and_long_ones_refused_once():
    lines = Lines(8)
    assert lines.feed(b"one\r\n\n \ntwo\nthree") == [b"one", b"two"]
    found = lines.feed(b"-too-long-and-longer")
    assert [problem.code for problem in found] == ["PC1007"]
    assert lines.feed(b"still\nfour\n") == [b"four"]
    assert lines.end() is None
    lines.feed(b"cut")
    assert lines.end().code == "PC1001"
