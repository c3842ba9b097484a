import asyncio

import pytest
from starlette.testclient import TestClient

from portcullis.control import catalogue_api
from portcullis.core.inspection_ports import Pin, Sighting

SEEN = "b" * 64
PINNED = "a" * 64


@pytest.fixture
def plane(world):
    """A control plane with the catalogue; ``ada`` is an admin, ``vic`` a viewer."""
    world.register("operator", "ada", ["admin"])
    world.register("operator", "rob", ["responder"])
    world.register("operator", "vic", ["viewer"])
    world.changes = []

    async def changed():
        world.changes.append(world.services.pins.version())

    edge = world.services.edge("control")
    api = edge.app("test", "1")
    for router in catalogue_api.routers(edge, world.services.catalogue("control", changed)):
        api.include_router(router)
    pins = world.services.pins
    pins.add([pin("read"), pin("write")])
    pins.saw([seen("read"), seen("new", reasons=("override",))])
    with TestClient(api, raise_server_exceptions=False) as client:
        yield client


def pin(tool, digest=PINNED, **more):
    values = {"server": "crm", "definition": '{"name":"pinned"}', "pinned_at": 1.5}
    return Pin(tool=tool, digest=digest, **(values | more))


def seen(tool, digest=SEEN, **more):
    values = {"server": "crm", "definition": '{"name":"seen"}', "seen_at": 2.5}
    return Sighting(tool=tool, digest=digest, **(values | more))


def role(world, name):
    return world.bearer(
        "operator", name, roles=({"ada": "admin", "vic": "viewer"}.get(name, name),)
    )


def asked(tool="read", digest=SEEN):
    return {"server": "crm", "tool": tool, "digest": digest}


def test_a_viewer_sees_each_tool_with_its_state_and_no_definition(world, plane):
    answer = plane.get("/api/v1/catalogue", headers=role(world, "vic"))
    tools = {tool["tool"]: tool for tool in answer.json()["tools"]}
    assert {name: tool["state"] for name, tool in tools.items()} == {
        "new": "suspect",
        "read": "changed",
        "write": "pinned",
    }
    assert tools["new"]["seen"] == {"digest": SEEN, "seen_at": 2.5, "reasons": ["override"]}
    assert (tools["read"]["digest"], tools["read"]["pinned_at"]) == (PINNED, 1.5)
    assert "definition" not in answer.text


def test_a_viewer_sees_the_definitions_of_one_tool(world, plane):
    def shown(**query):
        return plane.get("/api/v1/catalogue/tool", params=query, headers=role(world, "vic"))

    found = shown(server="crm", tool="read").json()
    assert (found["pinned_definition"], found["seen_definition"]) == (
        '{"name":"pinned"}',
        '{"name":"seen"}',
    )
    assert shown(server="crm", tool="new").json()["pinned_definition"] == ""
    assert shown(server="crm", tool="other").json()["code"] == "PC7017"
    assert shown(server="crm").json()["code"] == "PC1020"
    assert shown(server="CRM!", tool="read").json()["code"] == "PC1020"


def test_an_administrator_approves_what_was_seen_and_that_is_recorded_before(world, plane):
    before = []
    world.recorder.watch = lambda event: before.append(world.services.pins.all())
    answer = plane.post("/api/v1/catalogue/pin", json=asked(), headers=role(world, "ada"))
    assert answer.status_code == 200, answer.text
    assert (answer.json()["state"], answer.json()["approved_by"]) == ("pinned", "ada")
    event = world.recorder.last
    assert (event.type, event.method, event.principal) == ("admin", "catalogue.pin", "ada")
    assert event.parameters == asked()
    assert before[0][0].digest == PINNED
    kept = {pin.tool: pin for pin in world.services.pins.all()}
    assert (kept["read"].digest, kept["read"].definition) == (SEEN, '{"name":"seen"}')
    assert world.changes == [world.services.pins.version()]
    suspect = plane.post("/api/v1/catalogue/pin", json=asked("new"), headers=role(world, "ada"))
    assert suspect.json()["state"] == "pinned"


def test_what_a_server_wrote_into_a_tools_name_does_not_get_into_the_log(world, plane):
    name = "to ada@example.com"
    world.services.pins.saw([seen(name)])
    answer = plane.post("/api/v1/catalogue/pin", json=asked(name), headers=role(world, "ada"))
    assert answer.json()["state"] == "pinned"
    event = world.recorder.last
    assert (event.name, event.parameters) == ("crm.?", asked("?"))


def test_what_is_approved_is_what_was_shown_and_no_other(world, plane):
    asyncio.run(asyncio.to_thread(world.services.pins.saw, [seen("read", "c" * 64)]))
    before = world.services.pins.all()
    for body, code in (
        (asked(), "PC7016"),
        (asked(digest="d" * 64), "PC7016"),
        (asked("other"), "PC7017"),
        (asked(digest="b"), "PC1020"),
        (asked() | {"force": True}, "PC1021"),
    ):
        answer = plane.post("/api/v1/catalogue/pin", json=body, headers=role(world, "ada"))
        assert answer.json()["code"] == code
        assert world.recorder.last.code == code
    assert world.services.pins.all() == before


def test_only_administrators_approve(world, plane):
    for headers, status in ((role(world, "vic"), 403), (role(world, "rob"), 403), ({}, 401)):
        answer = plane.post("/api/v1/catalogue/pin", json=asked(), headers=headers)
        assert answer.status_code == status
        assert world.recorder.last.verdict == "deny"
    assert {pin.digest for pin in world.services.pins.all()} == {PINNED}


def test_without_a_record_nothing_is_approved(world, plane):
    world.recorder.full = True
    answer = plane.post("/api/v1/catalogue/pin", json=asked(), headers=role(world, "ada"))
    assert answer.json()["code"] == "PC6001"
    assert {pin.digest for pin in world.services.pins.all()} == {PINNED}
