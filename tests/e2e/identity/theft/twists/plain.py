"""Thefts on plain loopback: DPoP proofs, tokens without one, and the control plane."""

import hashlib

from e2e.identity.theft import forge
from e2e.identity.theft.deployment import CHAT, Answer, Scene, local, operator
from e2e.identity.theft.twists.registry import twist
from portcullis.core.principal import PrincipalKind


@twist
async def dpop(
    scene: Scene,
    *,
    drop=False,
    replay=False,
    same_jti=False,
    twice=False,
    private=False,
    key="victim",
    ath="own",
    sign="",
    path=CHAT,
    at=0,
    header=None,
    claims=None,
    cut="",
) -> Answer:
    """The victim's DPoP token, used well once and then with a proof that is twisted."""
    victim, thief = scene.victim, scene.thief
    token = await victim.dpop_token()
    url = scene.at.url("gate")

    async def send(*proofs: str) -> Answer:
        headers = [("dpop", each) for each in proofs]
        return await scene.at.plain(token=token, scheme="DPoP", headers=headers)

    good = forge.proof(victim.dpop, "POST", url, token)
    assert (await send(good)).status == 200
    if drop:
        return await send()
    if replay:
        return await send(good)
    if cut:
        await scene.at.change("agent", victim.name, cut)
    if twice:
        return await send(*(forge.proof(victim.dpop, "POST", url, token) for _ in range(2)))
    said = dict(claims or {})
    if same_jti:
        said["jti"] = forge.opened(good)[1]["jti"]
    if at:
        said["iat"] = forge.opened(good)[1]["iat"] + at
    if ath == "other":
        said["ath"] = forge.b64(hashlib.sha256((await thief.dpop_token()).encode()).digest())
    head = dict(header or {})
    if private:
        secret = victim.dpop.private_numbers().private_value.to_bytes(32, "big")
        head["jwk"] = forge.jwk(victim.dpop.public_key()) | {"d": forge.b64(secret)}
    signer = {"hs256": forge.hs256(victim.dpop.public_key()), "none": forge.UNSIGNED}.get(sign)
    if key == "mixed":
        signer = forge.es256(thief.dpop)
    made = forge.proof(
        thief.dpop if key == "thief" else victim.dpop,
        "POST",
        scene.at.url("gate", path),
        None if ath == "none" else token,
        signer=signer,
        header=head,
        **said,
    )
    return await send(made)


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
