"""Thefts at the Workload API, spoken in bare protobuf over gRPC: nothing of ours on this side."""

import os
import secrets
import time

import grpc
import grpc.aio

from e2e.identity.theft import forge
from e2e.identity.theft.cases import filled
from e2e.identity.theft.deployment import Answer, Scene
from e2e.identity.theft.twists.registry import twist

HEADER = (("workload.spiffe.io", "true"),)
STREAMED = {"FetchX509SVID"}


def field(number: int, text: str) -> bytes:
    """A string field of a protobuf message."""
    raw, length = text.encode(), b""
    left = len(raw)
    while left > 0x7F:
        length += bytes([left & 0x7F | 0x80])
        left >>= 7
    return bytes([number << 3 | 2]) + length + bytes([left]) + raw


async def asked(scene: Scene, call: str, request: bytes, *, header: bool = True) -> Answer:
    """One call: the first message, or the status that it ended with."""
    metadata = HEADER if header else ()
    async with grpc.aio.insecure_channel(f"unix:{scene.at.stage.gate.workload}") as channel:
        kind = channel.unary_stream if call in STREAMED else channel.unary_unary
        running = kind(f"/SpiffeWorkloadAPI/{call}")(request, metadata=metadata, timeout=5)
        try:
            if call in STREAMED:
                return Answer(200, note=str(len(await running.read())))
            return Answer(200, note=str(len(await running)))
        except grpc.aio.AioRpcError as refused:
            return Answer(refused.code().name, refused.details() or "")


@twist
async def workload(
    scene: Scene, *, call="FetchX509SVID", header=True, selectors=(), verb=""
) -> Answer:
    names = {"uid": str(os.getuid()), "other": secrets.token_hex(32)}
    entry = ""
    if selectors:
        wanted = {"kind": "agent", "principal": scene.thief.name}
        wanted |= {"selectors": filled(list(selectors), names)}
        entry = (await scene.at.admin("/entries", wanted)).good()["id"]
    if verb:
        await scene.at.change("agent", scene.thief.name, verb)
    request = b""
    if call == "FetchJWTSVID":
        request = field(1, scene.at.gate_id) + field(2, str(scene.victim.id))
    if call == "ValidateJWTSVID":
        request = field(1, scene.at.gate_id) + field(2, _forged(scene))
    try:
        return await asked(scene, call, request, header=header)
    finally:
        if entry:
            await scene.at.admin(f"/entries/{entry}", method="DELETE")


def _forged(scene: Scene) -> str:
    head, said, _ = forge.opened(scene.victim.jwt_svid())
    return forge.jws(forge.es256(forge.p256()), head, said | {"iat": int(time.time())})
