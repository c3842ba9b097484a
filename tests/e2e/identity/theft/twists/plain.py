"""Thefts on plain loopback: DPoP proofs, tokens without one, and the control plane."""

import hashlib
import time

from e2e.identity.theft import forge
from e2e.identity.theft.deployment import CHAT, Answer, Scene, local, operator
from e2e.identity.theft.twists.registry import twist
from portcullis.core.principal import PrincipalKind


@twist
async def dpop(
    scene: Scene, *, drop=False, replay=False, twice=False, same_jti=False, cut="", **forging
) -> Answer:
    """The victim's DPoP token, used well once and then with a proof that is twisted."""
    victim = scene.victim
    token = await victim.dpop_token()

    async def send(*proofs: str) -> Answer:
        headers = [("dpop", each) for each in proofs]
        return await scene.at.plain(token=token, scheme="DPoP", headers=headers)

    good = victim.proof(CHAT, token)
    assert (await send(good)).status == 200
    if drop:
        return await send()
    if replay:
        return await send(good)
    if twice:
        return await send(victim.proof(CHAT, token), victim.proof(CHAT, token))
    if cut:
        await scene.at.change("agent", victim.name, cut)
    said = {"jti": forge.opened(good)[1]["jti"]} if same_jti else {}
    return await send(await _twisted(scene, token, said, **forging))


async def _twisted(
    scene: Scene,
    token: str,
    said,
    *,
    key="victim",
    ath="own",
    sign="",
    path=CHAT,
    at=0,
    private=False,
    header=None,
    claims=None,
) -> str:
    """A proof that is wrong in one point."""
    mine, theirs = scene.thief.dpop, scene.victim.dpop
    said = said | (claims or {})
    if at:
        said["iat"] = int(time.time()) + at
    if ath == "other":
        said["ath"] = forge.b64(hashlib.sha256((await scene.thief.dpop_token()).encode()).digest())
    head = dict(header or {})
    if private:
        secret = theirs.private_numbers().private_value.to_bytes(32, "big")
        head["jwk"] = forge.jwk(theirs.public_key()) | {"d": forge.b64(secret)}
    signers = {"hs256": forge.hs256(theirs.public_key()), "none": forge.UNSIGNED}
    return forge.proof(
        mine if key == "thief" else theirs,
        "POST",
        scene.at.url("gate", path),
        None if ath == "none" else token,
        signer=forge.es256(mine) if key == "mixed" else signers.get(sign),
        header=head,
        **said,
    )


@twist
async def unbound(scene: Scene) -> Answer:
    """A token that an operator of the machine made for the victim."""
    principals = scene.at.stage.gate.services.principals("test")
    made = await principals.mint(local(), PrincipalKind.AGENT, scene.victim.name)
    return await scene.at.plain(token=made.token)


@twist
async def bare_session(scene: Scene) -> Answer:
    _, token = await scene.at.session(scene.victim.name)
    return await scene.at.plain(token=token)


@twist
async def bare_plain(scene: Scene) -> Answer:
    return await scene.at.plain()


@twist
async def operator_calls(scene: Scene) -> Answer:
    return await scene.at.plain(token=scene.at.root)


@twist
async def control_plane(scene: Scene) -> Answer:
    token = await scene.thief.dpop_token()
    url = scene.at.url("control", "/api/v1/principals")
    headers = [("dpop", forge.proof(scene.thief.dpop, "GET", url, token))]
    return await scene.at.plain(
        "/api/v1/principals",
        listener="control",
        method="GET",
        token=token,
        scheme="DPoP",
        headers=headers,
    )


@twist
async def viewer_revokes(scene: Scene) -> Answer:
    token = await operator(scene.at.stage, f"w-{scene.id}", "viewer")
    path = f"/api/v1/principals/agent/{scene.victim.name}/revoke"
    return await scene.at.plain(path, listener="control", token=token, json={})
