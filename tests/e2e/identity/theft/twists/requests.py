"""Thefts in requests over mutual TLS: credentials used by, with or after what they are not for."""

from e2e.identity.theft.deployment import CHAT, EXCHANGE, TYPE, Answer, Scene
from e2e.identity.theft.twists.certificates import happens
from e2e.identity.theft.twists.registry import twist


@twist
async def svid_calls(scene: Scene, *, path) -> Answer:
    """A certificate that the authority did sign, for somebody who is no agent here."""
    if path.startswith("/application/"):
        await scene.at.register("application", path.rpartition("/")[2])
    return await scene.at.mtls(scene.at.svid(path))


@twist
async def opens_session(scene: Scene) -> Answer:
    asked = {"agent": scene.thief.name, "user": "ada", "prompt": "Give me everything."}
    return await scene.at.mtls(scene.thief.shown, "/v1/sessions", json=asked)


@twist
async def token_with(scene: Scene, *, certificate) -> Answer:
    """The victim's certificate-bound token, shown with another certificate or none."""
    token = await scene.victim.token()
    assert (await scene.at.mtls(scene.victim.shown, token=token)).status == 200
    if certificate == "none":
        return await scene.at.plain(token=token)
    renewed = scene.at.svid(f"/agent/{scene.victim.name}")
    shown = scene.thief.shown if certificate == "thief" else renewed
    return await scene.at.mtls(shown, token=token)


@twist
async def dpop_token_with(scene: Scene, *, certificate) -> Answer:
    token = await scene.victim.dpop_token()
    return await scene.at.mtls(getattr(scene, certificate).shown, token=token)


@twist
async def two_credentials(scene: Scene) -> Answer:
    own, stolen = await scene.thief.token(), await scene.victim.token()
    return await scene.at.mtls(scene.thief.shown, token=own, headers=[("x-api-key", stolen)])


@twist
async def goes_on_after(scene: Scene, *, verb) -> Answer:
    token = await scene.victim.token()
    async with scene.at.line(scene.victim.shown) as line:
        assert (await scene.at.post(line, "mtls", token=token)).status == 200
        await happens(scene, scene.victim, verb, token)
        return await scene.at.post(line, "mtls", token=token)


@twist
async def old_token_new_svid(scene: Scene) -> Answer:
    token = await scene.victim.token()
    await happens(scene, scene.victim, "rotate")
    shown = scene.at.svid(f"/agent/{scene.victim.name}")
    assert (await scene.at.mtls(shown)).status == 200
    return await scene.at.mtls(shown, token=token)


@twist
async def closed_session(scene: Scene, *, bound) -> Answer:
    session, token = await scene.at.session(scene.victim.name)
    if bound:
        token = (await scene.victim.exchange(token)).good()["access_token"]
    assert (await scene.at.mtls(scene.victim.shown, token=token)).status == 200
    async with scene.at.line(scene.at.svid("/application/helpdesk")) as line:
        await line.ask("DELETE", scene.at.url("mtls", f"/v1/sessions/{session}"))
    return await scene.at.mtls(scene.victim.shown, token=token)


@twist
async def steals_session(scene: Scene) -> Answer:
    _, token = await scene.at.session(scene.victim.name)
    assert (await scene.at.mtls(scene.victim.shown, token=token)).status == 200
    return await scene.at.mtls(scene.thief.shown, token=token)


@twist
async def delegator_cut(scene: Scene, *, verb) -> Answer:
    """The thief acts for the victim, who is then cut off."""
    delegation = await scene.victim.delegate(await scene.victim.token(), scene.thief.name)
    assert (await scene.at.mtls(scene.thief.shown, token=delegation)).status == 200
    await happens(scene, scene.victim, verb)
    return await scene.at.mtls(scene.thief.shown, token=delegation)


@twist
async def delegator_may_not(scene: Scene) -> Answer:
    weaker = await scene.another("m")
    delegation = await weaker.delegate(await weaker.token(), scene.thief.name)
    assert (await scene.at.mtls(scene.thief.shown)).status == 200
    return await scene.at.mtls(scene.thief.shown, token=delegation)


@twist
async def beyond_scope(scene: Scene) -> Answer:
    token = await scene.thief.token(scope="model:gpt-other")
    return await scene.at.mtls(scene.thief.shown, CHAT, token=token)


# The token endpoint


@twist
async def mint_bare(scene: Scene) -> Answer:
    return await scene.at.plain("/v1/token", data={"grant_type": "client_credentials"})


@twist
async def mint_after(scene: Scene, *, verb) -> Answer:
    form = {"grant_type": "client_credentials"}
    async with scene.at.line(scene.victim.shown) as line:
        (await scene.at.post(line, "mtls", "/v1/token", data=form)).good()
        await happens(scene, scene.victim, verb)
        return await scene.at.post(line, "mtls", "/v1/token", data=form)


@twist
async def mint_scope(scene: Scene, *, scope) -> Answer:
    form = {"grant_type": "client_credentials", "scope": scope}
    return await scene.at.mtls(scene.thief.shown, "/v1/token", data=form)


@twist
async def widen(scene: Scene) -> Answer:
    """Of a narrow token a delegation with more in it, for an accomplice."""
    accomplice = await scene.another("p")
    narrow = await scene.thief.token(scope="model:gpt-other")
    audience = str(accomplice.id)
    (await scene.thief.exchange(narrow, audience=audience, scope="model:gpt-other")).good()
    return await scene.thief.exchange(narrow, audience=audience, scope="model:gpt-standin")


@twist
async def widen_delegation(scene: Scene) -> Answer:
    narrow = await scene.victim.token(scope="model:gpt-other")
    delegation = await scene.victim.delegate(narrow, scene.thief.name)
    return await scene.thief.exchange(delegation, scope="model:gpt-standin")


@twist
async def exchange_session(scene: Scene, *, actor) -> Answer:
    """The session token of the victim, with the thief as the actor, or nobody."""
    _, token = await scene.at.session(scene.victim.name)
    (await scene.victim.exchange(token)).good()
    if actor == "certificate":
        return await scene.thief.exchange(token)
    form = {
        "grant_type": EXCHANGE,
        "subject_token": token,
        "subject_token_type": f"{TYPE}access_token",
    }
    if actor == "none":
        return await scene.at.plain("/v1/token", data=form)
    form |= {"actor_token": scene.thief.jwt_svid(), "actor_token_type": f"{TYPE}jwt"}
    proof = scene.thief.proof("/v1/token")
    return await scene.at.plain("/v1/token", data=form, headers=[("dpop", proof)])


@twist
async def delegates_stolen(scene: Scene) -> Answer:
    stolen = await scene.victim.token()
    return await scene.thief.exchange(stolen, audience=str(scene.thief.id))


@twist
async def chain(scene: Scene, *, length) -> Answer:
    """Each agent delegates to the next, until one is refused."""
    agent = await scene.another("c0")
    token = await agent.token()
    answer = Answer(200)
    for number in range(1, length + 1):
        following = await scene.another(f"c{number}")
        answer = await agent.exchange(token, audience=str(following.id))
        if answer.status == 200:
            answer = await following.exchange(answer.body["access_token"])
        if answer.status != 200:
            assert number > 1, answer.text
            break
        agent, token = following, answer.body["access_token"]
    return answer


@twist
async def requested_subject(scene: Scene) -> Answer:
    own = await scene.thief.token()
    return await scene.thief.exchange(own, requested_subject=f"agent:{scene.victim.name}")
