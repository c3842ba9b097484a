"""The stand-in's small answers: embeddings, model lists, token counts, errors."""

from __future__ import annotations

import base64
import hashlib
import struct
from typing import Any, Final

from portcullis.demo.model.turn import CREATED, FINGERPRINT, tokens

MODELS: Final = ("gpt-standin", "gpt-standin:echo", "text-embedding-standin")
CLAUDES: Final = ("claude-standin",)
DIMENSIONS: Final = 8
MAX_DIMENSIONS: Final = 3072


def embeddings(payload: dict[str, Any]) -> dict[str, Any]:
    """One vector per input, derived from its hash; ``encoding_format`` float or base64."""
    given = payload["input"]
    single = isinstance(given, str) or all(isinstance(item, int) for item in given)
    inputs = [given] if single else given
    size = min(int(payload.get("dimensions") or DIMENSIONS), MAX_DIMENSIONS)
    packed = payload.get("encoding_format") == "base64"
    data = []
    for at, item in enumerate(inputs):
        vector = _vector(repr(item), size)
        data.append({"object": "embedding", "index": at, "embedding": vector})
        if packed:
            data[-1]["embedding"] = base64.b64encode(struct.pack(f"<{size}f", *vector)).decode()
    used = sum(tokens(str(item)) for item in inputs)
    return {
        "object": "list",
        "data": data,
        "model": payload["model"],
        "usage": {"prompt_tokens": used, "total_tokens": used},
    }


def _vector(text: str, size: int) -> list[float]:
    digest = hashlib.shake_256(text.encode()).digest(size)
    return [(byte - 127.5) / 127.5 for byte in digest]


def openai_models() -> dict[str, Any]:
    """The answer to ``GET /v1/models`` of an OpenAI client."""
    entry = {"object": "model", "created": CREATED, "owned_by": FINGERPRINT}
    return {"object": "list", "data": [{"id": name, **entry} for name in MODELS]}


def anthropic_models() -> dict[str, Any]:
    """The answer to ``GET /v1/models`` of an Anthropic client."""
    data = [
        {
            "type": "model",
            "id": name,
            "display_name": "Stand-in for development",
            "created_at": "2026-01-01T00:00:00Z",
            "lifecycle": "active",
        }
        for name in CLAUDES
    ]
    return {"data": data, "has_more": False, "first_id": CLAUDES[0], "last_id": CLAUDES[-1]}


def error(api: str, kind: str, message: str) -> dict[str, Any]:
    """An error in the shape of ``api`` (openai or anthropic)."""
    if api == "anthropic":
        return {"type": "error", "error": {"type": kind, "message": f"stand-in: {message}"}}
    return {"error": {"message": f"stand-in: {message}", "type": kind, "param": None, "code": kind}}
