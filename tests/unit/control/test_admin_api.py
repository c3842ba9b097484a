import dataclasses

import pytest
from prometheus_client import CollectorRegistry
from starlette.testclient import TestClient

from portcullis.config import Tokens
from portcullis.control import admin
from portcullis.core.credential import Presented
from portcullis.core.principal import PrincipalKind

AGENT = {"kind": "agent", "id": "shop-1", "owner": "shop team", "purpose": "answers customers"}
WEB = {"kind": "application", "id": "web", "owner": "shop team"}
OPERATOR = {"kind": "operator", "id": "oli", "owner": "ops", "roles": ["viewer"]}
ONE = "/api/v1/principals/agent/shop-1"
DAY = 86_400


@pytest.fixture
def ada(world):
    return world.bearer("operator", "ada", roles=("admin",))


@pytest.fixture
def vic(world):
    return world.bearer("operator", "vic", roles=("viewer",))


def test_an_administrator_registers_principals_and_viewers_see_them(control, world, ada, vic):
    created = control.post("/api/v1/principals", json=AGENT, headers=ada)
    assert created.status_code == 201
    assert created.json() == AGENT | {
        "state": "active",
        "roles": [],
        "created_at": world.clock.now(),
        "review_at": world.clock.now() + 90 * DAY,
        "spiffe_id": "",
        "rotated_at": 0.0,
        "users": [],
    }
    operator = {"kind": "operator", "id": "oli", "owner": "ops", "roles": ["approver", "viewer"]}
    assert control.post("/api/v1/principals", json=operator, headers=ada).status_code == 201
    one = control.get("/api/v1/principals/agent/shop-1", headers=vic)
    assert one.json() == created.json()
    agents = control.get("/api/v1/principals?kind=agent", headers=vic).json()["principals"]
    assert agents == [created.json()]
    everyone = control.get("/api/v1/principals", headers=vic).json()["principals"]
    assert [p["id"] for p in everyone] == ["shop-1", "ada", "oli", "vic"]


def test_an_act_is_recorded_before_it_happens(control, world, ada):
    directory = world.services.directory
    seen = []
    world.recorder.watch = lambda event: seen.append(directory.get(PrincipalKind.AGENT, "shop-1"))
    control.post("/api/v1/principals", json=AGENT, headers=ada)
    assert seen == [None]
    event = world.recorder.last
    assert (event.type, event.method, event.name) == (
        "admin",
        "principals.create",
        "agent:shop-1",
    )
    assert (event.principal, event.route, event.verdict) == ("ada", "control", "allow")
    assert event.parameters == {
        "owner": "shop team",
        "purpose": "answers customers",
        "review_at": 1_807_776_000,
        "roles": [],
    }


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("POST", "/api/v1/principals", AGENT),
        ("POST", "/api/v1/principals/operator/oli/resume", None),
        ("POST", "/api/v1/principals/application/web/review", {}),
        ("POST", "/api/v1/principals/operator/vic/roles", {"roles": ["admin"]}),
        ("POST", "/api/v1/principals/application/web/tokens", {}),
        ("POST", "/api/v1/principals/application/web/join", {}),
        (
            "POST",
            "/api/v1/entries",
            {"kind": "application", "principal": "web", "selectors": ["unix:uid:7"]},
        ),
    ],
)
def test_what_gives_something_does_not_happen_unless_it_can_be_recorded(
    control, world, ada, method, path, body
):
    control.post("/api/v1/principals", json=WEB, headers=ada)
    world.register("operator", "oli", ["viewer"])
    control.post("/api/v1/principals/operator/oli/suspend", headers=ada)
    world.recorder.full = True
    before = world.services.directory.list()
    answer = control.request(method, path, json=body, headers=ada)
    assert (answer.status_code, answer.json()["code"]) == (503, "PC6001")
    assert world.services.directory.list() == before
    assert world.services.registrations.entries() == ()


@pytest.mark.parametrize("credential", ["svid:", "x", "AB", "svid:12;", "0" * 41])
def test_what_is_no_credential_is_not_cut_off(control, ada, credential):
    answer = control.post(f"/api/v1/credentials/{credential}/revoke", headers=ada)
    assert (answer.status_code, answer.json()["code"]) == (400, "PC1020")


def test_a_revoked_name_is_never_given_out_again(control, ada):
    control.post("/api/v1/principals", json=AGENT, headers=ada)
    assert control.post(f"{ONE}/revoke", headers=ada).json()["state"] == "revoked"
    again = control.post("/api/v1/principals", json=AGENT, headers=ada)
    assert (again.status_code, again.json()["code"]) == (409, "PC2009")
    for verb in ("suspend", "resume", "revoke", "rotate"):
        answer = control.post(f"{ONE}/{verb}", headers=ada)
        assert (answer.status_code, answer.json()["code"]) == (409, "PC2073")
    review = control.post(f"{ONE}/review", json={}, headers=ada)
    assert (review.status_code, review.json()["code"]) == (409, "PC2073")


