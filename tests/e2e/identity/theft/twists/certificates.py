"""Thefts at the handshake: certificates forged, stolen or outlived."""

from cryptography import x509

from e2e.identity.theft import forge
from e2e.identity.theft.deployment import Agent, Answer, Scene
from e2e.identity.theft.twists.registry import twist


@twist
async def bare(scene: Scene) -> Answer:
    return await scene.at.mtls(None)


@twist
async def leaf(scene: Scene, *, by="ours", uris=None, pad=0, cn="workload", **template) -> Answer:
    """A certificate as the template says, signed by whoever ``by`` is."""
    uris = [f"spiffe://{scene.at.domain}/agent/{scene.victim.name}"] if uris is None else uris
    uris = [uri + "a" * pad for uri in uris]
    key = forge.p256()
    made = forge.template(key, uris, subject=forge.name(cn[:64]), **template)
    return await scene.at.mtls(forge.Shown(_signer(scene, by, key).sign(made), key))


def _signer(scene: Scene, by: str, key) -> forge.Ca:
    ours = scene.at.signs()
    if by == "self":
        own = forge.template(key, [], subject=forge.name("workload")).issuer_name(
            forge.name("workload")
        )
        return forge.Ca(x509.load_der_x509_certificate(forge.signed(own, key)), key)
    if by == "stranger":
        return forge.root("stranger.example")
    if by == "impostor":
        made = forge.root(scene.at.domain, ours.certificate.subject)
        return forge.Ca(made.certificate, made.key, ours.below)
    if by == "partner":
        return scene.at.partner
    if by == "leaf":
        shown = scene.thief.shown
        return forge.Ca(x509.load_der_x509_certificate(shown.chain[0]), shown.key, shown.chain)
    return ours


@twist
async def knock_after(scene: Scene, *, verb) -> Answer:
    """The certificate was good; then something happened; now a new connection."""
    assert (await scene.at.mtls(scene.victim.shown)).status == 200
    await happens(scene, scene.victim, verb)
    return await scene.at.mtls(scene.victim.shown)


async def happens(scene: Scene, agent: Agent, verb: str, token: str = "") -> None:
    """What operators do about a theft."""
    if verb == "serial":
        answer = await scene.at.admin(f"/credentials/svid:{agent.shown.serial}/revoke")
        assert answer.status == 200, answer.text
    elif verb == "token":
        credential = forge.opened(token)[1]["jti"]
        answer = await scene.at.admin(f"/credentials/{credential}/revoke")
        assert answer.status == 200, answer.text
    elif verb == "retire":
        for step in ("rotate", "retire"):
            answer = await scene.at.admin(f"/authority/root/{step}")
            assert answer.status == 200, answer.text
    else:
        await scene.at.change("agent", agent.name, verb)
