"""The texts of MCP messages: who wrote which part of a request, a result or a notification."""

from __future__ import annotations

from typing import Any, Final

from portcullis.core.call import Action, Call
from portcullis.core.inspection import Blob, Path, Source
from portcullis.wire.attached import attached
from portcullis.wire.walk import Walk

_ENVELOPE: Final = frozenset({"jsonrpc", "id", "method"})
"""Constants, an id of the gate's own, and a method that the gate knows."""
_DOCUMENTS: Final = frozenset({"prompts/get", "resources/read"})
_MEDIA: Final = frozenset({"image", "audio"})


def request(walk: Walk, call: Call) -> None:
    """A request or notification: the agent's own, or with SERVER_REQUEST the server's.

    ``requestState`` is the server's own word, which only the gate's seal brings back to it.
    """
    payload = call.payload
    source = Source.TOOL if call.action is Action.SERVER_REQUEST else Source.MODEL
    if type(payload) is not dict:
        walk.free(payload, (), source)
        return
    for name, value in payload.items():
        if name in _ENVELOPE:
            continue
        if name != "params" or type(value) is not dict:
            walk.member(name, (name,), source)
            walk.free(value, (name,), source, name)
            continue
        for member, item in value.items():
            if member == "arguments":
                first = len(walk.texts)
                walk.free(item, (name, member), source, member)
                _files(walk, first, source)
            elif member != "requestState":
                content(walk, item, (name, member), source, member)


def _files(walk: Walk, first: int, source: Source) -> None:
    """The files that strings may hold, of the texts from the one numbered ``first`` on."""
    walk.blobs += [
        Blob(path=text.path, data=data, media_type=kind, source=source)
        for text in walk.texts[first:]
        for kind, data in attached(text.text)
    ]


def result(walk: Walk, call: Call, payload: Any) -> None:
    """A result or an error object; with SERVER_REQUEST the client's answer to the server.

    The ``requestState`` of a question is sealed before the client gets it, and each of its
    ``inputRequests`` is read as the request that it is. The strings of a tool's result may hold
    files, as its arguments may.
    """
    source = Source.DOCUMENT if call.method in _DOCUMENTS else Source.TOOL
    if call.action is Action.SERVER_REQUEST:
        source = Source.MODEL
    if type(payload) is dict:
        _members(walk, call, payload, source)
    else:
        walk.free(payload, (), source)
    if call.action is Action.TOOL:
        _files(walk, 0, source)


def _members(walk: Walk, call: Call, payload: dict[str, Any], source: Source) -> None:
    asks = payload.get("resultType") == "input_required"
    asks = asks and call.action is not Action.SERVER_REQUEST
    for name, value in payload.items():
        if asks and name == "requestState":
            continue
        walk.member(name, (name,), source)
        if asks and name == "inputRequests" and type(value) is dict:
            for asked in value:
                walk.member(asked, (name, asked), source)
        elif name == "structuredContent":
            walk.free(value, (name,), source, name)
        elif call.action is Action.LIST and type(value) is list:
            for index, item in enumerate(value):
                _listed(walk, item, (name, index), source, name)
        else:
            content(walk, value, (name,), source, name)


def _listed(walk: Walk, value: Any, path: Path, source: Source, key: str) -> None:
    """An item of a list: a tool, a resource, a prompt. Its schemas are free JSON."""
    if type(value) is not dict:
        walk.free(value, path, source, key)
        return
    for name, item in value.items():
        walk.member(name, (*path, name), source)
        if name == "icons":
            content(walk, item, (*path, name), source, name)
        else:
            walk.free(item, (*path, name), source, name)


def content(walk: Walk, value: Any, path: Path, source: Source, key: str) -> None:
    """Content blocks wherever they stand: an embedded resource is a document, media are blobs."""
    if type(value) is list:
        for index, item in enumerate(value):
            content(walk, item, (*path, index), source, key)
    elif type(value) is dict:
        held = _data(value)
        embeds = value.get("type") == "resource"
        for name, item in value.items():
            below = (*path, name)
            walk.member(name, below, source)
            if name == held:
                walk.data(item, below, source, name, value.get("mimeType"))
            elif name == "src" and type(item) is str and item.startswith("data:"):
                walk.media(item, below, source, name)
            elif name == "structuredContent":
                walk.free(item, below, source, name)
            else:
                content(walk, item, below, _inside(name, source, embeds=embeds), name)
    else:
        walk.free(value, path, source, key)


def _inside(name: str, source: Source, *, embeds: bool) -> Source:
    return Source.DOCUMENT if embeds and name == "resource" else source


def _data(value: dict[str, Any]) -> str | None:
    """The member that holds base64, by the shapes of the specification."""
    kind = value.get("type")
    if type(kind) is str and kind in _MEDIA:
        return "data"
    return "blob" if "uri" in value else None
