"""What of a streamed event is text, and to which text of the whole answer it belongs.

A text goes by its place in the whole answer, as ``texts.where`` writes it for an answer that did
not stream:

    choices[0].message.content             choices[0].message.tool_calls[0].function.arguments
    output[0].content[0].text              output[0].arguments
    content[0].text                        content[1].input

Reasoning is elsewhere than answers: ``output[0].reasoning[0].text``, ``output[0].summary[0].text``,
``content[0].thinking``.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Any

import msgspec

from portcullis.core.inspection import SHOWN, Path, Source
from portcullis.wire.texts import where
from portcullis.wire.walk import Walk


class Kind(StrEnum):
    """How a piece is judged.

    GROWS: it is shown as it comes. GATHERED: it is judged when its text is whole; then the first
    piece carries what became of it and the others nothing. WHOLE: it is the repetition of a text.
    """

    GROWS = "grows"
    GATHERED = "gathered"
    WHOLE = "whole"


class Slot(msgspec.Struct, frozen=True, kw_only=True):
    """A piece of text in an event. ``key`` names the text that it belongs to.

    ``json`` says that the text is JSON text; what stands at the path may be its value instead.
    ``sealed`` says that the whole may be a provider's own ciphertext or signature.
    """

    key: str
    path: Path
    text: str
    kind: Kind = Kind.GROWS
    json: bool = False
    sealed: bool = False


class Rest(msgspec.Struct, frozen=True):
    """Texts that stand for themselves.

    They go by their places below ``prefix``, without the first ``skip`` steps. ``error`` says that
    they are what a provider says of its failure.
    """

    walk: Walk
    prefix: str = ""
    skip: int = 0
    error: bool = False

    def key(self, path: Path) -> str:
        """The name of the text at a path."""
        return self.prefix + where(path[self.skip :])


class Slots(msgspec.Struct, frozen=True, kw_only=True):
    """The pieces of an event, in order; then the texts end whose keys begin as in ``closes``."""

    slots: list[Slot]
    rest: tuple[Rest, ...] = ()
    closes: tuple[str, ...] = ()

    @property
    def one_grows(self) -> bool:
        """Whether there is one piece, and not an empty one, of a text that grows and goes on."""
        if len(self.slots) != 1 or self.closes:
            return False
        return self.slots[0].kind is Kind.GROWS and bool(self.slots[0].text)

    def of(self, text: str) -> Slots:
        """The same of an event that has another text in its only piece."""
        slot = self.slots[0]
        return Slots(slots=[Slot(key=slot.key, path=slot.path, text=text)], rest=self.rest)


def label(name: str) -> str:
    """A member's name as part of a key: as it is, or a number of this process for a strange one."""
    if SHOWN.fullmatch(name):
        return name
    return f"?{hash(name) & 0xFFFFFFFF_FFFFFFFF:016x}"


def index(value: Any) -> int:
    """An index in a key; whatever is not one is the first."""
    return value if type(value) is int else 0


def grown(prefix: str, name: str, path: Path, text: str) -> Slot:
    """A piece of the text under a member of an answer."""
    return Slot(key=f"{prefix}.{label(name)}", path=path, text=text)


def gathered(key: str, path: Path, text: str, *, json: bool, sealed: bool = False) -> Slot:
    """A piece of a text that is judged as one."""
    return Slot(key=key, path=path, text=text, kind=Kind.GATHERED, json=json, sealed=sealed)


def failure(event: dict[str, Any]) -> Slots:
    """The texts of an event that reports the provider's error."""
    walk = Walk()
    walk.free(event, (), Source.MODEL)
    return Slots(slots=[], rest=(Rest(walk, error=True),))
