"""The texts of the Anthropic API: who wrote which block of a request or an answer."""

from __future__ import annotations

from typing import Any, Final

from portcullis.core.inspection import Path, Source
from portcullis.wire.walk import Walk

_ROLES: Final = {"user": Source.USER, "assistant": Source.MODEL, "system": Source.SYSTEM}
_QUOTED: Final = {
    "tool_result": Source.TOOL,
    "document": Source.DOCUMENT,
    "search_result": Source.DOCUMENT,
}
"""Blocks whose content was written elsewhere, whoever passes them on."""
# Signatures and ciphertexts of the provider's own, which it alone makes and checks.
_OPAQUE: Final = {
    "thinking": frozenset({"signature"}),
    "redacted_thinking": frozenset({"data"}),
    "compaction": frozenset({"signature", "encrypted_content"}),
    "text": frozenset({"encrypted_index"}),
    "web_search_result": frozenset({"encrypted_content"}),
    "encrypted_code_execution_result": frozenset({"encrypted_stdout"}),
}
_NOTHING: Final[frozenset[str]] = frozenset()
_BOUND: Final = frozenset({"tool_use_id", "id", "name", "caller", "cache_control", "toolset_name"})
"""Members of a quoting block that the caller wrote."""


def request(walk: Walk, payload: dict[str, Any]) -> None:
    """A request for a message, or to count its tokens."""
    for name, value in payload.items():
        if name == "messages" and type(value) is list:
            for index, item in enumerate(value):
                _message(walk, item, ("messages", index))
        elif name == "system":
            blocks(walk, value, (name,), Source.SYSTEM)
        else:
            walk.free(value, (name,), Source.SYSTEM, name)


def answer(walk: Walk, payload: dict[str, Any], path: Path = ()) -> None:
    """A whole message, or an error in its place."""
    for name, value in payload.items():
        below = (*path, name)
        if name == "content":
            blocks(walk, value, below, Source.MODEL)
        else:
            walk.around(name, value, path, Source.MODEL)


def _message(walk: Walk, value: dict[str, Any], path: Path) -> None:
    source = _ROLES.get(value.get("role", ""), Source.USER)
    for name, item in value.items():
        if name == "content":
            blocks(walk, item, (*path, name), source)
        else:
            walk.free(item, (*path, name), source, name)


def blocks(walk: Walk, value: Any, path: Path, source: Source) -> None:
    """A string, a list of content blocks, or one block."""
    if type(value) is list:
        for index, item in enumerate(value):
            block(walk, item, (*path, index), source)
    elif type(value) is dict:
        block(walk, value, path, source)
    else:
        walk.free(value, path, source, "content")


def block(walk: Walk, value: Any, path: Path, source: Source) -> None:
    """A content block."""
    if type(value) is not dict:
        walk.free(value, path, source, "content")
        return
    kind = value.get("type")
    if type(kind) is not str:
        kind = ""
    around = source
    if kind in _QUOTED:
        source = _QUOTED[kind]
    elif kind.endswith("_tool_result"):
        source = Source.TOOL
    for name, item in value.items():
        below = (*path, name)
        if name == "content":
            blocks(walk, item, below, source)
        elif name == "source" and type(item) is dict:
            _source(walk, item, below, source)
        elif name == "file_id":
            walk.reference(item, below, source, name)
        else:
            writer = around if name in _BOUND else source
            walk.member(name, below, writer)
            walk.free(item, below, writer, name, _OPAQUE.get(kind, _NOTHING))


def _source(walk: Walk, value: dict[str, Any], path: Path, source: Source) -> None:
    """Where an image or a document comes from."""
    kind = value.get("type")
    for name, item in value.items():
        below = (*path, name)
        if name == "data" and kind != "text":
            walk.data(item, below, source, name, value.get("media_type"))
        elif name == "url":
            walk.media(item, below, source, name)
        elif name == "file_id":
            walk.reference(item, below, source, name)
        elif name == "content":
            blocks(walk, item, below, source)
        else:
            walk.around(name, item, path, source)
