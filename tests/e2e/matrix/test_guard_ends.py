"""If these fail, a request to the guard API is left hanging, unanswered or unrecorded."""

import asyncio
import json
import random
import re
import secrets

import pytest

from e2e.matrix.cells import until
from e2e.matrix.deployment import MINDED, deployed, operator
from e2e.matrix.guarded import GuardRoute

pytestmark = pytest.mark.anyio
SPOILT = 200
SIGNS = b'{}[]",:\\\x00\xff\xc3019eE+-. \ntrufalsn'
VALUES = [None, True, -1, 2**70, 1e300, "", "\ud800", "x" * 9000, [], {}, [[[[]]]], {"": {"": 1}}]


@pytest.fixture(scope="module")
async def deployment(tmp_path_factory, anyio_backend):
    folder = tmp_path_factory.mktemp("guard")
    async with deployed(folder, approvals={"wait_seconds": 30}) as made:
        yield made


@pytest.fixture
def route(deployment):
    found = GuardRoute(deployment)
    found.before = {event.id for event in found.events()}
    return found


@pytest.fixture
async def minded(deployment):
    return (await deployment.open(MINDED))[1]


async def waiting(told):
    """The approval that a call waits for."""

    def asked():
        return [event for event in told() if event.method == "approval.requested"]

    await until(asked, 10)
    return asked()[-1].approval


async def test_a_held_call_waits_for_its_human_and_goes_on(route, minded, deployment, told):
    text = f"Write to {secrets.token_hex(6)}@shop.example"
    asking = asyncio.create_task(route.call("write", token=minded, text=text))
    approval = await waiting(told)
    assert not asking.done()
    await deployment.stage.gate.services.approvals("test").approve(operator(), approval, "yes")
    assert (await asking).text == text
    (decision,) = [e for e in told() if e.type == "tool_call" and e.approval == approval]
    assert decision.verdict == "allow"


async def test_who_leaves_while_a_human_thinks_has_asked_for_nothing_more(
    route, minded, deployment, told, recorded
):
    text = f"Write to {secrets.token_hex(6)}@shop.example"
    asking = asyncio.create_task(route.call("write", token=minded, text=text))
    approval = await waiting(told)
    asking.cancel()
    await asyncio.gather(asking, return_exceptions=True)
    await recorded("PC5014", route="guard")
    await deployment.stage.gate.services.approvals("test").approve(operator(), approval, "yes")
    await asyncio.sleep(0.5)  # a call that still waited would have gone on by now
    assert not [event for event in told() if event.type == "tool_call"]
    assert route.effects() == [] or text not in repr(route.effects())


async def test_spoilt_requests_are_all_refused_in_our_shape_and_all_on_record(route, told):
    dice = random.Random(20)
    async with route.client() as http:

        async def send(path, body):
            async with asyncio.timeout(20):
                headers = {"content-type": "application/json"}
                return await http.post(path, content=body, headers=headers)

        good = json.loads(route.body())
        asked = [await send("/v1/calls", json.dumps(good)) for _ in range(SPOILT // 4)]
        calls = [one.json()["call"] for one in asked]
        await until(lambda: set(calls) <= {event.id for event in told()}, 10)
        before = len(told())
        requests = [("/v1/calls", spoilt(dice, good)) for _ in range(SPOILT - len(calls))]
        result = {"result": {"a": ["b", 1]}, "is_error": False}
        requests += [(f"/v1/calls/{one}/result", spoilt(dice, result)) for one in calls]
        dice.shuffle(requests)
        answers = []
        for at in range(0, len(requests), 20):
            answers += await asyncio.gather(*(send(*one) for one in requests[at : at + 20]))
    refused = [one for one in answers if one.status_code != 200]
    assert len(refused) > SPOILT // 2
    for one in refused:
        problem = one.json()
        assert one.headers["content-type"] == "application/problem+json"
        assert 400 <= one.status_code < 500
        assert re.fullmatch(r"PC[1-5]\d{3}", problem["code"])
    await until(lambda: len(told()) >= before + SPOILT, 10)
    events = [event for event in told()[before:] if event.route == "guard"]
    ends = [event.decision for event in events if event.decision]
    assert sorted(ends) == sorted(calls)
    assert len(events) - len(ends) == SPOILT - len(calls)


def spoilt(dice: random.Random, good: dict) -> bytes:
    """A request in which something is otherwise, in its values or in its bytes."""
    value = json.loads(json.dumps(good))
    if dice.random() < 0.5:
        place = value
        while True:
            key = dice.choice(list(place) if isinstance(place, dict) else range(len(place)))
            deeper = isinstance(place[key], dict | list) and place[key]
            if not deeper or dice.random() < 0.4:
                break
            place = place[key]
        if isinstance(place, dict) and dice.random() < 0.4:
            place[f"shadow{dice.randrange(9)}"] = place.pop(key)
        else:
            place[key] = dice.choice(VALUES)
        return json.dumps(value).encode()
    body = bytearray(json.dumps(value).encode())
    for _ in range(dice.randint(1, 4)):
        at = dice.randrange(len(body))
        match dice.randrange(3):
            case 0:
                body[at] = dice.choice(SIGNS)
            case 1:
                body[at:at] = bytes([dice.choice(SIGNS)])
            case _:
                del body[at : at + dice.randint(1, 9)]
    return bytes(body)
