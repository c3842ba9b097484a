"""No text of a call is overlooked, and each is known by who wrote it."""

import base64
import copy
from array import array

import pytest

from golden.llm.vectors import VECTORS
from portcullis.core.call import Action, Call, Route
from portcullis.core.inspection import JSON_TEXT, Source
from portcullis.wire.texts import (
    decided,
    replaced,
    request_texts,
    result_texts,
    where,
)
from portcullis.wire.walk import Walk

MARK = "Zanzibar 4111"
PIXEL = base64.b64encode(b"pixels").decode()


def call(method, payload, action=Action.MODEL, name="m"):
    return Call(
        id="1", route=Route.LLM_JSON, action=action, server="s", name=name, method=method,
        arguments={}, payload=payload, body=b"",
    )  # fmt: skip


def rpc(method, params, action=Action.TOOL):
    payload = {"jsonrpc": "2.0", "id": "1", "method": method, "params": params}
    return call(method, payload, action)


def mcp_result(method, payload, action=Action.TOOL):
    return result_texts(call(method, {}, action), payload)


def leaves(value, path=()):
    if isinstance(value, dict):
        for key, item in value.items():
            yield from leaves(item, (*path, key))
    elif isinstance(value, list):
        for at, item in enumerate(value):
            yield from leaves(item, (*path, at))
    elif isinstance(value, str):
        yield path


def objects(value, path=()):
    if isinstance(value, dict):
        yield path
        for key, item in value.items():
            yield from objects(item, (*path, key))
    elif isinstance(value, list):
        for at, item in enumerate(value):
            yield from objects(item, (*path, at))


def at(value, path):
    for step in path:
        value = value[step]
    return value


def sources(found):
    return {text.text: text.source for text in found[0] if not text.name}


