"""Golden vectors of the model APIs: written by hand from the providers' references and types.

``NAME.json`` has a request and its answer, ``NAME.sse`` the answer as the provider may stream it
(with comments, spaces, escapes), ``NAME.out.sse`` the bytes that the gate forwards of it, and
``held`` says frame by frame which of them wait for a complete tool call.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from msgspec.structs import replace

from portcullis.core.call import Result
from portcullis.wire import SHAPES
from portcullis.wire.json import decode
from portcullis.wire.model import Frame, ModelRequest, Shape, StreamDecoder

HERE = Path(__file__).parent


@dataclass(frozen=True)
class Vector:
    name: str
    data: dict[str, Any]

    @property
    def shape(self) -> Shape:
        return SHAPES[tuple(self.data["operation"])]

    def asked(self) -> ModelRequest:
        return self.shape.request(self.data["request"])

    def decoder(self) -> StreamDecoder:
        return self.shape.stream(self.asked())

    @property
    def stream(self) -> bytes:
        return (HERE / f"{self.name}.sse").read_bytes()

    @property
    def forwarded(self) -> bytes:
        return (HERE / f"{self.name}.out.sse").read_bytes()

    def run(self, pieces: list[bytes]) -> tuple[list[Frame], Result]:
        """A frame for each event, however many came as one, and the result."""
        decoder = self.decoder()
        frames = [
            event for piece in pieces for frame in decoder.feed(piece) for event in frame.apart()
        ]
        return [comparable(frame) for frame in frames], decoder.end()


def comparable(frame: Frame) -> Frame:
    """A frame whose texts are compared by what they say."""
    if frame.slots is None:
        return frame
    rest = tuple((r.key(t.path), t.text) for r in frame.slots.rest for t in r.walk.texts)
    event = decode(frame.data.rpartition(b"data: ")[2]) if frame.texts else frame.event
    return replace(frame, slots=replace(frame.slots, rest=rest), event=event, texts=())


def summary(result: Result) -> dict[str, Any]:
    usage = result.usage
    return {
        "usage": [usage.input_tokens, usage.output_tokens] if usage else None,
        "finish": result.finish,
        "proposals": [[each.id, each.name, each.arguments] for each in result.proposals],
    }


VECTORS = [
    Vector(path.stem, json.loads(path.read_text()))
    for path in sorted(HERE.glob("*.json"))
    if path.stem != "features"
]
STREAMS = [vector for vector in VECTORS if "held" in vector.data]
FEATURES = json.loads((HERE / "features.json").read_text())
