"""``POST /v1/embeddings``. Vectors pass as they are, in floats or base64."""

from __future__ import annotations

from typing import Any, Final

from portcullis.core.call import Result, Usage
from portcullis.core.errors import Problem
from portcullis.wire.fields import (
    LOOSE,
    Check,
    Misfit,
    Seen,
    fit_request,
    fit_result,
    integer,
    items,
    need,
    number,
    record,
    string,
    text_or,
)
from portcullis.wire.json import encode
from portcullis.wire.model import ModelRequest, StreamDecoder
from portcullis.wire.openai_fields import USAGE, model_request


def _inputs(value: Any, _: Seen) -> None:
    """A text, an array of texts, an array of tokens, or an array of arrays of tokens."""
    if type(value) is str:
        return
    if type(value) is not list:
        raise Misfit("expected a string or an array")
    kinds = {type(item) for item in value}
    if kinds <= {str} or kinds <= {int}:
        return
    if kinds != {list} or any(type(token) is not int for item in value for token in item):
        raise Misfit("expected texts, tokens or arrays of tokens")


REQUEST: Final[Check] = record(
    {
        "model": need(string),
        "input": need(_inputs),
        "dimensions": integer,
        "encoding_format": string,
        "user": string,
    }
)
_ANSWER: Final = record(
    {
        "data": need(items(record({"embedding": need(text_or(items(number))), **LOOSE}))),
        "usage": USAGE,
        **LOOSE,
    }
)


class Embeddings:
    """The shape of embeddings."""

    api = "openai"
    operation = "POST /v1/embeddings"

    def request(self, payload: Any) -> ModelRequest:
        """See Shape."""
        return model_request(payload, fit_request(REQUEST, payload))

    def result(self, payload: Any, request: ModelRequest) -> Result:
        """See Shape."""
        fit_result(_ANSWER, payload, request.features)
        counted = payload.get("usage") or {}
        return Result(
            payload=payload,
            size=len(encode(payload)),
            usage=Usage(input_tokens=counted.get("prompt_tokens"), output_tokens=0),
        )

    def stream(self, request: ModelRequest) -> StreamDecoder:
        """Embeddings do not stream."""
        del request
        raise Problem("PC1020", "stream: this operation does not stream")
