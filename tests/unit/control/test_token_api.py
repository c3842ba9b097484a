from urllib.parse import urlencode

import pytest

from portcullis.control.form import ACCESS_TOKEN, GRANT, JWT
from portcullis.core.credential import Presented
from portcullis.core.principal import PrincipalKind

FORM = {"content-type": "application/x-www-form-urlencoded"}


def exchange(gate, token, headers=None, **fields):
    form = {
        "grant_type": GRANT,
        "subject_token": token,
        "subject_token_type": ACCESS_TOKEN,
    } | fields
    content = urlencode({name: value for name, value in form.items() if value is not None})
    return gate.post("/v1/token", content=content, headers=FORM | (headers or {}))


def holder(world, token):
    return world.services.authority.authenticate(Presented(token=token))


def open_session(gate, world, **fields):
    body = {"agent": "shop-1", "user": "u", "prompt": "p"} | fields
    web = world.bearer("application", "web")
    return gate.post("/v1/sessions", json=body, headers=web).json()


@pytest.mark.parametrize(
    ("kind", "name", "roles"),
    [("agent", "shop-1", ()), ("application", "web", ()), ("operator", "oli", ("approver",))],
)
def test_a_principal_renews_its_own_token(gate, world, kind, name, roles):
    if kind == "operator":
        world.register(kind, name, roles)
    answer = exchange(gate, world.token(kind, name, roles=roles), subject_token_type=JWT)
    assert answer.status_code == 200
    body = answer.json()
    assert body["issued_token_type"] == ACCESS_TOKEN
    assert (body["token_type"], body["expires_in"]) == ("Bearer", 599)
    assert answer.headers["cache-control"] == "no-store"
    principal = holder(world, body["access_token"])
    assert (principal.kind, principal.id, principal.roles) == (PrincipalKind(kind), name, roles)
    event = world.recorder.last
    if kind == "operator":
        assert (event.type, event.method, event.name) == ("admin", "tokens.mint", f"{kind}:{name}")
        assert event.parameters["credential"] == principal.credential
    else:
        assert (event.type, event.method) == ("identity", "token.issue")
        assert (event.principal_kind, event.principal) == (kind, name)
        assert event.credential == principal.credential
    assert body["access_token"] not in repr(event)


def test_a_chain_of_renewals_ends(gate, world):
    token = world.token("agent", "shop-1")
    for end in (600, 1199, 1500):
        answer = exchange(gate, token)
        token = answer.json()["access_token"]
        claims = world.services.authority.verify(token)
        assert (claims.exp, claims.auth_time) == (1_800_000_000 + end, 1_800_000_000)
        world.clock.time = claims.exp - 0.75
    answer = exchange(gate, token)
    assert answer.json()["expires_in"] == 0
    world.clock.time = 1_800_001_500
    for late in (token, world.token("agent", "shop-1", auth_time=1_800_000_000)):
        answer = exchange(gate, late)
        assert (answer.status_code, answer.json()["code"]) == (400, "PC2003")


def test_roles_come_from_the_register_and_not_from_the_old_token(gate, world):
    world.register("operator", "oli", ("viewer",))
    answer = exchange(gate, world.token("operator", "oli", roles=("admin",)))
    principal = holder(world, answer.json()["access_token"])
    assert principal.roles == ("viewer",)


def test_a_session_token_is_renewed_only_within_its_session(gate, world):
    opened = open_session(gate, world, ttl_seconds=100)
    world.clock.time += 60
    answer = exchange(gate, opened["token"])
    assert answer.json()["expires_in"] == 39
    principal = holder(world, answer.json()["access_token"])
    assert principal.session == opened["session"]
    assert principal.expires_at == opened["expires_at"]


def test_a_token_of_a_closed_session_is_worth_nothing(gate, world):
    opened = open_session(gate, world)
    web = world.bearer("application", "web")
    gate.delete(f"/v1/sessions/{opened['session']}", headers=web)
    answer = exchange(gate, opened["token"])
    assert (answer.status_code, answer.json()["code"]) == (400, "PC2006")


def test_an_administrator_gets_a_token_for_an_agent(gate, world):
    token = world.token("operator", "ada", roles=("admin",))
    answer = exchange(gate, token, requested_subject="agent:shop-1")
    principal = holder(world, answer.json()["access_token"])
    assert (principal.kind, principal.id) == (PrincipalKind.AGENT, "shop-1")
    assert principal.session is None
    assert world.recorder.last.principal == "ada"


@pytest.mark.parametrize(
    ("kind", "fields"),
    [
        ("operator", {"roles": ("viewer", "approver", "responder")}),
        ("application", {}),
        ("agent", {}),
    ],
)
def test_nobody_else_gets_a_token_for_another(gate, world, kind, fields):
    name = {"operator": "vic", "application": "web", "agent": "shop-1"}[kind]
    world.register("agent", "shop-2")
    answer = exchange(gate, world.token(kind, name, **fields), requested_subject="agent:shop-2")
    assert (answer.status_code, answer.json()["error"]) == (400, "unauthorized_client")
    assert answer.json()["code"] == "PC2004"
    assert world.recorder.last.code == "PC2004"


def test_a_session_token_is_never_exchanged_for_a_wider_one(gate, world):
    opened = open_session(gate, world)
    answer = exchange(gate, opened["token"], requested_subject="agent:shop-1")
    assert (answer.json()["code"], answer.json()["error"]) == ("PC2008", "invalid_target")


