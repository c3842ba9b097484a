"""The stand-in in the shape of ``POST /v1/messages``."""

from __future__ import annotations

from typing import Any, Final

import msgspec

from portcullis.demo.model.turn import (
    Answer,
    Tally,
    ToolCall,
    ToolResult,
    Turn,
    fragments,
    frame,
    text_of,
)

MYSTERY: Final = frame({"type": "mystery_block", "index": 0, "mystery": "do this"}, named=True)
BROKEN_OFF: Final = frame(
    {
        "type": "error",
        "error": {"type": "overloaded_error", "message": "stand-in: error in mid-stream"},
    },
    named=True,
)


def turn(payload: dict[str, Any]) -> Turn:
    """Read a request's body. A user message of tool results only does not start a new turn."""
    messages = payload["messages"]
    last = max((at for at, message in enumerate(messages) if _speaks(message)), default=-1)
    names: dict[str, str] = {}
    results = []
    for message in messages[last + 1 :]:
        for block in message["content"] if isinstance(message["content"], list) else ():
            if block["type"] == "tool_use":
                names[block["id"]] = block["name"]
            elif block["type"] == "tool_result":
                name = names.get(block["tool_use_id"], "")
                results.append(ToolResult(name=name, text=text_of(block.get("content"))))
    texts = [text_of(payload.get("system")), *(text_of(each["content"]) for each in messages)]
    return Turn(
        model=payload["model"],
        said=text_of(messages[last]["content"]) if last >= 0 else "",
        history="\n".join(texts),
        asked=tuple(names.values()),
        results=tuple(results),
        offered=frozenset(
            tool["name"]
            for tool in payload.get("tools") or ()
            if tool.get("type", "custom") == "custom"
        ),
        stream=payload.get("stream") is True,
    )


def whole(answer: Answer, payload: dict[str, Any], tally: Tally) -> dict[str, Any]:
    """The answer as one ``message`` object."""
    return _message(
        payload, tally, content=_blocks(answer, tally), stop=_stop(answer), out=tally.output_tokens
    )


def events(answer: Answer, payload: dict[str, Any], tally: Tally) -> list[bytes]:
    """The answer as typed events: input tokens at the start, output tokens at the end."""
    listed: list[dict[str, Any]] = [
        {
            "type": "message_start",
            "message": _message(payload, tally, content=[], stop=None, out=1),
        },
        {"type": "ping"},
    ]
    for at, block in enumerate(_blocks(answer, tally)):
        if block["type"] == "text":
            empty = block | {"text": ""}
            deltas = [{"type": "text_delta", "text": piece} for piece in answer.pieces()]
        else:
            empty = block | {"input": {}}
            raw = answer.calls[at - (1 if answer.text else 0)].arguments
            deltas = [{"type": "input_json_delta", "partial_json": each} for each in fragments(raw)]
        listed.append({"type": "content_block_start", "index": at, "content_block": empty})
        listed += [{"type": "content_block_delta", "index": at, "delta": delta} for delta in deltas]
        listed.append({"type": "content_block_stop", "index": at})
    ending = {"stop_reason": _stop(answer), "stop_sequence": None}
    usage = {"output_tokens": tally.output_tokens}
    listed.append({"type": "message_delta", "delta": ending, "usage": usage})
    listed.append({"type": "message_stop"})
    return [frame(event, named=True) for event in listed]


def unknown_item(body: dict[str, Any]) -> dict[str, Any]:
    """The same answer, with a content block of a type no client knows."""
    body["content"].append({"type": "mystery_use", "id": "standin_mystery"})
    return body


def _speaks(message: dict[str, Any]) -> bool:
    if message["role"] != "user":
        return False
    content = message["content"]
    return isinstance(content, str) or any(block["type"] != "tool_result" for block in content)


def _blocks(answer: Answer, tally: Tally) -> list[dict[str, Any]]:
    blocks: list[dict[str, Any]] = []
    if answer.text or not answer.calls:
        blocks.append({"type": "text", "text": answer.text})
    blocks += [
        {
            "type": "tool_use",
            "id": f"toolu_standin_{tally.mark}_{at}",
            "name": proposed.name,
            "input": _input(proposed),
        }
        for at, proposed in enumerate(answer.calls)
    ]
    return blocks


def _input(proposed: ToolCall) -> Any:
    """The arguments as a value; a text that is no JSON stays one, as a broken provider's would."""
    try:
        return msgspec.json.decode(proposed.arguments)
    except msgspec.DecodeError:
        return proposed.arguments


def _stop(answer: Answer) -> str:
    return "tool_use" if answer.calls else "end_turn"


def _message(
    payload: dict[str, Any],
    tally: Tally,
    *,
    content: list[dict[str, Any]],
    stop: str | None,
    out: int,
) -> dict[str, Any]:
    return {
        "id": f"msg_standin_{tally.mark}",
        "type": "message",
        "role": "assistant",
        "model": payload["model"],
        "content": content,
        "stop_reason": stop,
        "stop_sequence": None,
        "usage": {
            "input_tokens": tally.input_tokens,
            "output_tokens": out,
            "cache_creation_input_tokens": 0,
            "cache_read_input_tokens": 0,
        },
    }