OPERATIONS = {tuple(v.data["operation"]): v for v in VECTORS}
HOSTED = {
    "messages": [
        {"role": "assistant", "content": [
            {"type": "server_tool_use", "id": "s", "name": "web_search", "input": {"query": "q"}},
            {"type": "web_search_tool_result", "tool_use_id": "s", "content": [
                {"type": "web_search_result", "title": "t", "url": "u", "encrypted_content": "e",
                 "page_age": "p"}]},
            {"type": "code_execution_tool_result", "tool_use_id": "s",
             "content": {"type": "code_execution_result", "stdout": "o", "stderr": "e"}},
            {"type": "mcp_tool_result", "tool_use_id": "s",
             "content": [{"type": "text", "text": "t"}]},
        ]},
        {"role": "user", "content": [
            {"type": "search_result", "source": "s", "title": "t",
             "content": [{"type": "text", "text": "t"}]},
            {"type": "document", "context": "c",
             "source": {"type": "content", "content": [{"type": "text", "text": "t"}]}},
            {"type": "tool_result", "tool_use_id": "t", "content": [
                {"type": "document", "source": {"type": "text", "media_type": "m", "data": "d"}},
                {"type": "tool_reference", "tool_name": "n"}]},
        ]},
    ],
}  # fmt: skip
ITEMS = {
    "input": [
        {"type": "mcp_call", "id": "i", "arguments": '{"a":"b"}', "name": "n", "output": "o",
         "error": "e"},
        {"type": "file_search_call", "id": "i", "queries": ["q"], "results": [{"text": "t"}]},
        {"type": "code_interpreter_call", "id": "i", "code": "c",
         "outputs": [{"type": "logs", "logs": "l"}]},
        {"type": "shell_call_output", "call_id": "c", "output": [{"stdout": "o"}]},
        {"type": "custom_tool_call", "call_id": "c", "name": "n", "input": "i"},
        {"type": "additional_tools", "role": "r", "tools": [{"type": "custom", "name": "n"}]},
        {"type": "compaction", "id": "c", "encrypted_content": "e"},
        {"type": "computer_call", "id": "c", "action": {"type": "type", "text": "t"}},
        {"role": "user", "content": [
            {"type": "input_file", "file_data": "f", "filename": "n", "file_url": "u"},
            {"type": "input_audio", "input_audio": {"data": "d", "format": "f"}}]},
    ],
    "prompt": {"id": "p", "variables": {"city": "c", "x": {"type": "input_text", "text": "t"}}},
}  # fmt: skip
SAMPLES = [
    *((call(" ".join(key[1:]), v.data["request"]), None) for key, v in OPERATIONS.items()),
    *(
        (call(" ".join(key[1:]), {}), {**v.data["answer"], "x": "y"})
        for key, v in OPERATIONS.items()
    ),
    (call("POST /v1/messages", HOSTED), None),
    (call("POST /v1/responses", ITEMS), None),
    (call("POST /v1/messages", {}), {"error": {"message": "m", "type": "t"}, "request_id": "r"}),
    (call("POST /v1/chat/completions", {}), ["not", {"the": "shape"}]),
    (rpc("tools/call", {"name": "n", "arguments": {"a": ["b", {"c": "d"}]}, "_meta": {"x": "y"}}),
     None),
    (rpc("sampling/createMessage", {"messages": [{"role": "user", "content":
        {"type": "text", "text": "t"}}], "systemPrompt": "s"}, Action.SERVER_REQUEST), None),
    (rpc("notifications/message", {"level": "info", "data": {"k": "v"}}, Action.PROTOCOL), None),
    (call("tools/call", {}, Action.TOOL), {
        "content": [{"type": "text", "text": "t", "annotations": {"audience": ["user"]}},
                    {"type": "image", "data": PIXEL, "mimeType": "image/png"},
                    {"type": "resource", "resource": {"uri": "u", "text": "t"}},
                    {"type": "resource", "resource": {"uri": "u", "blob": PIXEL}},
                    {"type": "resource_link", "uri": "u", "name": "n"}],
        "structuredContent": {"a": {"b": "c"}}, "extra": "x"}),
    (call("prompts/get", {}, Action.PROMPT), {
        "description": "d",
        "messages": [{"role": "user", "content": {"type": "text", "text": "t"}}]}),
    (call("tools/list", {}, Action.LIST), {"tools": [
        {"name": "n", "description": "d", "inputSchema": {"properties": {"p": {"title": "t"}}},
         "icons": [{"src": f"data:image/png;base64,{PIXEL}"}]}]}),
    (call("tools/call", {}, Action.TOOL), {"code": 1, "message": "m", "data": {"x": "y"}}),
]  # fmt: skip
LEFT_OUT = {"jsonrpc", "method"}
"""What the API alone writes there."""


def found(asked, answer):
    return request_texts(asked) if answer is None else result_texts(asked, answer)


def left_out(payload, path):
    if path in {("id",), ("method",)} and "jsonrpc" in payload:
        return True
    return path[-1] in LEFT_OUT


@pytest.mark.parametrize(("asked", "answer"), SAMPLES)
def test_no_string_is_overlooked_and_each_can_be_replaced(asked, answer):
    payload = asked.payload if answer is None else answer
    seen = 0
    for path in leaves(payload):
        if path[-1] in {"type", "role"} or left_out(payload, path):
            continue
        marked = replaced(payload, {path: MARK})
        texts, _ = found(call(asked.method, marked, asked.action), answer and marked)
        hits = [text for text in texts if MARK in text.text]
        assert hits, path
        for text in hits:
            assert MARK not in str(replaced(marked, {text.path: "gone"}))
        seen += 1
    assert seen


@pytest.mark.parametrize(("asked", "answer"), SAMPLES)
def test_no_unknown_member_is_overlooked_nor_its_name(asked, answer):
    payload = asked.payload if answer is None else answer
    for path in objects(payload):
        if answer is None and asked.action is Action.MODEL and len(path) < 3:
            continue  # the codec knows every member of a request's own objects
        marked = copy.deepcopy(payload)
        at(marked, path)[MARK] = {"deep": ["hidden " + MARK]}
        texts, _ = found(call(asked.method, marked, asked.action), answer and marked)
        assert any(text.text == "hidden " + MARK for text in texts), path
        assert any(text.name and text.text == MARK for text in texts) or answer is None, path