@pytest.mark.parametrize(
    ("subject", "code"),
    [
        ("agent:nobody", "PC2007"),
        ("operator:vic", "PC2008"),
        ("user:vic", "PC2008"),
        ("shop-1", "PC2008"),
    ],
)
def test_an_administrator_gets_no_token_for_an_impossible_subject(gate, world, subject, code):
    token = world.token("operator", "ada", roles=("admin",))
    answer = exchange(gate, token, requested_subject=subject)
    assert (answer.status_code, answer.json()["code"]) == (400, code)


def test_a_suspended_principal_renews_nothing(gate, world):
    token = world.token("agent", "shop-1")
    gate.portal.call(world.set_state, "agent", "shop-1", "suspended")
    answer = exchange(gate, token)
    assert (answer.status_code, answer.json()["code"]) == (400, "PC4001")
    admin = world.token("operator", "ada", roles=("admin",))
    answer = exchange(gate, admin, requested_subject="agent:shop-1")
    assert answer.json()["code"] == "PC4001"


def test_a_cut_credential_renews_nothing(gate, world):
    token = world.token("agent", "shop-1")
    credential = world.services.authority.verify(token).jti
    gate.portal.call(world.services.feed.cut, "credential", credential, "leaked")
    assert exchange(gate, token).json()["code"] == "PC4001"
    assert exchange(gate, world.token("agent", "shop-1")).status_code == 200


def test_a_stale_feed_mints_nothing(gate, world):
    world.services.feed._stale = True
    answer = exchange(gate, world.token("agent", "shop-1"))
    assert (answer.status_code, answer.json()["code"]) == (503, "PC4002")


def test_a_principal_that_was_never_registered_renews_nothing(gate, world):
    answer = exchange(gate, world.token("operator", "local-root", roles=("admin",)))
    assert (answer.status_code, answer.json()["code"]) == (400, "PC2007")


def test_no_token_leaves_unrecorded(gate, world):
    world.recorder.full = True
    answer = exchange(gate, world.token("agent", "shop-1"))
    assert (answer.status_code, answer.json()["code"]) == (503, "PC6001")
    assert answer.json()["error"] == "temporarily_unavailable"
    assert "access_token" not in answer.json()


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"grant_type": "password"}, "unsupported_grant_type"),
        ({"grant_type": None}, "invalid_request"),
        ({"subject_token": None}, "invalid_request"),
        ({"subject_token_type": "urn:ietf:params:oauth:token-type:saml2"}, "invalid_request"),
        ({"subject_token_type": None}, "invalid_request"),
        ({"requested_token_type": "x"}, "invalid_request"),
        ({"audience": "elsewhere"}, "invalid_target"),
        ({"resource": "https://elsewhere.test"}, "invalid_target"),
        ({"actor_token": "x"}, "invalid_request"),
        ({"lifetime": "100000"}, "invalid_request"),
    ],
)
def test_a_bad_form_is_refused_by_its_oauth_name(gate, world, changes, error):
    answer = exchange(gate, world.token("agent", "shop-1"), **changes)
    assert (answer.status_code, answer.json()["error"]) == (400, error)
    assert answer.json()["code"] == "PC2008"
    assert world.recorder.last.code == "PC2008"


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"grant_type",
        b"grant_type=a&grant_type=b",
        b"a=%ff",
        b"a=\xff",
        b"&".join(b"a%d=1" % n for n in range(20)),
    ],
)
def test_a_malformed_form_is_refused(gate, world, content):
    answer = gate.post("/v1/token", content=content, headers=FORM)
    assert (answer.status_code, answer.json()["code"]) == (400, "PC2008")
    assert (world.recorder.last.type, world.recorder.last.code) == ("identity", "PC2008")


def test_a_form_must_say_that_it_is_one(gate, world):
    answer = gate.post("/v1/token", json={"grant_type": GRANT})
    assert (answer.status_code, answer.json()["code"]) == (400, "PC2008")


def test_a_forged_subject_token_is_refused_and_not_repeated(gate, world):
    token = world.token("agent", "shop-1")[:-8] + "AAAAAAAA"
    answer = exchange(gate, token)
    assert (answer.status_code, answer.json()["code"]) == (400, "PC2031")
    assert token not in answer.text
    assert token not in repr(world.recorder.last)


def test_an_authorization_header_must_name_the_same_principal(gate, world):
    token = world.token("agent", "shop-1")
    assert exchange(gate, token, world.bearer("agent", "shop-1")).status_code == 200
    answer = exchange(gate, token, world.bearer("application", "web"))
    assert (answer.status_code, answer.json()["error"]) == (401, "invalid_client")
    assert answer.json()["code"] == "PC2005"
    answer = exchange(gate, token, {"authorization": "Bearer nonsense"})
    assert (answer.status_code, answer.json()["code"]) == (401, "PC2002")


def test_a_fault_of_ours_mints_nothing(gate, world):
    def broken(kind, name):
        raise RuntimeError("disk")

    world.services.directory.get = broken
    answer = exchange(gate, world.token("agent", "shop-1"))
    assert (answer.status_code, answer.json()["error"]) == (500, "server_error")
    assert world.recorder.last.code == "PC9002"


def test_a_login_that_is_good_for_adding_a_passkey_does_not_become_more(gate, world):
    world.register("operator", "oli", ("admin",))
    refused = exchange(gate, world.token("operator", "oli"), subject_token_type=JWT)
    assert refused.json()["code"] == "PC2086"
