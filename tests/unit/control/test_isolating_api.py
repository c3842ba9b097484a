"""If these fail, the wrong operator isolates an agent or closes a breaker, or it has no record."""

import asyncio

import pytest

from portcullis.core.breaker import Breaker, Key, State
from portcullis.core.event import EventType

WHO = {"scope": "agent", "value": "shop-1", "reason": "odd"}
RESET = {"breaker": "agent:shop-1", "reason": "a test"}


@pytest.fixture
def by(world):
    world.register("agent", "shop-1")
    for role in ("viewer", "responder", "admin"):
        world.register("operator", role, [role])
    return lambda role: world.bearer("operator", role, roles=(role,))


def opened(world, **key):
    fields = {"scope": "agent", "subject": "shop-1"} | key
    now = world.clock.now()
    breaker = Breaker(
        key=Key(**fields), state=State.OPEN, reason="4 denied", since=now, until=now + 60
    )
    asyncio.run(world.services.breakers.open(breaker))


def isolated(world):
    return world.services.feed.isolated(world.principal("agent", "shop-1"), None)


@pytest.mark.parametrize(
    ("path", "body", "least"),
    [
        ("/api/v1/quarantine", WHO, "responder"),
        ("/api/v1/quarantine/release", WHO, "admin"),
        ("/api/v1/breakers/reset", RESET, "admin"),
    ],
)
def test_whoever_has_not_the_role_changes_nothing(control, world, by, path, body, least):
    opened(world)
    if path.endswith("release"):
        assert control.post("/api/v1/quarantine", json=WHO, headers=by("admin")).status_code == 200
    before = isolated(world), world.services.breakers.get(Key(scope="agent", subject="shop-1"))
    roles = ["viewer", "responder", "admin"]
    for role in roles[: roles.index(least)]:
        answer = control.post(path, json=body, headers=by(role))
        assert (answer.status_code, answer.json()["code"]) == (403, "PC2004")
    found = world.services.breakers.get(Key(scope="agent", subject="shop-1"))
    assert (isolated(world), found) == before
    assert control.post(path, json=body, headers=by(least)).status_code == 200


def test_quarantine_acts_before_its_record_and_without_one(control, world, by):
    seen = []
    world.recorder.watch = lambda event: seen.append((event.method, isolated(world)))
    assert control.post("/api/v1/quarantine", json=WHO, headers=by("responder")).status_code == 200
    assert seen == [("quarantine.begin", "odd")]
    assert control.post("/api/v1/quarantine/release", json=WHO, headers=by("admin")).json() == {
        "scope": "agent",
        "value": "shop-1",
        "state": "released",
    }
    assert seen[1] == ("quarantine.end", "odd"), "it is on record before it ends"
    assert isolated(world) is None
    world.recorder.watch = None
    world.recorder.full = True
    answer = control.post("/api/v1/quarantine", json=WHO, headers=by("responder"))
    assert (answer.status_code, answer.json()["code"]) == (503, "PC6001")
    assert isolated(world) == "odd"
    answer = control.post("/api/v1/quarantine/release", json=WHO, headers=by("admin"))
    assert answer.status_code == 503
    assert isolated(world) == "odd", "what has no record does not end"


def test_who_is_in_quarantine_is_listed_with_who_said_so(control, by):
    control.post("/api/v1/quarantine", json=WHO, headers=by("responder"))
    (one,) = control.get("/api/v1/quarantine", headers=by("viewer")).json()["quarantined"]
    assert (one["value"], one["reason"], one["by"]) == ("shop-1", "odd", "operator:responder")


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (WHO | {"value": "shop-9"}, "PC2010"),
        (WHO | {"scope": "session", "value": "0a1b"}, "PC2006"),
        (WHO | {"scope": "role"}, "PC1020"),
        (WHO | {"reason": "  "}, "PC1020"),
    ],
)
def test_nobody_else_is_isolated(control, by, body, code):
    answer = control.post("/api/v1/quarantine", json=body, headers=by("responder"))
    assert answer.json()["code"] == code


def test_breakers_are_listed_and_closed_in_every_gateway(control, world, by):
    opened(world)
    for gateway in ("t/one", "t/two"):
        opened(world, scope="upstream", subject="orders", gateway=gateway)
    found = control.get("/api/v1/breakers", headers=by("viewer")).json()["breakers"]
    assert [(one["name"], one["gateway"], one["state"]) for one in found] == [
        ("agent:shop-1", "", "open"),
        ("upstream:orders", "t/one", "open"),
        ("upstream:orders", "t/two", "open"),
    ]
    body = {"breaker": "upstream:orders", "reason": "it is back"}
    done = control.post("/api/v1/breakers/reset", json=body, headers=by("admin"))
    assert done.json() == {"breaker": "upstream:orders", "closed": 2, "state": "closed"}
    event = world.recorder.events[-1]
    assert (event.type, event.method, event.name) == (
        EventType.ADMIN,
        "breaker.close",
        "upstream:orders",
    )
    assert event.parameters == {"breaker": "upstream:orders", "reason": "it is back"}
    again = control.post("/api/v1/breakers/reset", json=body, headers=by("admin"))
    assert again.json()["code"] == "PC4012"
    wrong = control.post(
        "/api/v1/breakers/reset", json=body | {"breaker": "*"}, headers=by("admin")
    )
    assert wrong.json()["code"] == "PC1020"