def test_a_review_moves_the_date_on(control, world, ada):
    control.post("/api/v1/principals", json=AGENT | {"review_at": 1_800_000_100}, headers=ada)
    world.clock.time += 200
    reviewed = control.post(f"{ONE}/review", json={}, headers=ada)
    assert reviewed.json()["review_at"] == world.clock.now() + 90 * DAY
    chosen = control.post(f"{ONE}/review", json={"review_at": 1_900_000_000.5}, headers=ada)
    assert chosen.json()["review_at"] == 1_900_000_000.5
    past = control.post(f"{ONE}/review", json={"review_at": 1_800_000_000}, headers=ada)
    assert (past.status_code, past.json()["code"]) == (400, "PC1020")


def test_an_identity_of_another_trust_domain_stands_for_one_agent(control, world, ada):
    foreign = AGENT | {"spiffe_id": "spiffe://partner.test/shop"}
    created = control.post("/api/v1/principals", json=foreign, headers=ada)
    assert created.json()["spiffe_id"] == "spiffe://partner.test/shop"
    for spiffe_id, status, code in (
        ("spiffe://partner.test/shop", 409, "PC2009"),
        ("spiffe://example.test/agent/shop-1", 401, "PC2027"),
        ("spiffe://partner.test/../shop", 401, "PC2024"),
        ("https://partner.test/shop", 400, "PC1020"),
    ):
        other = AGENT | {"id": "shop-2", "spiffe_id": spiffe_id}
        answer = control.post("/api/v1/principals", json=other, headers=ada)
        assert (answer.status_code, answer.json()["code"]) == (status, code)


def test_an_administrator_mints_tokens_that_work(control, world, ada):
    control.post("/api/v1/principals", json=AGENT, headers=ada)
    path = "/api/v1/principals/agent/shop-1/tokens"
    answer = control.post(path, json={"ttl_seconds": 60}, headers=ada)
    assert answer.status_code == 201
    body = answer.json()
    principal = world.services.authority.authenticate(Presented(token=body["token"]))
    assert (principal.kind, principal.id) == (PrincipalKind.AGENT, "shop-1")
    assert principal.credential == body["credential"]
    assert principal.expires_at == body["expires_at"]
    assert principal.expires_at == 1_800_000_060
    assert body["token"] not in repr(world.recorder.events)
    too_long = control.post(path, json={"ttl_seconds": 601}, headers=ada)
    assert (too_long.status_code, too_long.json()["code"]) == (400, "PC1020")


def test_no_token_is_handed_out_that_is_bound_to_no_key_unless_that_is_configured(world, ada):
    app = admin.create_app(
        dataclasses.replace(world.services, tokens=Tokens()),
        registry=CollectorRegistry(),
        ready=lambda: True,
    )
    world.register("agent", "shop-1")
    with TestClient(app) as client:
        answer = client.post(f"{ONE}/tokens", json={}, headers=ada)
    assert (answer.status_code, answer.json()["code"]) == (401, "PC2049")
    assert "agent connect" in answer.json()["hint"]
    assert world.recorder.last.code == "PC2049"


def test_operators_get_tokens_by_logging_in_only(control, ada):
    answer = control.post("/api/v1/principals/operator/vic/tokens", json={}, headers=ada)
    assert (answer.status_code, answer.json()["code"]) == (403, "PC2004")
    assert "operator login" in answer.json()["hint"]


def test_a_suspended_or_unknown_principal_gets_no_token(control, world, ada):
    control.post("/api/v1/principals", json=AGENT, headers=ada)
    control.post("/api/v1/principals/agent/shop-1/suspend", headers=ada)
    for name, code in (("shop-1", "PC4001"), ("shop-2", "PC2007")):
        answer = control.post(f"/api/v1/principals/agent/{name}/tokens", json={}, headers=ada)
        assert (answer.status_code, answer.json()["code"]) == (403, code)


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        (AGENT | {"roles": ["admin"]}, 400, "PC1021"),
        (AGENT | {"state": "suspended"}, 400, "PC1021"),
        (WEB | {"kind": "agent"}, 400, "PC1020"),
        (AGENT | {"purpose": "two\nlines"}, 400, "PC1020"),
        (AGENT | {"review_at": 1_800_000_000}, 400, "PC1020"),
        (AGENT | {"review_at": 1e300}, 400, "PC1020"),
        (AGENT | {"kind": "operator", "roles": ["admin"]}, 400, "PC1021"),
        (OPERATOR | {"roles": []}, 400, "PC1020"),
        (OPERATOR | {"roles": ["root"]}, 400, "PC7043"),
        (OPERATOR | {"roles": ["Root!"]}, 400, "PC1020"),
        (AGENT | {"kind": "gateway"}, 400, "PC1020"),
        (AGENT | {"kind": "user"}, 400, "PC1020"),
        (AGENT | {"id": "Shop 1"}, 400, "PC1020"),
        (AGENT | {"id": "shop-1\n"}, 400, "PC1020"),
        (AGENT | {"owner": ""}, 400, "PC1020"),
        (OPERATOR | {"id": "ada"}, 409, "PC2009"),
        (OPERATOR | {"id": "local-x"}, 409, "PC2009"),
        (OPERATOR | {"id": "oidc-x"}, 409, "PC2009"),
        ([AGENT], 400, "PC1020"),
        ("agent", 400, "PC1020"),
    ],
)
def test_a_bad_principal_is_refused_and_recorded(control, world, ada, body, status, code):
    answer = control.post("/api/v1/principals", json=body, headers=ada)
    assert (answer.status_code, answer.json()["code"]) == (status, code)
    assert (world.recorder.last.verdict, world.recorder.last.code) == ("deny", code)


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/api/v1/principals/agent/nobody"),
        ("POST", "/api/v1/principals/agent/nobody/suspend"),
        ("POST", "/api/v1/principals/agent/nobody/resume"),
        ("POST", "/api/v1/principals/agent/nobody/revoke"),
        ("POST", "/api/v1/principals/agent/nobody/rotate"),
    ],
)
def test_an_unknown_principal_is_not_found(control, world, ada, method, path):
    answer = control.request(method, path, headers=ada)
    assert (answer.status_code, answer.json()["code"]) == (404, "PC2010")
    assert world.recorder.last.code == "PC2010"
    assert world.services.feed.reason(world.principal("agent", "nobody"), None) is None


