"""The way out of a box is the gate's proxy. If these fail, an agent fetches all or nothing."""

import json
import socket

import pytest

from e2e.egress.rules import FRONT, PLAIN, READ, SECRET
from e2e.egress.stage import staged_egress
from e2e.run.house import House
from needs import needs_boxes
from portcullis.core.principal import PrincipalKind

pytestmark = [pytest.mark.anyio, needs_boxes]


@pytest.fixture(scope="module")
async def egress(tmp_path_factory, anyio_backend):
    async with staged_egress(tmp_path_factory.mktemp("egress")) as made:
        yield made


async def test_a_program_goes_out_by_its_proxy_to_what_policy_allows(egress, tmp_path):
    house = House(egress.stage, tmp_path)
    house.put("outward.py")
    urls = [
        egress.url(PLAIN),
        egress.url(READ),
        egress.url(READ, "/private/"),
        egress.url(FRONT),
        "http://127.0.0.1:1/",
    ]
    ran = await house.run("coder", "--", "python3", "outward.py", *urls)
    assert ran.code == 0, ran.err
    plain, read, private, front, direct = json.loads(ran.out)
    assert (plain, read, private) == ("hello", "hello", "403")
    assert "403" in front
    assert "refused" in direct
    assert [host for host, *_ in egress.hosts.seen] == [
        f"{PLAIN}:{egress.plain}",
        f"{READ}:{egress.tls}",
    ]
    refused = [event.code for event in house.events("coder") if event.code]
    assert len(refused) == 2
    assert all(code.startswith("PC30") for code in refused)
    assert SECRET not in ran.out + ran.err


async def test_what_goes_out_in_a_session_is_on_record_in_it(egress, tmp_path):
    house = House(egress.stage, tmp_path)
    house.put("outward.py")
    application = await house.stage.register(PrincipalKind.APPLICATION, "desk-1")
    session, token = await house.stage.open_session(application, "coder", subject={})
    words = ("--session-token", "env:SESSION", "--", "python3", "outward.py", egress.url(PLAIN))
    ran = await house.run("coder", *words, env={"SESSION": token})
    assert json.loads(ran.out) == ["hello"], ran.err
    assert house.events("coder")[-1].session == session


async def test_names_resolve_that_policy_allows_and_no_other(egress, tmp_path):
    house = House(egress.stage, tmp_path)
    house.put("names.py")
    before = len(house.events("coder"))
    ran = await house.run("coder", "--", "python3", "names.py", PLAIN, FRONT)
    assert ran.code == 0, ran.err
    found = json.loads(ran.out)
    assert found["python"] == [["127.0.0.1"], socket.EAI_NONAME]
    assert found["tcp"] == [[1, 0], [0, 3]]
    assert found["node"] in (None, [["127.0.0.1"], "ENOTFOUND"])
    asked = [event for event in house.events("coder")[before:] if event.method == "DNS"]
    refused = {event.code[:4] for event in asked if event.name.startswith(FRONT)}
    assert refused == {"PC30"}
    assert any(event.name.startswith(PLAIN) and not event.code for event in asked)
