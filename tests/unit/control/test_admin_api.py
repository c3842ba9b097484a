import pytest

from portcullis.core.principal import Principal, PrincipalKind

AGENT = {"kind": "agent", "id": "shop-1", "owner": "shop team"}


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
    control.post("/api/v1/principals/agent/shop-1/disable", headers=ada)
    assert [record.state for record in seen[1:]] == ["active"]


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("POST", "/api/v1/principals", AGENT),
        ("POST", "/api/v1/principals/operator/vic/disable", None),
        ("POST", "/api/v1/principals/operator/vic/enable", None),
        ("POST", "/api/v1/principals/operator/vic/tokens", {}),
    ],
)
def test_what_cannot_be_recorded_does_not_happen(control, world, ada, method, path, body):
    world.recorder.full = True
    before = world.services.directory.list()
    answer = control.request(method, path, json=body, headers=ada)
    assert (answer.status_code, answer.json()["code"]) == (503, "PC6001")
    assert world.services.directory.list() == before


def test_a_disabled_principal_is_refused_from_its_next_request_on(control, world, ada, vic):
    assert control.get("/api/v1/version", headers=vic).json() == {"version": "1.2.3"}
    disabled = control.post("/api/v1/principals/operator/vic/disable", headers=ada)
    assert disabled.json()["state"] == "disabled"
    answer = control.get("/api/v1/version", headers=vic)
    assert (answer.status_code, answer.json()["code"]) == (403, "PC4001")
    assert control.post("/api/v1/principals/operator/vic/enable", headers=ada).status_code == 200
    assert control.get("/api/v1/version", headers=vic).status_code == 200


def test_an_administrator_mints_tokens_that_work(control, world, ada):
    control.post("/api/v1/principals", json=AGENT, headers=ada)
    path = "/api/v1/principals/agent/shop-1/tokens"
    answer = control.post(path, json={"ttl_seconds": 60}, headers=ada)
    assert answer.status_code == 201
    body = answer.json()
    principal = world.services.authority.authenticate(body["token"])
    assert principal == Principal(
        kind=PrincipalKind.AGENT,
        id="shop-1",
        credential=body["credential"],
        expires_at=body["expires_at"],
    )
    assert principal.expires_at == 1_800_000_060
    assert body["token"] not in repr(world.recorder.events)
    too_long = control.post(path, json={"ttl_seconds": 601}, headers=ada)
    assert (too_long.status_code, too_long.json()["code"]) == (400, "PC1020")


def test_a_disabled_or_unknown_principal_gets_no_token(control, world, ada):
    control.post("/api/v1/principals", json=AGENT, headers=ada)
    control.post("/api/v1/principals/agent/shop-1/disable", headers=ada)
    for name, code in (("shop-1", "PC4001"), ("shop-2", "PC2007")):
        answer = control.post(f"/api/v1/principals/agent/{name}/tokens", json={}, headers=ada)
        assert (answer.status_code, answer.json()["code"]) == (403, code)


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        (AGENT | {"roles": ["admin"]}, 400, "PC1021"),
        (AGENT | {"state": "disabled"}, 400, "PC1021"),
        (AGENT | {"kind": "operator"}, 400, "PC1020"),
        (AGENT | {"kind": "operator", "roles": []}, 400, "PC1020"),
        (AGENT | {"kind": "operator", "roles": ["root"]}, 400, "PC1020"),
        (AGENT | {"kind": "gateway"}, 400, "PC1020"),
        (AGENT | {"kind": "user"}, 400, "PC1020"),
        (AGENT | {"id": "Shop 1"}, 400, "PC1020"),
        (AGENT | {"id": "shop-1\n"}, 400, "PC1020"),
        (AGENT | {"owner": ""}, 400, "PC1020"),
        (AGENT | {"kind": "operator", "roles": ["admin"], "id": "ada"}, 409, "PC2009"),
        (AGENT | {"kind": "operator", "roles": ["admin"], "id": "local-x"}, 409, "PC2009"),
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
        ("POST", "/api/v1/principals/agent/nobody/disable"),
        ("POST", "/api/v1/principals/agent/nobody/enable"),
    ],
)
def test_an_unknown_principal_is_not_found(control, world, ada, method, path):
    answer = control.request(method, path, headers=ada)
    assert (answer.status_code, answer.json()["code"]) == (404, "PC2010")
    assert world.recorder.last.code == "PC2010"


@pytest.mark.parametrize("role", ["viewer", "approver", "responder"])
def test_only_administrators_write(control, world, role):
    headers = world.bearer("operator", "oli", roles=(role,))
    for path in ("", "/operator/vic/disable", "/operator/vic/enable", "/operator/vic/tokens"):
        answer = control.post(f"/api/v1/principals{path}", json=AGENT, headers=headers)
        assert (answer.status_code, answer.json()["code"]) == (403, "PC2004")
    assert control.get("/api/v1/principals", headers=headers).status_code == 200


READS = ["/api/v1/principals", "/api/v1/version", "/api/v1/openapi.json", "/metrics"]


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
