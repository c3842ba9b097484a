"""The texts in the events of a streamed response."""

from __future__ import annotations

from typing import Any, Final

import msgspec

from portcullis.core.inspection import Path, Source
from portcullis.wire import texts_openai
from portcullis.wire.slots import Kind, Rest, Slot, Slots, gathered, index, label
from portcullis.wire.walk import Walk

_PARTS: Final = {
    "output_text": ("content", "text"),
    "refusal": ("content", "refusal"),
    "reasoning_text": ("reasoning", "text"),
    "summary_text": ("summary", "text"),
    "reasoning_summary_text": ("summary", "text"),
    "audio.transcript": ("content", "transcript"),
}
"""Where in an item the parts are, by their type and by the events about them."""
_CALLS: Final = {"function_call": "arguments", "custom_tool_call": "input"}
_GATHERED: Final = {
    "function_call_arguments": "arguments",
    "custom_tool_call_input": "input",
    "mcp_call_arguments": "arguments",
}
"""What is judged when it is whole. Arguments are JSON text, the input of a custom tool is not."""
_JSON: Final = "arguments"
_REPEATED: Final = frozenset({"text", "refusal", "arguments", "input", "transcript", "code"})
# Bytes of audio and images, which are no text.
_BYTES: Final = {
    "response.audio.delta": "delta",
    "response.image_generation_call.partial_image": "partial_image_b64",
}


class _About(msgspec.Struct, frozen=True):
    """What an event is about: the output's ``prefix``, the text's ``key``, and its ``step``."""

    prefix: str
    key: str
    step: str
    member: str = ""


def response_slots(event: dict[str, Any]) -> Slots:
    """The pieces of one event. What it repeats is judged again as a whole."""
    kind: str = event["type"]
    about = _about(event, kind)
    walk = Walk()
    slots: list[Slot] = []
    rest: list[Rest] = [Rest(walk)]
    for name, value in event.items():
        if name == "delta" and type(value) is str and kind not in _BYTES:
            slots.append(_piece(about, (name,), value))
        elif name == "delta" and kind not in _BYTES:
            slots += _pieces(about, (name,), value)
        elif name == "response":
            rest += _response(value)
        elif name == "item":
            slots += _item(value, about, rest)
        elif name == "part":
            slots.append(_part(value, (name,), event, about, rest))
        elif about.step == "done" and name in _REPEATED and type(value) is str:
            slots.append(_again(about.key, (name,), value, json=name == _JSON))
        elif name == _BYTES.get(kind):
            walk.data(value, (name,), Source.MODEL, name, "")
        elif name != "type":
            walk.around(name, value, (), Source.MODEL)
    return Slots(slots=slots, rest=tuple(rest), closes=_closes(kind, about))


def _about(event: dict[str, Any], kind: str) -> _About:
    subject, _, step = kind.removeprefix("response.").rpartition(".")
    prefix = f"output[{index(event.get('output_index'))}]"
    member = _GATHERED.get(subject)
    if member is not None:
        return _About(prefix, f"{prefix}.{member}", step, member)
    return _About(prefix, _part_key(prefix, event, subject), step)


def _part_key(prefix: str, event: dict[str, Any], subject: str) -> str:
    at = event.get("content_index", event.get("summary_index", event.get("command_index")))
    where, member = _PARTS.get(subject) or (label(subject), "text")
    return f"{prefix}.{where}[{index(at)}].{member}"


def _closes(kind: str, about: _About) -> tuple[str, ...]:
    if kind == "response.output_item.done":
        return (f"{about.prefix}.",)
    return (about.key,) if about.step == "done" else ()


def _piece(about: _About, path: Path, text: str) -> Slot:
    if about.member:
        return gathered(about.key, path, text, json=about.member == _JSON)
    return Slot(key=about.key, path=path, text=text)


def _pieces(about: _About, path: Path, value: Any) -> list[Slot]:
    """A delta of several texts, such as the two outputs of a command."""
    walk = Walk()
    walk.free(value, path, Source.TOOL)
    return [
        Slot(
            key=".".join((about.key, *(label(str(step)) for step in text.path[len(path) :]))),
            path=text.path,
            text=text.text,
        )
        for text in walk.texts
        if not text.name
    ]


def _again(key: str, path: Path, text: str, *, json: bool = False) -> Slot:
    return Slot(key=key, path=path, text=text, kind=Kind.WHOLE, json=json)


def _response(response: dict[str, Any]) -> tuple[Rest, Rest]:
    walk, failed = Walk(parse=False), Walk()
    answer = {name: value for name, value in response.items() if name != "error"}
    texts_openai.responses_answer(walk, answer, ("response",))
    failed.free(response.get("error"), ("response", "error"), Source.MODEL)
    return Rest(walk, "", 1), Rest(failed, "", 1, error=True)


def _item(item: dict[str, Any], about: _About, rest: list[Rest]) -> list[Slot]:
    """An item at its beginning, from where deltas go on, or as it is in the end."""
    walk = Walk(parse=False)
    rest.append(Rest(walk, f"{about.prefix}.", 1))
    held: dict[str, Any] = {}
    slots: list[Slot] = []
    if about.step == "added":
        for name, value in item.items():
            below = ("item", name)
            if name == _CALLS.get(item["type"]):
                key = f"{about.prefix}.{name}"
                slots.append(gathered(key, below, value, json=name == _JSON))
            elif item["type"] in {"message", "reasoning"} and type(value) is list:
                for at, part in enumerate(value):
                    spot = {"content_index": at}
                    slots.append(_part(part, (*below, at), spot, about, rest))
            else:
                held[name] = value
    else:
        held = item
    texts_openai.item(walk, held, ("item",))
    return slots


def _part(
    part: dict[str, Any], path: Path, event: dict[str, Any], about: _About, rest: list[Rest]
) -> Slot:
    """A part at its beginning, from where deltas go on, or as it is in the end."""
    key = _part_key(about.prefix, event, part["type"])
    member = _PARTS[part["type"]][1]
    walk = Walk(parse=False)
    others = {name: value for name, value in part.items() if name != member}
    texts_openai.part(walk, others, path, Source.MODEL)
    rest.append(Rest(walk, f"{about.prefix}.", 1))
    if about.step == "added":
        return Slot(key=key, path=(*path, member), text=part[member])
    return _again(key, (*path, member), part[member])