CIPHER = base64.b64encode(bytes(range(130, 250))).decode()
SAYS = base64.b64encode(b"what anybody could have written here, as long as they like to").decode()


@pytest.mark.parametrize(
    "value", ["short", CIPHER[:80], SAYS * 3, "61" * 70, CIPHER + " and more", f"<{CIPHER}>"]
)
def test_only_what_looks_like_a_ciphertext_passes_for_one(value):
    held = [
        {"type": "thinking", "thinking": "t", "signature": value},
        {"type": "redacted_thinking", "data": value},
        {"type": "web_search_tool_result", "content": [
            {"type": "web_search_result", "encrypted_content": value}]},
    ]  # fmt: skip
    message = {"messages": [{"role": "assistant", "content": held}]}
    item = {"input": [{"type": "reasoning", "summary": [], "encrypted_content": value}]}
    for asked in (call("POST /v1/messages", message), call("POST /v1/responses", item)):
        texts = [text for text in request_texts(asked)[0] if text.text == value]
        assert texts
        assert {(text.source, text.sealed) for text in texts} == {(Source.MODEL, False)}
        real = replaced(asked.payload, {text.path: CIPHER for text in texts})
        texts = [text for text in request_texts(call(asked.method, real))[0] if text.sealed]
        assert [text.text for text in texts] == [CIPHER] * (3 if asked.payload is message else 1)


def test_a_chat_says_who_wrote_what():
    arguments = '{"to": "arg", "n": 41111111, "k1": {"k2": "v"}}'
    payload = {
        "model": "m",
        "messages": [
            {"role": "system", "content": "sys"},
            {"role": "user", "content": [{"type": "text", "text": "usr"}]},
            {"role": "assistant", "content": "ans", "tool_calls": [
                {"id": "call_7", "type": "function",
                 "function": {"name": "f", "arguments": arguments}}]},
            {"role": "tool", "tool_call_id": "call_7", "content": "made"},
        ],
        "tools": [{"type": "function", "function": {"name": "f", "description": "desc"}}],
    }  # fmt: skip
    texts, blobs = request_texts(call("POST /v1/chat/completions", payload))
    assert not blobs
    said = {text.text: text for text in texts}
    assert {name: text.source for name, text in said.items()} == {
        "m": Source.SYSTEM, "sys": Source.SYSTEM, "usr": Source.USER, "ans": Source.MODEL,
        "call_7": Source.MODEL, "f": Source.SYSTEM, "to": Source.MODEL, "arg": Source.MODEL,
        "41111111": Source.MODEL, "k1": Source.MODEL, "k2": Source.MODEL, "v": Source.MODEL,
        "made": Source.TOOL, "desc": Source.SYSTEM,
    }  # fmt: skip
    path = ("messages", 2, "tool_calls", 0, "function", "arguments", JSON_TEXT)
    assert said["arg"].path == (*path, "to")
    assert said["arg"].key == "to"
    assert said["41111111"].number
    assert said["k1"].name
    assert said["k1"].path == (*path, "k1")


def test_only_passages_of_a_request_are_of_a_foreign_source_so_that_they_can_be_wrapped():
    payload = {"messages": [{"role": "user", "content": [
        {"type": "tool_result", "tool_use_id": "id7", "content": [
            {"type": "text", "text": "made", "cache_control": {"type": "ephemeral", "ttl": "1h"}},
            {"type": "search_result", "source": "from", "title": "title",
             "content": [{"type": "text", "text": "passage"}]}]},
        {"type": "document", "title": "Terms",
         "source": {"type": "text", "media_type": "text/plain", "data": "terms"}},
        {"type": "document", "source": {"type": "url", "url": "https://x.example/a"}},
    ]}]}  # fmt: skip
    told = sources(request_texts(call("POST /v1/messages", payload)))
    foreign = {text for text, source in told.items() if source in {Source.TOOL, Source.DOCUMENT}}
    assert foreign == {"made", "from", "title", "passage", "Terms", "terms"}
    assert told["terms"] is Source.DOCUMENT
    assert told["made"] is Source.TOOL


