"""The fast path: one fixed answer of about 1 KB, for measuring what stands in front of it."""

from __future__ import annotations

from typing import Any, Final

import msgspec

from portcullis.demo.model import openai_chat
from portcullis.demo.model.turn import Answer, Tally

MARKER: Final = b'"gpt-standin:echo"'
CHUNKS: Final = 30

_PAYLOAD: Final[dict[str, Any]] = {
    "model": "gpt-standin:echo",
    "stream_options": {"include_usage": True},
}
_TALLY: Final = Tally(mark="echo", input_tokens=40, output_tokens=170)
_SENTENCE: Final = "This answer is always the same. "
_JSON_ANSWER: Final = Answer(text=_SENTENCE * 19)
# Role, finish and usage are chunks too.
_STREAM_ANSWER: Final = Answer(text=" ".join(["stand-in"] * (CHUNKS - 3)))

WHOLE: Final = msgspec.json.encode(openai_chat.whole(_JSON_ANSWER, _PAYLOAD, _TALLY))
FRAMES: Final = tuple(openai_chat.events(_STREAM_ANSWER, _PAYLOAD, _TALLY))
"""The stream, with its usage chunk: a gate asks for usage anyway."""
