"""The texts in the events of a streamed message."""

from __future__ import annotations

from typing import Any, Final

from portcullis.core.inspection import Path, Source
from portcullis.wire import texts_anthropic
from portcullis.wire.json import encode
from portcullis.wire.slots import Kind, Rest, Slot, Slots, gathered, grown
from portcullis.wire.walk import Walk

_GROW: Final = frozenset({"text", "thinking", "content"})
"""Members of blocks that are shown as they come."""
# Signatures and ciphertexts are the provider's own: it alone makes and checks them.
_OPAQUE: Final = {
    "signature_delta": frozenset({"signature"}),
    "compaction_delta": frozenset({"encrypted_content"}),
}
_INDEX: Final = frozenset({"encrypted_index"})
_NOTHING: Final[frozenset[str]] = frozenset()


def message_slots(event: dict[str, Any]) -> Slots:
    """The pieces of one event; a block's texts end with the block."""
    walk = Walk()
    slots: list[Slot] = []
    prefix = f"content[{event.get('index')}]"
    for name, value in event.items():
        if name == "message" and type(value) is dict:
            texts_anthropic.answer(walk, value, (name,))
        elif name == "content_block" and type(value) is dict:
            slots += _block(walk, value, (name,), prefix)
        elif name == "delta" and event["type"] == "content_block_delta":
            slots += _delta(walk, value, (name,), prefix)
        elif name != "type":
            walk.around(name, value, (), Source.MODEL)
    closes = (f"{prefix}.",) if event["type"] == "content_block_stop" else ()
    return Slots(slots=slots, rest=(Rest(walk),), closes=closes)


def _block(walk: Walk, block: dict[str, Any], path: Path, prefix: str) -> list[Slot]:
    """What a block begins with; the deltas go on from there."""
    slots: list[Slot] = []
    rest: dict[str, Any] = {}
    for name, value in block.items():
        below = (*path, name)
        if name in _GROW and type(value) is str:
            slots.append(grown(prefix, name, below, value))
        elif name == "input" and type(value) is dict:
            if value:
                text = encode(value).decode()
                whole = Kind.WHOLE
                slots.append(
                    Slot(key=f"{prefix}.{name}", path=below, text=text, kind=whole, json=True)
                )
        else:
            rest[name] = value
    texts_anthropic.block(walk, rest, path, Source.MODEL)
    return slots


def _delta(walk: Walk, delta: dict[str, Any], path: Path, prefix: str) -> list[Slot]:
    opaque = _OPAQUE.get(delta["type"], _NOTHING)
    slots: list[Slot] = []
    for name, value in delta.items():
        below = (*path, name)
        if name == "type":
            continue
        if name == "partial_json":
            slots.append(gathered(f"{prefix}.input", below, value, json=True))
        elif name in opaque and type(value) is str:
            slots.append(gathered(f"{prefix}.{name}", below, value, json=False, sealed=True))
        elif type(value) is str:
            walk.member(name, below, Source.MODEL)
            slots.append(grown(prefix, name, below, value))
        else:
            walk.member(name, below, Source.MODEL)
            walk.free(value, below, Source.MODEL, name, _INDEX)
    return slots