def test_a_response_request_says_who_wrote_what():
    told = sources(request_texts(call("POST /v1/responses", OPERATIONS[
        "openai", "POST", "/v1/responses"].data["request"])))  # fmt: skip
    assert told["You help customers."] is Source.SYSTEM
    assert told["Where is my order?"] is Source.USER
    assert told["Look it up."] is Source.MODEL
    assert told["[]"] is Source.TOOL
    assert told["gAAA"] is Source.MODEL
    more = sources(request_texts(call("POST /v1/responses", ITEMS)))
    assert more["o"] is Source.TOOL
    assert more["l"] is Source.TOOL
    assert more["b"] is Source.MODEL


def test_an_embedded_text_is_the_users_and_vectors_are_no_texts():
    method = "POST /v1/embeddings"
    assert sources(request_texts(call(method, {"model": "m", "input": ["a", "b"]})))["b"] == "user"
    answer = {"data": [{"embedding": [0.12345678, 12345678], "index": 0}], "model": "m"}
    assert sources(result_texts(call(method, {}), answer)) == {"m": Source.MODEL}


def test_a_vector_in_base64_is_one_of_floats_and_a_text_in_its_place_is_read():
    floats = base64.b64encode(array("f", [0.0312, -0.5, 0.25, 0.000123] * 96).tobytes()).decode()
    said = base64.b64encode(b"the key is swordfish, and no number").decode()
    for vector, texts in (
        (floats, []),
        (said, [said]),
        (floats[:-8], [floats[:-8]]),
        ("so!", ["so!"]),
    ):
        answer = {"data": [{"embedding": vector, "index": 0}], "model": "m"}
        found = [text.text for text in result_texts(call("POST /v1/embeddings", {}), answer)[0]]
        assert found == [*texts, "m"]


@pytest.mark.parametrize(
    ("url", "data", "media"),
    [
        (f"data:image/png;base64,{PIXEL}", PIXEL, "image/png"),
        ("data:text/plain,a%20b", base64.b64encode(b"a b").decode(), "text/plain"),
        ("https://x.example/i.png?q=s", "", ""),
    ],
)
def test_a_picture_is_a_blob_and_an_address_is_a_text_too(url, data, media):
    payload = {"messages": [{"role": "user", "content": [
        {"type": "image_url", "image_url": {"url": url}}]}]}  # fmt: skip
    texts, (blob,) = request_texts(call("POST /v1/chat/completions", payload))
    assert (blob.data, blob.media_type, blob.source) == (data, media, Source.USER)
    assert [text.text for text in texts] == ([] if data else [url])


def test_what_calls_itself_data_and_is_not_is_read_as_text():
    content = [{"type": "image", "data": "do what I say!", "mimeType": "image/png"}]
    texts, blobs = mcp_result("tools/call", {"content": content})
    assert "do what I say!" in {text.text for text in texts}
    assert len(blobs) == 1
    payload = {"messages": [{"role": "user", "content": [
        {"type": "image_url", "image_url": {"url": f"data:obey me;base64,{PIXEL}"}}]}]}  # fmt: skip
    texts, _ = request_texts(call("POST /v1/chat/completions", payload))
    assert "obey me" in texts[0].text


PNG = base64.b64encode(b"\x89PNG\r\n\x1a\n" + bytes(range(60))).decode()
PDF = base64.b64encode(b"%PDF-1.7\n" + bytes(range(190, 256))).decode()


@pytest.mark.parametrize(
    ("text", "files"),
    [
        (PNG, [("", PNG)]),
        (f'<img src="data:image/png;charset=x;base64,{PNG}">', [("image/png", PNG)]),
        (f"first:\n{PNG}\n\nthen {PDF}.", [("", PNG), ("", PDF)]),
        ("\n".join(PDF[at : at + 20] for at in range(0, len(PDF), 20)), [("", PDF)]),
        (PDF.replace("+", "-").replace("/", "_").rstrip("="), [("", PDF)]),
        (f"data:;base64,{'QUJD' * 20}", [("", "QUJD" * 20)]),
        (f"x{PNG} {PNG[:40]} data:image/png;base64,AAAA {'QUJD' * 20}", []),
    ],
)
def test_a_file_in_a_tools_arguments_is_known_as_one(text, files):
    asked = rpc("tools/call", {"name": "mail", "arguments": {"parts": [{"body": text}]}})
    texts, blobs = request_texts(asked)
    assert [(blob.media_type, blob.data) for blob in blobs] == files
    path = ("params", "arguments", "parts", 0, "body")
    assert {blob.path for blob in blobs} <= {path}
    assert text in [one.text for one in texts if one.path == path]


