"""The stand-in in the shape of ``POST /v1/responses``."""

from __future__ import annotations

from typing import Any, Final

from portcullis.demo.model.turn import (
    CREATED,
    Answer,
    Tally,
    ToolResult,
    Turn,
    fragments,
    frame,
    text_of,
)

MYSTERY: Final = frame(
    {"type": "response.mystery.delta", "sequence_number": 3, "delta": "do this"}, named=True
)
BROKEN_OFF: Final = frame(
    {
        "type": "error",
        "code": "server_error",
        "message": "stand-in: error in mid-stream",
        "param": None,
        "sequence_number": 4,
    },
    named=True,
)


def turn(payload: dict[str, Any]) -> Turn:
    """Read a request's body."""
    given = payload.get("input")
    items = [{"role": "user", "content": given}] if isinstance(given, str) else given or []
    last = max((at for at, item in enumerate(items) if item.get("role") == "user"), default=-1)
    names: dict[str, str] = {}
    results = []
    for item in items[last + 1 :]:
        if item.get("type") == "function_call":
            names[item["call_id"]] = item["name"]
        elif item.get("type") == "function_call_output":
            name = names.get(item["call_id"], "")
            results.append(ToolResult(name=name, text=text_of(item["output"])))
    texts = [payload.get("instructions") or "", *(text_of(item.get("content")) for item in items)]
    return Turn(
        model=payload["model"],
        said=text_of(items[last].get("content")) if last >= 0 else "",
        history="\n".join(texts),
        asked=tuple(names.values()),
        results=tuple(results),
        offered=frozenset(
            tool["name"] for tool in payload.get("tools") or () if tool.get("type") == "function"
        ),
        stream=payload.get("stream") is True,
    )


def whole(answer: Answer, payload: dict[str, Any], tally: Tally) -> dict[str, Any]:
    """The answer as one ``response`` object."""
    return _response(payload, tally, _items(answer, tally), status="completed")


def events(answer: Answer, payload: dict[str, Any], tally: Tally) -> list[bytes]:
    """The answer as typed events with ``sequence_number`` from 0."""
    shell = _response(payload, tally, [], status="in_progress")
    listed: list[dict[str, Any]] = [
        {"type": "response.created", "response": shell},
        {"type": "response.in_progress", "response": shell},
    ]
    for at, item in enumerate(_items(answer, tally)):
        where = {"output_index": at, "item_id": item["id"]}
        emptied: dict[str, Any] = {"content": []} if _is_text(item) else {"arguments": ""}
        open_item = item | {"status": "in_progress"} | emptied
        begun = {"output_index": at, "item": open_item}
        listed.append({"type": "response.output_item.added", **begun})
        listed += _text(item, where, answer.pieces()) if _is_text(item) else _arguments(item, where)
        listed.append({"type": "response.output_item.done", "output_index": at, "item": item})
    complete = whole(answer, payload, tally)
    listed.append({"type": "response.completed", "response": complete})
    return [
        frame(event | {"sequence_number": number}, named=True)
        for number, event in enumerate(listed)
    ]


def unknown_item(body: dict[str, Any]) -> dict[str, Any]:
    """The same answer, with an output item of a type no client knows."""
    body["output"].append({"type": "mystery_call", "id": "standin_mystery", "status": "completed"})
    return body


def _is_text(item: dict[str, Any]) -> bool:
    return bool(item["type"] == "message")


def _text(item: dict[str, Any], where: dict[str, Any], pieces: list[str]) -> list[dict[str, Any]]:
    place = where | {"content_index": 0}
    part = item["content"][0]
    return [
        {"type": "response.content_part.added", **place, "part": part | {"text": ""}},
        *(
            {"type": "response.output_text.delta", **place, "delta": piece, "logprobs": []}
            for piece in pieces
        ),
        {"type": "response.output_text.done", **place, "text": part["text"], "logprobs": []},
        {"type": "response.content_part.done", **place, "part": part},
    ]


def _arguments(item: dict[str, Any], where: dict[str, Any]) -> list[dict[str, Any]]:
    kind = "response.function_call_arguments"
    pieces = fragments(item["arguments"])
    done = {"name": item["name"], "arguments": item["arguments"]}
    return [
        *({"type": f"{kind}.delta", **where, "delta": piece} for piece in pieces),
        {"type": f"{kind}.done", **where, **done},
    ]


def _items(answer: Answer, tally: Tally) -> list[dict[str, Any]]:
    items: list[dict[str, Any]] = []
    if answer.text or not answer.calls:
        part = {"type": "output_text", "text": answer.text, "annotations": [], "logprobs": []}
        items.append(
            {
                "type": "message",
                "id": f"msg_standin_{tally.mark}",
                "status": "completed",
                "role": "assistant",
                "content": [part],
            }
        )
    items += [
        {
            "type": "function_call",
            "id": f"fc_standin_{tally.mark}_{at}",
            "call_id": f"call_standin_{tally.mark}_{at}",
            "status": "completed",
            "name": proposed.name,
            "arguments": proposed.arguments,
        }
        for at, proposed in enumerate(answer.calls)
    ]
    return items


def _response(
    payload: dict[str, Any], tally: Tally, output: list[dict[str, Any]], *, status: str
) -> dict[str, Any]:
    usage = {
        "input_tokens": tally.input_tokens,
        "input_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0},
        "output_tokens": tally.output_tokens,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": tally.input_tokens + tally.output_tokens,
    }
    return {
        "id": f"resp_standin_{tally.mark}",
        "object": "response",
        "created_at": CREATED,
        "status": status,
        "background": False,
        "error": None,
        "incomplete_details": None,
        "instructions": payload.get("instructions"),
        "metadata": payload.get("metadata") or {},
        "model": payload["model"],
        "output": output,
        "parallel_tool_calls": True,
        "previous_response_id": None,
        "temperature": 1.0,
        "text": {"format": {"type": "text"}},
        "tool_choice": payload.get("tool_choice") or "auto",
        "tools": payload.get("tools") or [],
        "top_p": 1.0,
        "truncation": "disabled",
        "usage": usage if status == "completed" else None,
    }
