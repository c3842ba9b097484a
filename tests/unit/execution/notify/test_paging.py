"""If these fail, nobody is paged, somebody is for ever, or an agent writes lines of its own."""

import asyncio
import contextlib
import json
import socket
import ssl
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from aiohttp import web

from paging import datagrams, pager, parsed, stream
from portcullis.audit.export.stream import SyslogTarget
from portcullis.core.errors import Problem
from portcullis.core.notice import About, Message, Subject
from portcullis.core.notice_ports import Later, Never
from portcullis.execution.notify.pagerduty import PagerDutyTeller
from portcullis.execution.notify.syslog import SocketTeller, SyslogTeller
from portcullis.execution.notify.web import Web
from portcullis.oversight.notice_pagerduty import BODY, SUMMARY, event
from portcullis.oversight.notice_syslog import LONGEST, line
from receivers import server_tls, syslog_receiver

pytestmark = pytest.mark.anyio
ORIGIN = "https://console.example"
EVIL = 'x"\r\n<13>1 - - - - - - forged \ufeff\u2028\u202e\x00 <!channel> alert="none" é\\'


@pytest.fixture
def anyio_backend():
    return "asyncio"


def alert(stage="open", turn=1, **said):
    about = {
        "rule": "cut-off",
        "title": "Somebody was cut off",
        "level": "high",
        "at": 1.8e9,
        "group": (("name", "agent:shop-1"),),
        "advice": "Look",
    }
    return Message(
        id=f"n1-{turn}",
        thread="n1",
        turn=turn,
        agent="",
        subjects=(Subject(id="a1", stage=stage, count=3),),
        at=1.8e9,
        origin=ORIGIN,
        alert=About(**about | said),
    )


def call(*stages, **said):
    given = {
        "id": "n2-1",
        "thread": "n2",
        "turn": 1,
        "agent": "shop-1",
        "action": "tool",
        "server": "mail",
        "name": "send",
        "risk": "external",
        "why": "without a source: recipient",
        "subjects": tuple(
            Subject(id=f"p{number}", stage=stage, expires_at=1.9e9)
            for number, stage in enumerate(stages)
        ),
        "at": 1.8e9,
        "origin": ORIGIN,
    }
    return Message(**given | said)


def teller(to, key=None, seconds=5.0, tls=None):
    return PagerDutyTeller(to.url, Web(tls, seconds), lambda: key or to.key, "shop.example")


async def test_an_alert_is_one_there_from_its_trigger_to_its_end_over_tls(tmp_path):
    context, authority = server_tls(tmp_path)
    async with pager(context) as there:
        one = teller(there, tls=ssl.create_default_context(cafile=authority))
        for stage, is_ in (
            ("open", "triggered"),
            ("escalated", "triggered"),
            ("acknowledged", "acknowledged"),
        ):
            assert await one.tell(alert(stage), "") == "n1"
            assert list(there.alerts.values()) == [is_], stage
        await one.tell(alert("open"), "n1")  # sent again, because nobody knew whether it arrived
        assert len(there.alerts) == 1
        await one.tell(alert("resolved"), "n1")
        assert there.alerts == {}
        await one.close()
        untrusted = teller(there)
        with pytest.raises(Later, match="certificate"):
            await untrusted.tell(alert(), "")
        await untrusted.close()
    payload = there.events[0]["payload"]
    assert payload["summary"] == "High: Somebody was cut off (name agent:shop-1)"
    assert (payload["severity"], payload["class"]) == ("error", "cut-off")
    assert payload["source"] == "shop.example"
    assert payload["custom_details"]["More"] == "portcullis alert show a1"


async def test_calls_that_wait_agents_that_may_not_ask_and_tests_are_told_too():
    async with pager() as there:
        one = teller(there)
        await one.tell(call("requested", "requested"), "")
        await one.tell(call("approved", "escalated"), "n2")
        assert list(there.alerts.values()) == ["triggered"]
        await one.tell(call("approved", "denied"), "n2")
        frozen = call("frozen", action="", thread="n3")
        await one.tell(frozen, "")
        assert list(there.alerts) == ["portcullis-n3"]
        await one.tell(call("lifted", action="", thread="n3"), "n3")
        await one.tell(call("test", action="", agent="", thread="n4"), "")
        assert there.alerts == {}
        assert there.events[-2]["payload"]["severity"] == "info"
        await one.close()


@pytest.mark.parametrize(
    ("level", "severity", "number"),
    [
        ("critical", "critical", "2"),
        ("high", "error", "3"),
        ("medium", "warning", "4"),
        ("low", "info", "5"),
        ("informational", "info", "6"),
    ],
)
def test_every_level_is_as_grave_there_as_here(level, severity, number):
    told = json.loads(event(alert(level=level), "k", "s"))
    assert told["payload"]["severity"] == severity
    assert parsed(line(alert(level=level), "host"))["severity"] == number


async def test_what_is_too_long_is_cut_and_what_a_caller_chose_does_nothing():
    async with pager() as there:
        one = teller(there)
        title = EVIL * 200
        await one.tell(alert(title=title, advice="é" * BODY, rule="r" * BODY), "")
        await one.tell(alert(group=tuple((f"p{n}", "v" * 200) for n in range(4000))), "")
        await one.close()
    first, second = (one["payload"] for one in there.events)
    assert first["summary"].isprintable()
    assert len(second["summary"]) == SUMMARY
    assert "custom_details" not in second


