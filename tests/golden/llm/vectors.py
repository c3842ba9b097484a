"""Golden vectors of the model APIs: written by hand from the providers' references and types.

``NAME.json`` has a request and its answer, ``NAME.sse`` the answer as the provider may stream it
(with comments, spaces, escapes), ``NAME.out.sse`` the bytes that the gate forwards of it, and
``held`` says frame by frame which of them wait for a complete tool call.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from portcullis.core.call import Result
from portcullis.wire import SHAPES
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
        decoder = self.decoder()
        frames = [frame for piece in pieces for frame in decoder.feed(piece)]
        return frames, decoder.end()


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
