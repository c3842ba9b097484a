"""How the stand-in misbehaves when it is asked to: by what follows the colon of the model's name.

``gpt-standin:die-mid-stream`` is a provider that breaks off. Tests of a client or a gate use
these; without a directive the stand-in behaves.
"""

from __future__ import annotations

import gzip
import hashlib
from typing import Final, Literal

import msgspec

from portcullis.demo.model.turn import CRUMB, Answer

DIRECTIVES: Final[dict[str, str]] = {
    "echo": "a fixed answer of about 1 KB (30 chunks as a stream), made ready beforehand",
    "say": "answers with exactly the user's last text",
    "crumbs": "as say; a stream has the text in pieces of three characters",
    "leak": "says a token that it makes up, in pieces of three characters",
    "call": 'proposes the calls in the user\'s last text: [{"name": ..., "arguments": {...}}]',
    "broken-arguments": "proposes a call whose arguments are not JSON",
    "slow": "as say, with 50 ms between the events of a stream",
    "stall": "as say; sends the first half, then nothing, and keeps the connection open",
    "silent": "never answers",
    "cut-bytes": "sends its answer in pieces of five bytes",
    "die-mid-stream": "breaks the connection after half of the answer",
    "end-early": "ends a stream properly, but without its last events",
    "error-mid-stream": "sends an error event that quotes the request after half of the stream",
    "unknown-event": "puts an event of an unknown type into the stream",
    "unknown-item": "puts a content item of an unknown type into the answer",
    "malformed": "sends something that is not JSON",
    "reflect-headers": "answers with the headers it got as JSON, its credential blanked",
    "reflect-credential": "answers with its own credential, cut into small pieces",
    "reflect-credential-header": "puts its own credential into an answer header",
    "cookie": "sets a cookie, and names a header of its own in Connection",
    "redirect": "redirects to another place on this server",
    "html": "answers 200 with a page",
    "gzip": "compresses its answer though nobody asked for that",
    "huge": "answers with 32 MiB of text",
    "error-400": "answers 400 with a message that quotes the request",
    "error-429": "answers 429 with Retry-After",
    "error-500": "answers 500",
}

PAUSE: Final = 0.05
_HUGE: Final = 32 * 2**20
_PIECE: Final = 5

Headers = tuple[tuple[bytes, bytes], ...]


class Delivery(msgspec.Struct, frozen=True, kw_only=True):
    """What goes onto the wire. ``pause`` in seconds between pieces; ``end`` says how it stops."""

    pieces: list[bytes]
    pause: float = 0.0
    end: Literal["complete", "drop", "stall"] = "complete"
    headers: Headers = ()
    kind: bytes = b"application/json"


def special_text(directive: str, credential: str, headers: dict[str, str]) -> Answer | None:
    """The answers that depend on the request's headers or on the credential."""
    if directive == "reflect-headers":
        blanked = {name: value.replace(credential, "*") for name, value in headers.items()}
        return Answer(text=msgspec.json.encode(blanked).decode())
    if directive == "reflect-credential":
        return Answer(text=f"The key that I was given is {credential} and nothing else.")
    if directive == "leak":
        token = "ghp_" + hashlib.sha256(directive.encode()).hexdigest()[:36]
        return Answer(text=f"I found {token} in a file.", size=CRUMB)
    if directive == "huge":
        return Answer(text="x" * _HUGE)
    return None


def deliver_stream(
    directive: str, frames: list[bytes], *, mystery: bytes, broken_off: bytes
) -> Delivery:
    """A stream of ``frames`` as the directive spoils it."""
    kind = b"text/event-stream"
    half = max(1, len(frames) // 2)
    inserted = {
        "error-mid-stream": broken_off,
        "unknown-event": mystery,
        "unknown-item": mystery,
        "malformed": b'data: {"half\n\n',
    }
    if directive in inserted:
        rest = [] if directive == "error-mid-stream" else frames[half:]
        return Delivery(pieces=[*frames[:half], inserted[directive], *rest], kind=kind)
    match directive:
        case "die-mid-stream":
            return Delivery(pieces=frames[:half], end="drop", kind=kind)
        case "stall":
            return Delivery(pieces=frames[:half], end="stall", kind=kind)
        case "end-early":
            return Delivery(pieces=frames[:half], kind=kind)
        case "slow":
            return Delivery(pieces=frames, pause=PAUSE, kind=kind)
        case _:
            return _deliver(directive, frames, kind)


def deliver_json(directive: str, body: bytes) -> Delivery:
    """A whole answer as the directive spoils it; its length is always declared."""
    length = ((b"content-length", str(len(body)).encode()),)
    half = len(body) // 2
    match directive:
        case "die-mid-stream" | "end-early":
            return Delivery(pieces=[body[:half]], end="drop", headers=length)
        case "stall":
            return Delivery(pieces=[body[:half]], end="stall", headers=length)
        case "malformed":
            return Delivery(pieces=[body[:half]])
        case "html":
            return Delivery(pieces=[b"<!doctype html><p>stand-in"], kind=b"text/html")
        case "gzip":
            coding = ((b"content-encoding", b"gzip"),)
            return Delivery(pieces=[gzip.compress(body)], headers=coding)
        case _:
            return _deliver(directive, [body], b"application/json")


def _deliver(directive: str, pieces: list[bytes], kind: bytes) -> Delivery:
    if directive in {"cut-bytes", "reflect-credential"}:
        whole = b"".join(pieces)
        cut = [whole[at : at + _PIECE] for at in range(0, len(whole), _PIECE)]
        return Delivery(pieces=cut, kind=kind)
    if directive == "cookie":
        return Delivery(
            pieces=pieces,
            kind=kind,
            headers=(
                (b"set-cookie", b"standin=1; Path=/"),
                (b"connection", b"x-hop"),
                (b"x-hop", b"for the next hop only"),
            ),
        )
    return Delivery(pieces=pieces, kind=kind)