@pytest.mark.parametrize(
    ("answer", "raised", "after"),
    [
        (web.Response(status=429, headers={"retry-after": "70"}), Later, 70.0),
        (web.Response(status=500), Later, 0.0),
        (web.Response(status=302, headers={"location": "/"}), Later, 0.0),
        (web.Response(status=200, text="hello"), Later, 0.0),
        (web.json_response({"status": "odd"}, status=202), Later, 0.0),
        (web.json_response({"errors": ["'payload.summary' is blank"]}, status=400), Never, None),
        (web.Response(status=400, text="no JSON"), Never, None),
    ],
    ids=["429", "500", "302", "200", "odd", "400", "400-text"],
)
async def test_every_answer_is_taken_for_what_it_is(answer, raised, after):
    async with pager() as there:
        there.judge = lambda: answer
        one = teller(there)
        with pytest.raises(raised) as found:
            await one.tell(alert(), "")
        await one.close()
    assert getattr(found.value, "after", None) == after
    assert there.key not in str(found.value)
    assert there.url not in str(found.value)


@pytest.mark.parametrize("key", ["short", "0" * 32], ids=["short", "other"])
async def test_a_key_that_is_wrong_is_tried_again_until_it_is_right(key):
    async with pager() as there:
        one = teller(there, key)
        with pytest.raises(Later, match="routing key") as found:
            await one.tell(alert(), "")
        assert not found.value.arrived
        await one.close()

        def missing():
            raise Problem("PC7005", "there is no such secret")

        none = PagerDutyTeller(there.url, Web(None), missing, "s")
        with pytest.raises(Later, match="no such secret"):
            await none.tell(alert(), "")
        assert there.events == []


async def test_syslog_over_tls_and_tcp_counts_octets_and_every_line_is_one(tmp_path):
    context, authority = server_tls(tmp_path)
    evil = alert(group=(("name", EVIL),))
    for server, client in (
        (context, ssl.create_default_context(cafile=authority)),
        (None, None),
    ):
        async with syslog_receiver(server) as receiver:
            one = SyslogTeller(SyslogTarget("127.0.0.1", receiver.port, tls=client), "gate 1")
            assert await one.tell(alert(), "") == "n1"
            await one.tell(evil, "")
            await one.close()
        told, odd = map(parsed, receiver.messages)
        assert (told["app"], told["kind"], told["host"]) == ("portcullis", "alert.open", "gate1")
        assert told["text"].startswith("High: Somebody was cut off (name agent:shop-1) alert=")
        assert 'about.name="agent:shop-1"' in told["text"]
        assert 'about.name="x\\"\\\\r\\\\n(13)1 - - -' in odd["text"]
        assert "\\\\ufeff" in odd["text"]


async def test_syslog_to_a_socket_of_this_machine_of_either_kind(tmp_path):
    one = SocketTeller(tmp_path / "log", "host", seconds=2.0)
    with pytest.raises(Later, match="not reached") as found:
        await one.tell(alert(), "")
    assert str(tmp_path) not in str(found.value)
    async with datagrams(tmp_path / "log") as got:
        await one.tell(alert("resolved"), "")
        await one.tell(call("requested"), "")
    (tmp_path / "log").unlink()
    async with stream(tmp_path / "log") as more:
        await one.tell(alert(), "")
        await one.tell(call("test", action="", agent=""), "")
        await one.close()
    kinds = [parsed(each)["kind"] for each in (*got, *more)]
    assert kinds == ["alert.resolved", "approval.waiting", "alert.open", "test"]


async def test_names_that_do_not_resolve_keep_no_kill_and_no_other_channel_waiting(monkeypatch):
    ends = threading.Event()
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_: ends.wait(10) and [])
    loop = asyncio.get_running_loop()
    loop.set_default_executor(ThreadPoolExecutor(1))  # everybody's threads
    target = SyslogTarget("logs.example", 6514, tls=None)
    hook = PagerDutyTeller("https://pager.example/v2", Web(None, 0.2), lambda: "k", "gate")
    tellers = [hook, SyslogTeller(target, "gate", 0.2)]
    telling = [asyncio.create_task(one.tell(alert(), "")) for one in tellers]
    await asyncio.sleep(0)
    assert await asyncio.wait_for(asyncio.to_thread(lambda: "killed"), 5) == "killed"
    said = await asyncio.gather(*telling, return_exceptions=True)
    assert [str(one) for one in said] == ["no answer in time"] * 2
    ends.set()
    await hook.close()


async def test_a_socket_that_takes_nothing_holds_nobody_up_for_long(tmp_path):
    with contextlib.closing(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)) as made:
        made.bind(str(tmp_path / "log"))
        made.listen(1)
        one = SocketTeller(tmp_path / "log", "host", seconds=0.2)
        with pytest.raises(Later, match="no answer in time") as found:
            await one.tell(alert(), "")
        assert found.value.arrived


def test_a_line_has_its_bound_and_ends_with_a_whole_character():
    long = line(alert(group=tuple((f"p{n}", "é" * 190) for n in range(100))), "h" * 999)
    assert LONGEST - 4 < len(long) <= LONGEST
    assert len(parsed(long)["host"]) == 255
