"""What a call and its answer say: every text in them, by who wrote it, and every part not text.

Every string of a payload is in one of the two lists, whatever member holds it, but for the fixed
words of the APIs. What a provider enciphered or signed for itself is a sealed text, if it looks
like that. Names of members that no API fixes are texts, and so are numbers of seven digits and
more.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final, TypeAlias

from portcullis.core.call import Action, Call
from portcullis.core.inspection import JSON_TEXT, SHOWN, Blob, Path, Source, Text
from portcullis.wire import texts_anthropic, texts_egress, texts_mcp, texts_openai
from portcullis.wire.replace import replaced
from portcullis.wire.walk import Walk

__all__ = ["decided", "replaced", "request_texts", "result_texts", "where"]

MAX_WHERE: Final = 200
"""Longest place in a finding, in characters."""

_Reader: TypeAlias = Callable[[Walk, dict[str, Any]], None]
_REQUESTS: Final[Mapping[str, _Reader]] = {
    "POST /v1/chat/completions": texts_openai.chat_request,
    "POST /v1/responses": texts_openai.responses_request,
    "POST /v1/embeddings": texts_openai.embeddings_request,
    "POST /v1/messages": texts_anthropic.request,
    "POST /v1/messages/count_tokens": texts_anthropic.request,
}
_ANSWERS: Final[Mapping[str, _Reader]] = {
    "POST /v1/chat/completions": texts_openai.chat_answer,
    "POST /v1/responses": texts_openai.responses_answer,
    "POST /v1/embeddings": texts_openai.embeddings_answer,
    "POST /v1/messages": texts_anthropic.answer,
    "POST /v1/messages/count_tokens": texts_anthropic.answer,
}
_DECIDED: Final[Mapping[Action, tuple[Path, ...]]] = {
    Action.MODEL: (("model",),),
    Action.TOOL: (("params", "name"),),
    Action.PROMPT: (("params", "name"),),
    Action.RESOURCE: (("params", "uri"), ("uri",)),
    Action.COMPLETE: (("params", "ref"),),
    Action.EGRESS: (("host",), ("path",), ("method",), ("name",)),
}


def request_texts(call: Call) -> tuple[list[Text], list[Blob]]:
    """What a call says. A server's request, and its notifications as one, are of source TOOL.

    In a request to a model the sources TOOL and DOCUMENT mark passages that can be put into an
    envelope; ids, names and addresses around them are of source MODEL.
    """
    walk = Walk(passages=call.action is Action.MODEL)
    if call.action is Action.EGRESS:
        texts_egress.request(walk, call.payload)
    elif call.action is not Action.MODEL:
        texts_mcp.request(walk, call)
    else:
        _read(walk, _REQUESTS.get(call.method), call.payload, Source.USER)
    return walk.texts, walk.blobs


def result_texts(call: Call, payload: Any) -> tuple[list[Text], list[Blob]]:
    """What came back, also an error. The client's answer to a server is of source MODEL."""
    walk = Walk()
    if call.action is Action.EGRESS:
        texts_egress.result(walk, payload)
    elif call.action is not Action.MODEL:
        texts_mcp.result(walk, call, payload)
    else:
        _read(walk, _ANSWERS.get(call.method), payload, Source.MODEL)
    return walk.texts, walk.blobs


def decided(call: Call, path: Path) -> bool:
    """Whether a text names what was decided on: it can be refused, but not be replaced."""
    return any(path[: len(start)] == start for start in _DECIDED.get(call.action, ()))


def where(path: Path) -> str:
    """A place for the log, such as ``messages[0].content``: ``$`` is the whole.

    A name that could be content is shown as ``?``.
    """
    shown = ""
    for step in path:
        if isinstance(step, int):
            shown += f"[{step}]"
        elif step != JSON_TEXT:
            shown += ("." if shown else "") + (step if SHOWN.fullmatch(step) else "?")
        if len(shown) > MAX_WHERE:
            return shown[: MAX_WHERE - 3] + "..."
    return shown or "$"


def _read(walk: Walk, reader: _Reader | None, payload: Any, source: Source) -> None:
    if reader is None or type(payload) is not dict:
        walk.free(payload, (), source)
    else:
        reader(walk, payload)