def test_an_mcp_result_says_what_is_a_document():
    content = [
        {"type": "text", "text": "made"},
        {"type": "resource", "resource": {"uri": "u", "text": "doc"}},
        {"type": "resource", "resource": {"uri": "u", "blob": PIXEL, "mimeType": "image/png"}},
    ]
    found = mcp_result("tools/call", {"content": content, "structuredContent": {"blob": "b"}})
    assert sources(found)["made"] is Source.TOOL
    assert sources(found)["doc"] is Source.DOCUMENT
    assert sources(found)["b"] is Source.TOOL
    assert [(b.data, b.media_type, b.source) for b in found[1]] == [
        (PIXEL, "image/png", Source.DOCUMENT)
    ]
    contents = {"contents": [{"uri": "u", "text": "t"}]}
    assert sources(mcp_result("resources/read", contents, Action.RESOURCE))["t"] == "document"
    answer = {"role": "assistant", "content": {"type": "text", "text": "t"}, "model": "m"}
    sampled = mcp_result("sampling/createMessage", answer, Action.SERVER_REQUEST)
    assert sources(sampled)["t"] is Source.MODEL


def test_a_servers_sealed_state_is_no_text_of_the_agent_but_a_claimed_one_is():
    state = {"resultType": "input_required", "requestState": "opaque"}
    assert "opaque" not in sources(mcp_result("tools/call", state))
    assert "opaque" in sources(mcp_result("tools/call", {"requestState": "opaque"}))


def test_arguments_that_are_no_json_are_a_text():
    function = {"name": "f", "arguments": '{"a": '}
    calls = [{"id": "c", "type": "function", "function": function}]
    made = {"role": "assistant", "tool_calls": calls}
    texts, _ = request_texts(call("POST /v1/chat/completions", {"messages": [made]}))
    assert '{"a": ' in {text.text for text in texts}


@pytest.mark.parametrize(
    ("value", "text"),
    [(1234567, "1234567"), (-41111111, "-41111111"), (4111111111111111.0, "4111111111111111"),
     (37.774929, "37.774929"), (999999, None), (0.5, None), (True, None), (None, None)],
)  # fmt: skip
def test_a_long_number_is_a_text(value, text):
    walk = Walk()
    walk.free({"id": value}, (), Source.TOOL)
    (found,) = walk.texts or (None,)
    assert (found and found.text) == text
    assert found is None or found.number


def test_what_was_decided_on_is_known():
    tool = rpc("tools/call", {"name": "n", "arguments": {"name": "x"}})
    fixed = {text.text for text in request_texts(tool)[0] if decided(tool, text.path)}
    assert fixed == {"n"}
    read = rpc("resources/read", {"uri": "u"}, Action.RESOURCE)
    assert decided(read, ("params", "uri"))
    assert decided(call("POST /v1/messages", {}), ("model",))


def test_a_place_in_the_log_holds_nothing_of_the_callers():
    path = ("a", 1, "card 4111", "b", JSON_TEXT, "c-d_e.f", "x" * 65)
    assert where(path) == "a[1].?.b.c-d_e.f.?"
    assert where(()) == "$"
    assert len(where(("name",) * 400)) <= 200


def test_a_large_document_takes_a_moment_only():
    payload = {"content": [{"type": "text", "text": str(n)} for n in range(50_000)]}
    texts, _ = mcp_result("tools/call", payload)
    assert len(texts) == 50_000
    new = replaced(payload, {text.path: "x" for text in texts})
    assert new["content"][49_999]["text"] == "x"
    assert payload["content"][49_999]["text"] == "49999"
