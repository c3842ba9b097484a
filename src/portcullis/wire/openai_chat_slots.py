"""The texts in the chunks of a streamed chat completion."""

from __future__ import annotations

from typing import Any, Final

from portcullis.core.inspection import Path, Source
from portcullis.wire.slots import Rest, Slot, Slots, gathered, grown
from portcullis.wire.walk import Walk

_NOT_GROWN: Final = frozenset({"role", "tool_calls", "function_call", "audio", "annotations"})


def chat_slots(chunk: dict[str, Any]) -> Slots:
    """Every string member of a delta grows, whoever invented it; the rest is judged whole.

    An audio answer's bytes are no text; its transcript is.
    """
    walk = Walk()
    slots: list[Slot] = []
    closes: list[str] = []
    for name, value in chunk.items():
        if name != "choices":
            walk.around(name, value, (), Source.MODEL)
            continue
        for at, choice in enumerate(value):
            prefix = f"choices[{choice['index']}]"
            slots += _choice(walk, choice, ("choices", at), f"{prefix}.message")
            if choice.get("finish_reason"):
                closes.append(f"{prefix}.")
    return Slots(slots=slots, rest=(Rest(walk),), closes=tuple(closes))


def _choice(walk: Walk, choice: dict[str, Any], path: Path, prefix: str) -> list[Slot]:
    for name, value in choice.items():
        if name != "delta":
            walk.around(name, value, path, Source.MODEL)
    path = (*path, "delta")
    slots: list[Slot] = []
    for name, value in choice["delta"].items():
        below = (*path, name)
        if name == "tool_calls":
            for at, call in enumerate(value or ()):
                slots += _call(walk, call, (*below, at), f"{prefix}.{name}[{call['index']}]")
        elif name == "function_call" and value:
            slots += _called(walk, value, below, f"{prefix}.{name}")
        elif name == "audio" and value:
            slots += _audio(walk, value, below, f"{prefix}.{name}")
        elif type(value) is str and name not in _NOT_GROWN:
            walk.member(name, below, Source.MODEL)
            slots.append(grown(prefix, name, below, value))
        else:
            walk.around(name, value, path, Source.MODEL)
    return slots


def _call(walk: Walk, call: dict[str, Any], path: Path, prefix: str) -> list[Slot]:
    slots: list[Slot] = []
    for name, value in call.items():
        if name in {"function", "custom"} and value:
            slots += _called(walk, value, (*path, name), f"{prefix}.{name}")
        else:
            walk.around(name, value, path, Source.MODEL)
    return slots


def _called(walk: Walk, part: dict[str, Any], path: Path, prefix: str) -> list[Slot]:
    """The name and arguments of a call; a custom tool's free input is judged when whole too."""
    slots: list[Slot] = []
    for name, value in part.items():
        if name in {"arguments", "input"} and type(value) is str:
            json = name == "arguments"
            slots.append(gathered(f"{prefix}.{name}", (*path, name), value, json=json))
        else:
            walk.around(name, value, path, Source.MODEL)
    return slots


def _audio(walk: Walk, audio: dict[str, Any], path: Path, prefix: str) -> list[Slot]:
    slots: list[Slot] = []
    for name, value in audio.items():
        if name == "transcript" and type(value) is str:
            slots.append(grown(prefix, name, (*path, name), value))
        elif name == "data":
            walk.data(value, (*path, name), Source.MODEL, name, "audio/*")
        else:
            walk.around(name, value, path, Source.MODEL)
    return slots
