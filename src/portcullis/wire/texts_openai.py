"""The texts of the OpenAI APIs: who wrote which part of a request or an answer."""

from __future__ import annotations

from typing import Any, Final

from portcullis.core.inspection import Path, Source
from portcullis.wire.walk import Walk, is_vector

_ROLES: Final = {
    "system": Source.SYSTEM,
    "developer": Source.SYSTEM,
    "user": Source.USER,
    "assistant": Source.MODEL,
    "tool": Source.TOOL,
    "function": Source.TOOL,
}
_MADE: Final = {
    "output": Source.TOOL,
    "outputs": Source.TOOL,
    "result": Source.TOOL,
    "results": Source.DOCUMENT,
    "error": Source.TOOL,
}
"""Members of items that hold what a tool gave, and not what the model asked of it."""
# Ciphertexts of the provider's own, which it alone makes and opens.
_ENCRYPTED: Final = {
    "reasoning": frozenset({"encrypted_content"}),
    "compaction": frozenset({"encrypted_content"}),
}
_NOTHING: Final[frozenset[str]] = frozenset()


def chat_request(walk: Walk, payload: dict[str, Any]) -> None:
    """A request for a chat completion."""
    for name, value in payload.items():
        if name == "messages" and type(value) is list:
            for index, item in enumerate(value):
                message(walk, item, ("messages", index))
        elif name == "prediction":
            walk.free(value, (name,), Source.USER, name)
        else:
            walk.free(value, (name,), Source.SYSTEM, name)


def chat_answer(walk: Walk, payload: dict[str, Any]) -> None:
    """A whole answer, or an error in its place."""
    for name, value in payload.items():
        if name == "choices" and type(value) is list:
            for index, choice in enumerate(value):
                _choice(walk, choice, ("choices", index))
        else:
            walk.around(name, value, (), Source.MODEL)


def _choice(walk: Walk, choice: Any, path: Path) -> None:
    if type(choice) is not dict:
        walk.free(choice, path, Source.MODEL)
        return
    for name, value in choice.items():
        if name == "message" and type(value) is dict:
            message(walk, value, (*path, name), Source.MODEL)
        else:
            walk.around(name, value, path, Source.MODEL)


def message(walk: Walk, value: dict[str, Any], path: Path, source: Source | None = None) -> None:
    """A message of a chat; without ``source`` its role says who wrote it."""
    written = source or _ROLES.get(value.get("role", ""), Source.USER)
    around = Source.MODEL if written is Source.TOOL else written
    for name, item in value.items():
        below = (*path, name)
        if name == "content":
            content(walk, item, below, written)
        elif name == "tool_calls" and type(item) is list:
            for index, call in enumerate(item):
                _call(walk, call, (*below, index))
        elif name == "function_call":
            _arguments(walk, item, below)
        elif name == "audio" and type(item) is dict:
            _audio(walk, item, below, around)
        else:
            walk.around(name, item, path, around)


def _call(walk: Walk, call: Any, path: Path) -> None:
    if type(call) is not dict:
        walk.free(call, path, Source.MODEL)
        return
    for name, item in call.items():
        below = (*path, name)
        if name == "function":
            _arguments(walk, item, below)
        else:
            walk.around(name, item, path, Source.MODEL)


def _arguments(walk: Walk, value: Any, path: Path) -> None:
    """An object whose ``arguments`` are JSON text."""
    if type(value) is not dict:
        walk.free(value, path, Source.MODEL)
        return
    for name, item in value.items():
        if name == "arguments":
            walk.json_text(item, (*path, name), Source.MODEL, name)
        else:
            walk.around(name, item, path, Source.MODEL)


def _audio(walk: Walk, value: dict[str, Any], path: Path, source: Source) -> None:
    for name, item in value.items():
        if name == "data":
            walk.data(item, (*path, name), source, name, f"audio/{value.get('format', '*')}")
        else:
            walk.around(name, item, path, source)


def content(walk: Walk, value: Any, path: Path, source: Source) -> None:
    """A string, or a list of content parts."""
    if type(value) is list:
        for index, item in enumerate(value):
            part(walk, item, (*path, index), source)
    else:
        walk.free(value, path, source, "content")


def part(walk: Walk, value: Any, path: Path, source: Source) -> None:
    """A content part of a chat or of a response."""
    if type(value) is not dict:
        walk.free(value, path, source, "content")
        return
    for name, item in value.items():
        below = (*path, name)
        if name == "image_url" and type(item) is dict:
            part(walk, item, below, source)
        elif name in {"image_url", "file_url", "url"}:
            walk.media(item, below, source, name)
        elif name == "file" and type(item) is dict:
            part(walk, item, below, source)
        elif name == "file_data":
            _file(walk, item, below, source)
        elif name == "file_id":
            walk.reference(item, below, source, name)
        elif name == "input_audio" and type(item) is dict:
            _audio(walk, item, below, source)
        else:
            walk.around(name, item, path, source)


