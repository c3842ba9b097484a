"""Ways to ask the token endpoint, and what to make of its answers."""

from urllib.parse import urlencode

from holders import peer_of
from portcullis.control.form import ACCESS_TOKEN, CLIENT_CREDENTIALS, GRANT

NOW = 1_800_000_000
FORM = {"content-type": "application/x-www-form-urlencoded"}
URL = "http://testserver/v1/token"
TOOL = "tool:orders.search"


def ask(gate, world, peer=None, proof="", headers=None, **fields):
    """What the token endpoint answers."""
    world.peer = peer
    head = FORM | ({"dpop": proof} if proof else {}) | (headers or {})
    try:
        return gate.post("/v1/token", content=urlencode(fields), headers=head)
    finally:
        world.peer = None


def own(gate, world, peer, **fields):
    return ask(gate, world, peer, grant_type=CLIENT_CREDENTIALS, **fields)


def swap(gate, world, token, peer=None, kind=ACCESS_TOKEN, **fields):
    fields = {"grant_type": GRANT, "subject_token": token, "subject_token_type": kind} | fields
    return ask(gate, world, peer, **fields)


def proof_of(holder, world, **fields):
    return holder.proof("POST", URL, world.clock.now(), **fields)


def session(gate, world, **fields):
    """The delegation that an application gets for a session of shop-1."""
    web = peer_of("/application/web", world.clock.now())
    world.peer = web
    body = {"agent": "shop-1", "user": "u", "prompt": "p"} | fields
    opened = gate.post("/v1/sessions", json=body).json()
    world.peer = None
    return opened


def issued(world, answer):
    assert answer.status_code == 200, answer.text
    return world.services.authority.verify(answer.json()["access_token"])


def refused(world, answer, code, error=None, status=400):
    body = answer.json()
    assert (answer.status_code, body["code"]) == (status, code), body
    assert error is None or body["error"] == error
    assert answer.headers["cache-control"] == "no-store"
    event = world.recorder.last
    assert (event.type, event.verdict, event.code) == ("identity", "deny", code)
    return event


def hand_on(gate, world, token, peer, other, **fields):
    audience = f"spiffe://example.test/agent/{other}"
    return swap(gate, world, token, peer, audience=audience, **fields)