CUTS = [
    "/api/v1/principals/operator/vic/suspend",
    "/api/v1/principals/operator/vic/revoke",
    "/api/v1/principals/operator/vic/rotate",
    "/api/v1/credentials/ab12/revoke",
]
WRITES = [
    "/api/v1/principals",
    "/api/v1/principals/operator/vic/resume",
    "/api/v1/principals/application/web/review",
    "/api/v1/principals/application/web/tokens",
    "/api/v1/principals/application/web/join",
    "/api/v1/principals/operator/vic/password",
    "/api/v1/principals/operator/vic/roles",
    "/api/v1/entries",
]


@pytest.mark.parametrize("role", ["viewer", "approver", "responder"])
def test_only_administrators_give_and_only_responders_besides_them_cut_off(control, world, role):
    headers = world.bearer("operator", "oli", roles=(role,))
    for path in WRITES if role == "responder" else CUTS + WRITES:
        answer = control.post(path, json=AGENT, headers=headers)
        assert (answer.status_code, answer.json()["code"]) == (403, "PC2004")
    assert control.get("/api/v1/principals", headers=headers).status_code == 200
    assert control.get("/api/v1/entries", headers=headers).status_code == 200
    if role == "responder":
        for path in CUTS[:1] + CUTS[2:] + CUTS[1:2]:
            assert control.post(path, headers=headers).status_code == 200


READS = [
    "/api/v1/principals",
    "/api/v1/entries",
    "/api/v1/version",
    "/api/v1/openapi.json",
    "/metrics",
]


@pytest.mark.parametrize("path", READS)
def test_every_read_needs_an_operator(control, world, path):
    assert control.get(path).json()["code"] == "PC2001"
    for kind in ("agent", "application"):
        answer = control.get(path, headers=world.bearer(kind, "shop-1"))
        assert (answer.status_code, answer.json()["code"]) == (403, "PC2004")
    no_role = control.get(path, headers=world.bearer("operator", "oli"))
    assert no_role.json()["code"] == "PC2004"
    assert len(world.recorder.events) == 4


def test_figures_are_given_in_prometheus_text(control, vic):
    answer = control.get("/metrics", headers=vic)
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    assert "portcullis_example_total 1.0" in answer.text


def test_health_needs_no_principal_and_tells_nothing(control, world):
    assert control.get("/healthz").json() == {"status": "ok"}
    assert control.get("/readyz").json() == {"status": "ready"}
    world.ready = False
    answer = control.get("/readyz")
    assert (answer.status_code, answer.json()) == (503, {"status": "not ready"})
    assert world.recorder.events == []


@pytest.mark.parametrize("path", ["/", "/docs", "/redoc", "/openapi.json", "/healthz/", "/api/v1"])
def test_there_are_no_other_routes(control, world, vic, path):
    assert control.get(path).status_code == 401
    answer = control.get(path, headers=vic)
    assert (answer.status_code, answer.json()["code"]) == (404, "PC1010")


def test_the_credential_is_given_once_as_bearer(control, world, vic):
    token = vic["authorization"].removeprefix("Bearer ")
    table = [
        ([("authorization", f"Basic {token}")], "PC2002"),
        ([("authorization", "Bearer")], "PC2002"),
        ([("authorization", token)], "PC2002"),
        ([("x-api-key", token)], "PC2001"),
        ([("authorization", f"Bearer {token}"), ("authorization", f"Bearer {token}")], "PC1011"),
    ]
    for headers, code in table:
        assert control.get("/api/v1/version", headers=headers).json()["code"] == code
    lower = control.get("/api/v1/version", headers={"authorization": f"bearer {token}"})
    assert lower.status_code == 200
    assert control.get(f"/api/v1/version?access_token={token}").json()["code"] == "PC2001"