def _file(walk: Walk, value: Any, path: Path, source: Source) -> None:
    """A file, which somebody else may have written: a URL of some kind, or bare base64."""
    source = source if source is Source.TOOL else Source.DOCUMENT
    if type(value) is str and ":" not in value:
        walk.data(value, path, source, "file_data", "")
    else:
        walk.media(value, path, source, "file_data")


def responses_request(walk: Walk, payload: dict[str, Any]) -> None:
    """A request for a response."""
    for name, value in payload.items():
        if name == "input" and type(value) is list:
            for index, entry in enumerate(value):
                item(walk, entry, ("input", index))
        elif name == "input":
            walk.free(value, (name,), Source.USER, name)
        elif name == "prompt" and type(value) is dict:
            _prompt(walk, value)
        else:
            walk.free(value, (name,), Source.SYSTEM, name)


def _prompt(walk: Walk, prompt: dict[str, Any]) -> None:
    """A stored prompt's id, and the user's words that are put into it."""
    for name, value in prompt.items():
        if name == "variables" and type(value) is dict:
            for variable, filled in value.items():
                below = ("prompt", name, variable)
                walk.member(variable, below, Source.USER)
                part(walk, filled, below, Source.USER)
        else:
            walk.free(value, ("prompt", name), Source.SYSTEM, name)


def responses_answer(walk: Walk, payload: dict[str, Any], path: Path = ()) -> None:
    """A whole response, or an error in its place. Beside the output it repeats the request."""
    for name, value in payload.items():
        below = (*path, name)
        if name == "output" and type(value) is list:
            for index, entry in enumerate(value):
                item(walk, entry, (*below, index))
        else:
            walk.around(name, value, path, Source.SYSTEM)


def item(walk: Walk, value: Any, path: Path) -> None:
    """An item of a response's input or output."""
    if type(value) is not dict:
        walk.free(value, path, Source.MODEL)
        return
    kind = value.get("type", "message")
    if kind == "message":
        message(walk, value, path)
    elif kind in {"additional_tools", "configuration_update", "tool_search_output"}:
        walk.free(value, path, Source.SYSTEM)
    else:
        _entry(walk, value, path, kind)


def _entry(walk: Walk, value: dict[str, Any], path: Path, kind: Any) -> None:
    """An item that is a call, its output, or a trace of either."""
    opaque = _ENCRYPTED.get(kind, _NOTHING) if type(kind) is str else _NOTHING
    for name, entry in value.items():
        below = (*path, name)
        if name == "arguments":
            walk.json_text(entry, below, Source.MODEL, name)
        elif name == "result" and kind == "image_generation_call":
            walk.data(entry, below, Source.MODEL, name, "image/*")
        elif name in _MADE and type(entry) is list:
            for index, made in enumerate(entry):
                part(walk, made, (*below, index), _MADE[name])
        elif name in _MADE and type(entry) is dict:
            part(walk, entry, below, _MADE[name])
        elif name in _MADE:
            walk.free(entry, below, _MADE[name], name)
        else:
            walk.member(name, below, Source.MODEL)
            walk.free(entry, below, Source.MODEL, name, opaque)


def embeddings_request(walk: Walk, payload: dict[str, Any]) -> None:
    """A request for vectors: the user's texts. Tokens are numbers of a fixed vocabulary."""
    for name, value in payload.items():
        walk.free(value, (name,), Source.USER if name == "input" else Source.SYSTEM, name)


def embeddings_answer(walk: Walk, payload: dict[str, Any]) -> None:
    """Vectors, which say nothing in floats or in base64 of no text, and what is around them."""
    for name, value in payload.items():
        if name == "data" and type(value) is list:
            for index, vector in enumerate(value):
                walk.free(_around(vector), (name, index), Source.MODEL, name)
        else:
            walk.around(name, value, (), Source.MODEL)


def _around(vector: Any) -> Any:
    """What stands around the numbers of a vector."""
    if type(vector) is not dict:
        return vector
    numbers = vector.get("embedding")
    if type(numbers) is str:
        vectors = is_vector(numbers)
    else:
        vectors = type(numbers) is list and {type(n) for n in numbers} <= {int, float}
    if not vectors:
        return vector
    return {name: value for name, value in vector.items() if name != "embedding"}
