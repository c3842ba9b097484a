"""The stream of chat completions: untyped chunks, then ``[DONE]``.

A tool call arrives in fragments under an index of its choice and is complete when the choice
gives its ``finish_reason``. The first fragment starts holding; usage comes in a last chunk
without choices, which is swallowed when the caller did not ask for it.
"""

from __future__ import annotations

from typing import Any, Final, TypeAlias

import msgspec

from portcullis.core.call import ToolProposal
from portcullis.core.errors import Problem
from portcullis.wire.fields import (
    LOOSE,
    OPEN,
    Check,
    anything,
    count,
    fit_result,
    items,
    mapping,
    need,
    one_of,
    record,
    string,
)
from portcullis.wire.model import (
    DONE,
    EventStream,
    Frame,
    event_data,
    frame,
    free_proposal,
    only_failure,
    proposal,
)
from portcullis.wire.openai_chat_slots import chat_slots
from portcullis.wire.openai_fields import USAGE, usage
from portcullis.wire.slots import Slots, failure
from portcullis.wire.sse import ServerSentEvent
from portcullis.wire.sse import encode as event_bytes

_FUNCTION: Final = record({"name": string, "arguments": string, **OPEN})
_DELTA: Final = record(
    {
        "role": string,
        "content": string,
        "refusal": string,
        "annotations": items(anything),
        "audio": mapping,
        "function_call": _FUNCTION,
        "tool_calls": items(
            record(
                {
                    "index": need(count),
                    "id": string,
                    "type": one_of("function", "custom"),
                    "function": _FUNCTION,
                    "custom": record({"name": string, "input": string, **OPEN}),
                    **OPEN,
                }
            )
        ),
        **OPEN,
    }
)
_CHUNK: Final[Check] = record(
    {
        "choices": need(
            items(
                record(
                    {
                        "index": need(count),
                        "delta": need(_DELTA),
                        "finish_reason": string,
                        "logprobs": mapping,
                        **OPEN,
                    }
                )
            )
        ),
        "usage": USAGE,
        **LOOSE,
    }
)
_MAX_CHOICES: Final = 128
_LEGACY: Final = -1
"""The index under which a deprecated ``function_call`` is collected."""
_Key: TypeAlias = tuple[int, int]


class _Fragments:
    """A tool call so far. Its name and id come whole; only its arguments come in pieces."""

    __slots__ = ("call_id", "custom", "name", "pieces")

    def __init__(self, *, custom: bool) -> None:
        self.call_id = ""
        self.name = ""
        self.custom = custom
        self.pieces: list[str] = []

    def add(self, call_id: str | None, part: dict[str, Any]) -> None:
        """Take a fragment; a second, different id or name would be read in two ways."""
        name = part.get("name")
        if call_id and call_id != self.call_id:
            if self.call_id:
                raise Problem("PC5003", "a tool call changes its id in mid-stream")
            self.call_id = call_id
        if name:
            if self.name:
                raise Problem("PC5003", "a tool call is named twice")
            self.name = name
        self.pieces.append(part.get("input" if self.custom else "arguments") or "")

    def whole(self, choice: int) -> ToolProposal:
        """The complete call."""
        make = free_proposal if self.custom else proposal
        made = make(self.call_id, self.name, "".join(self.pieces))
        return msgspec.structs.replace(made, choice=choice)


class ChatStream(EventStream):
    """Decodes one stream."""

    words_only = True

    def __init__(self, *, strip_usage: bool) -> None:
        super().__init__()
        self._strip = strip_usage
        self._choices: dict[int, bool] = {}

    def take(self, event: ServerSentEvent) -> Frame | None:
        """Understand one event."""
        if self.ended and not (self.failed and event.data == DONE):
            raise Problem("PC5003", "the stream goes on after its end")
        if event.data == DONE:
            return self._done()
        chunk = event_data(event)
        if chunk.get("error"):
            self.fail()
            return frame(only_failure(chunk))
        fit_result(_CHUNK, chunk, ())
        proposals: list[ToolProposal] = []
        for choice in chunk["choices"]:
            proposals += self._choice(choice)
        return self._frame(chunk, tuple(proposals))

    def slots(self, event: dict[str, Any]) -> Slots:
        """See EventStream."""
        return failure(event) if event.get("error") else chat_slots(event)

    def _done(self) -> Frame:
        if not self.failed and (self.open_calls or not all(self._choices.values())):
            raise Problem("PC5003", "the stream ends before its choices are finished")
        self.ended = True
        return Frame(data=event_bytes(DONE.encode()))

    def _frame(self, chunk: dict[str, Any], proposals: tuple[ToolProposal, ...]) -> Frame | None:
        counted = chunk.get("usage")
        if counted:
            self.usage = usage(counted, "prompt_tokens", "completion_tokens")
        if self._strip and "usage" in chunk:
            if counted and not chunk["choices"]:
                return None
            del chunk["usage"]
        return frame(chunk, held=bool(self.open_calls), proposals=proposals)

    def _choice(self, choice: dict[str, Any]) -> list[ToolProposal]:
        """Collect the fragments of a choice; its finish completes them."""
        at: int = choice["index"]
        delta: dict[str, Any] = choice["delta"]
        calls = delta.get("tool_calls")
        legacy = delta.get("function_call")
        if self._choices.get(at) and (calls or legacy or delta.get("content")):
            raise Problem("PC5003", "a choice goes on after its finish_reason")
        for call in calls or ():
            self._fragment((at, call["index"]), call)
        if legacy:
            self._fragment((at, _LEGACY), {"function": legacy})
        finish = choice.get("finish_reason")
        self._choices[at] = bool(finish) or self._choices.get(at, False)
        if len(self._choices) > _MAX_CHOICES:
            raise Problem("PC5003", f"more than {_MAX_CHOICES} choices")
        if not finish:
            return []
        if self.finish is None or at == 0:
            self.finish = finish
        keys = [key for key in self.open_calls if key[0] == at]
        return [self.open_calls.pop(key).whole(at) for key in keys]

    def _fragment(self, key: _Key, call: dict[str, Any]) -> None:
        custom, function = call.get("custom"), call.get("function")
        fragments = self.open_calls.get(key)
        if fragments is None:
            fragments = self.open_calls[key] = _Fragments(custom=custom is not None)
        kind = "custom" if fragments.custom else "function"
        other = function if fragments.custom else custom
        if other is not None or (call.get("type") or kind) != kind:
            raise Problem("PC5003", "a tool call is of two types")
        fragments.add(call.get("id"), (custom if fragments.custom else function) or {})
