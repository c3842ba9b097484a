"""The stand-in in the shape of ``POST /v1/chat/completions``."""

from __future__ import annotations

from typing import Any, Final

from portcullis.demo.model.turn import (
    CREATED,
    FINGERPRINT,
    Answer,
    Tally,
    ToolResult,
    Turn,
    fragments,
    frame,
    text_of,
)

DONE: Final = b"data: [DONE]\n\n"
MYSTERY: Final = frame({"object": "chat.completion.mystery", "mystery": "do this"})
BROKEN_OFF: Final = frame(
    {"error": {"message": "stand-in: error in mid-stream", "type": "server_error", "code": None}}
)


def turn(payload: dict[str, Any]) -> Turn:
    """Read a request's body."""
    messages = payload["messages"]
    last = max((at for at, message in enumerate(messages) if message["role"] == "user"), default=-1)
    names: dict[str, str] = {}
    results = []
    for message in messages[last + 1 :]:
        for proposed in message.get("tool_calls") or ():
            names[proposed["id"]] = proposed["function"]["name"]
        if message["role"] == "tool":
            name = names.get(message["tool_call_id"], "")
            results.append(ToolResult(name=name, text=text_of(message["content"])))
    return Turn(
        model=payload["model"],
        said=text_of(messages[last].get("content")) if last >= 0 else "",
        history="\n".join(text_of(message.get("content")) for message in messages),
        asked=tuple(names.values()),
        results=tuple(results),
        offered=frozenset(
            tool["function"]["name"]
            for tool in payload.get("tools") or ()
            if tool.get("type") == "function"
        ),
        stream=payload.get("stream") is True,
    )


def whole(answer: Answer, payload: dict[str, Any], tally: Tally) -> dict[str, Any]:
    """The answer as one ``chat.completion`` object, with ``n`` equal choices."""
    message: dict[str, Any] = {
        "role": "assistant",
        "content": answer.text or None,
        "refusal": None,
        "annotations": [],
    }
    if answer.calls:
        message["tool_calls"] = [
            {"id": _id(tally, at), "type": "function", "function": _function(answer, at)}
            for at in range(len(answer.calls))
        ]
    return {
        "id": f"chatcmpl-standin-{tally.mark}",
        "object": "chat.completion",
        "created": CREATED,
        "model": payload["model"],
        "system_fingerprint": FINGERPRINT,
        "choices": [
            {"index": at, "message": message, "logprobs": None, "finish_reason": _finish(answer)}
            for at in range(payload.get("n") or 1)
        ],
        "usage": _usage(tally),
    }


def events(answer: Answer, payload: dict[str, Any], tally: Tally) -> list[bytes]:
    """The answer as a stream: role, words, interleaved argument fragments, finish, usage, DONE."""
    included = (payload.get("stream_options") or {}).get("include_usage") is True
    frames = []
    for index in range(payload.get("n") or 1):
        deltas: list[dict[str, Any]] = [{"role": "assistant", "content": "", "refusal": None}]
        deltas += [{"content": piece} for piece in answer.pieces()]
        for at, proposed in enumerate(answer.calls):
            head = {"name": proposed.name, "arguments": ""}
            start = {"index": at, "id": _id(tally, at), "type": "function", "function": head}
            deltas.append({"tool_calls": [start]})
            deltas += [
                {"tool_calls": [{"index": at, "function": {"arguments": piece}}]}
                for piece in fragments(proposed.arguments)
            ]
        choices: list[dict[str, Any]] = [
            {"index": index, "delta": delta, "finish_reason": None} for delta in deltas
        ]
        choices.append({"index": index, "delta": {}, "finish_reason": _finish(answer)})
        frames += [_chunk(payload, tally, [choice], included, usage=None) for choice in choices]
    if included:
        frames.append(_chunk(payload, tally, [], included, usage=_usage(tally)))
    return [*frames, DONE]


def _chunk(
    payload: dict[str, Any],
    tally: Tally,
    choices: list[dict[str, Any]],
    included: bool,  # noqa: FBT001 - private, and every caller passes the same variable
    *,
    usage: dict[str, int] | None,
) -> bytes:
    body: dict[str, Any] = {
        "id": f"chatcmpl-standin-{tally.mark}",
        "object": "chat.completion.chunk",
        "created": CREATED,
        "model": payload["model"],
        "system_fingerprint": FINGERPRINT,
        "choices": choices,
    }
    return frame(body | {"usage": usage} if included else body)


def unknown_item(body: dict[str, Any]) -> dict[str, Any]:
    """The same answer, with a choice that carries an action no client knows."""
    body["choices"][0]["message"]["mystery_call"] = {"name": "mystery", "arguments": "{}"}
    return body


def _function(answer: Answer, at: int) -> dict[str, str]:
    return {"name": answer.calls[at].name, "arguments": answer.calls[at].arguments}


def _id(tally: Tally, at: int) -> str:
    return f"call_standin_{tally.mark}_{at}"


def _finish(answer: Answer) -> str:
    return "tool_calls" if answer.calls else "stop"


def _usage(tally: Tally) -> dict[str, int]:
    return {
        "prompt_tokens": tally.input_tokens,
        "completion_tokens": tally.output_tokens,
        "total_tokens": tally.input_tokens + tally.output_tokens,
    }
