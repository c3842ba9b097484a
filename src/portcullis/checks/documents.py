"""The documents in a tool's result (MCP ``CallToolResult``), and the result with other ones.

A result is read as the policy's paths mean it: its structured content, of an object that holds
nothing but a ``result`` that; else its texts, each of which is one JSON document, several a list.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, TypeAlias

from portcullis.checks.columns import Steps
from portcullis.core.errors import Problem
from portcullis.wire.json import decode, encode
from portcullis.wire.mcp_told import tells_nothing

Rewrite: TypeAlias = Callable[[Any, Steps | None], Any]

FAILED: Final = "The tool failed. What it said is withheld: columns of its results are masked."
_MEMBERS: Final = frozenset(["content", "structuredContent", "isError", "resultType", "_meta"])
_BARE: Final = frozenset(["type", "text"])
_TEXT: Final = _BARE | {"annotations"}


def failed(payload: Any) -> dict[str, Any]:
    """The result of a tool that failed, or a JSON-RPC error, without its words: no columns."""
    if isinstance(payload, dict) and type(payload.get("code")) is int:
        return {"code": payload["code"], "message": FAILED}
    kept = {"isError": True, "content": [{"type": "text", "text": FAILED}]}
    kind = payload.get("resultType") if isinstance(payload, dict) else None
    return kept | ({"resultType": "complete"} if kind == "complete" else {})


def asks(payload: Any) -> bool:
    """Whether it is no result yet, but a question back."""
    return isinstance(payload, dict) and payload.get("resultType", "complete") != "complete"


def rewritten(payload: Any, rewrite: Rewrite) -> Any:
    """The result with ``rewrite`` done to its document; the same object when nothing changed.

    ``rewrite`` gets the document and, of structured content, the steps that lead to what policy's
    paths begin at; None of texts. Beside structured content, texts say the same once more, so they
    are written anew from it. What is in the protocol's own members of ``_meta`` does not go on: it
    has room for any words. Raises Problem PC3030 for a result that is not JSON through and through.
    """
    if not isinstance(payload, dict) or not payload.keys() <= _MEMBERS:
        raise Problem("PC3030", "the result has members that nobody knows")
    if not isinstance(payload.get("isError", False), bool):
        raise Problem("PC3030", "isError says more than yes or no")
    if not tells_nothing(payload.get("_meta")):
        raise Problem("PC3030", "the result's _meta says something of its own")
    if "_meta" in payload:
        payload = {name: item for name, item in payload.items() if name != "_meta"}
    blocks = payload.get("content") or []
    if not isinstance(blocks, list) or not all(map(_plain, blocks)):
        raise Problem("PC3030", "the result holds more than texts")
    structured = payload.get("structuredContent")
    if structured is not None:
        wrapped = isinstance(structured, dict) and structured.keys() == {"result"}
        new = rewrite(structured, ("result",) if wrapped else ())
        shown = [_block(new)] if blocks else []
        if new == structured and blocks == shown:
            return payload
        return payload | {"structuredContent": new, "content": shown}
    documents = [_document(block["text"]) for block in blocks]
    kept = documents
    if len(documents) == 1:
        kept = [rewrite(documents[0], None)]
    elif documents:
        kept = rewrite(documents, None)
    bare = all(block.keys() == _BARE for block in blocks)
    return payload if bare and kept == documents else payload | {"content": [*map(_block, kept)]}


def _document(text: str) -> Any:
    try:
        return decode(text.encode("utf-8", "surrogatepass"))
    except Problem:
        raise Problem("PC3030", "a text of the result is not JSON") from None


def _plain(block: Any) -> bool:
    if not isinstance(block, dict) or not isinstance(block.get("text"), str):
        return False
    return block.get("type") == "text" and block.keys() <= _TEXT


def _block(document: Any) -> dict[str, str]:
    return {"type": "text", "text": encode(document).decode()}
