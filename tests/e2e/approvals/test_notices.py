"""If these fail, nobody outside the gate hears of a call that waits, or anybody decides it."""

import asyncio
import contextlib
import email
import email.policy
import json
import secrets
import subprocess
import sys
import time

import pytest
import yaml
from aiohttp import web
from prometheus_client import generate_latest
from typer.testing import CliRunner

import standins
from chatting import buttons, chat_server, mail_server
from databases import new_database
from e2e.approvals.desk import MAIL, furnished, policy
from portcullis.cli import doctor, notify
from portcullis.config import load
from portcullis.control.console.guard import own_url
from portcullis.core.approval import Approval, State, Verb
from portcullis.core.call import RiskClass
from portcullis.core.principal import PrincipalKind
from portcullis.store.approvals import SqlApprovals
from portcullis.store.notices import SqlNotices
from receivers import http_receiver, server_tls

pytestmark = pytest.mark.anyio

TICKET = {
    "customer_id": "C-1001",
    "subject": "A parcel that never came",
    "body": "Please write to quentin.sandoval@customer.example about it.",
}
USERS = {"UBEA": "bea", "UCY": "cy", "UVIC": "vic", "UGONE": "gone", "UEVE": "eve"}


@pytest.fixture(scope="module")
def anyio_backend():
    return "asyncio"


class House:
    """A gate that tells three channels; ``desk`` is what agents and operators do with it."""

    async def ticket(self, **other):
        """Ask for a ticket; the approval's id once it is held."""
        found = TICKET | {"subject": secrets.token_hex(8)} | other
        async with standins.mcp_client(self.desk.stage, "tickets", self.desk.token) as client:
            result = await client.call_tool("create", found)
        return (result.meta or {}).get("portcullis/approval", ""), found

    async def press(self, who, verb, approval, **odd):
        """Press a button as a user of the chat."""
        button = {"action_id": verb, "value": approval}
        control = self.desk.stage.gate.control_url
        return await self.chat.press(control, "chat", who, button, **odd)

    async def message(self, approval, text, seconds=20):
        """The chat's message about an approval, once it says ``text``."""
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            for one in self.chat.messages.values():
                if approval in json.dumps(one) and text in one["text"]:
                    return one
            await asyncio.sleep(0.02)
        raise AssertionError(list(self.chat.messages.values()))

    async def state(self, approval):
        """What an approval is."""
        _, found = await self.desk.ask("bea", "GET", f"/{approval}")
        return found["approval"]["state"]

    @property
    def mails(self):
        """The mails so far."""
        return [
            email.message_from_bytes(one.content, policy=email.policy.default)
            for one in self.mail.mails
        ]

    def got(self):
        """Every byte that went to a channel; of mails also what they say when they are decoded."""
        said = [*self.chat.seen, *(body for _, body in self.hook.taken)]
        for one, raw in zip(self.mails, self.mail.mails, strict=True):
            said += [raw.content, *(part.get_content().encode() for part in one.iter_parts())]
        return b"\n".join(said)


@pytest.fixture(scope="module")
async def house(tmp_path_factory, anyio_backend):
    folder = tmp_path_factory.mktemp("house")
    made = House()
    (folder / "tls").mkdir()
    context, authority = server_tls(folder / "tls")
    async with contextlib.AsyncExitStack() as stack:
        made.chat = await stack.enter_async_context(chat_server(context))
        made.mail = await stack.enter_async_context(mail_server(context))
        made.hook = await stack.enter_async_context(http_receiver(context))
        made.key = secrets.token_hex(16)
        kept = {
            "token": made.chat.token,
            "signing": made.chat.signing,
            "password": made.mail.password,
            "key": made.key,
        }
        kept_in(folder, **kept)
        trusted = {"ca": str(authority), "per_minute": 6000}
        channels = {
            "chat": trusted
            | {
                "kind": "slack",
                "api": made.chat.api,
                "token": "file:token",
                "channel": "C0123",
                "actions": {"signing_secret": "file:signing", "approvers": USERS},
            },
            "post": trusted
            | {
                "kind": "email",
                "server": made.mail.address,
                "user": made.mail.user,
                "password": "file:password",
                "from": "gate@shop.example",
                "to": ["ops@shop.example"],
            },
            "hook": trusted | {"kind": "webhook", "url": made.hook.url, "secrets": ["file:key"]},
        }
        settings = {"notifications": channels, "approvals": {"refusals": 1000}}
        stage = await stack.enter_async_context(
            standins.staged(folder, policy=policy(), settings=settings)
        )
        made.desk = await furnished(stage)
        await made.desk.operator("eve", "approver")
        yield made


async def test_a_held_call_is_told_on_every_channel_and_never_what_it_would_say(house):
    approval, arguments = await house.ticket()
    assert approval
    asked = await house.message(approval, "A call waits")
    assert await house.message(approval, "tickets.create")
    await until(lambda: house.hook.taken and house.mails)
    status, _ = await house.desk.decide("bea", approval, "approve")
    assert status == 200
    amended = await house.message(approval, "Approved")
    await until(lambda: len(house.mails) >= 2 and len(house.hook.taken) >= 2)
    assert asked is not amended
    assert house.mails[0]["Message-ID"] == house.mails[1]["References"]
    documents = [json.loads(body) for _, body in house.hook.taken]
    assert [one["type"] for one in documents] == ["approval.waiting", "approval.settled"]
    everything = house.got().decode()
    hidden = [*arguments.values(), *MAIL.values(), "quentin", "asked the customer", "O-5001"]
    for value in hidden:
        assert value not in everything, value
    for secret in (house.key, house.mail.password, house.chat.signing, house.desk.token):
        assert secret not in everything
    for shown in ("tickets", "create", "modify", approval, standins.AGENT, "EMAIL_ADDRESS"):
        assert shown in everything
    assert f"{own_url(house.desk.stage.gate.control_url)}/approvals/{approval}" in everything


async def test_a_button_decides_what_modifies_and_the_message_says_so(house):
    approval, arguments = await house.ticket()
    asked = await house.message(approval, "A call waits")
    (approve, deny) = buttons(asked)
    assert (approve["action_id"], deny["action_id"]) == ("approve", "deny")
    assert await house.press("UBEA", **of(approve)) == 200
    decided = await house.message(approval, "Approved")
    assert buttons(decided) == []
    again, _ = await house.ticket(**arguments)
    assert again == ""  # it ran
    (event,) = [
        one
        for one in house.desk.stage.events()
        if one.method == "approval.approved" and one.approval == approval
    ]
    assert (event.principal, event.route) == ("bea", "chat")
    assert event.parameters["reason"] == "by chat"


async def test_what_leaves_the_house_has_no_buttons_and_a_forged_press_does_not_decide_it(house):
    held = await house.desk.send()
    approval = held.meta["portcullis/approval"]
    asked = await house.message(approval, "A call waits")
    assert buttons(asked) == []
    for verb in ("approve", "deny"):
        assert await house.press("UBEA", verb, approval) == 403
    assert await house.state(approval) == "pending"
    await refusal(house, "PC8011")


async def test_only_who_the_channel_names_and_the_gate_trusts_decides_and_four_eyes_hold(house):
    approval, _ = await house.ticket()
    await house.message(approval, "A call waits")
    refusals = {
        "USTRANGE": 403,  # the channel names nobody
        "UGONE": 403,  # not registered
        "UVIC": 403,  # no approver
        "UCY": 403,  # the agent is his own
    }
    for who, status in refusals.items():
        assert await house.press(who, "approve", approval) == status, who
    await house.desk.stage.revoke(PrincipalKind.OPERATOR, "eve")
    assert await house.press("UEVE", "approve", approval) == 403
    assert await house.state(approval) == "pending"
    codes = {one.code for one in house.desk.stage.events() if one.method.endswith("{name}")}
    assert {"PC8012", "PC2007", "PC2004", "PC3046"} <= codes
    assert await house.press("UBEA", "deny", approval) == 200
    assert await house.state(approval) == "denied"
    assert await house.press("UBEA", "approve", approval) == 409


async def test_a_request_that_the_chat_did_not_sign_now_decides_nothing(house):
    approval, _ = await house.ticket()
    await house.message(approval, "A call waits")
    forged = [
        {"secret": "another"},
        *({"signature": one} for one in ("", "v0=" + "0" * 64, "v1=" + "0" * 64)),
        {"signature": "v0=" + "0" * 60 + "\u00e9" * 4},
        *({"at": one} for one in (0, "9" * 30, -1)),
        {"body": b"payload={}"},
        {"body": b"payload=%7B%22type%22%3A%22block_actions%22%7D&payload=x"},
        {"body": b"\xff\xfe"},
        {"body": b"x" * 300_000},
        {"body": b"payload=" + b"%5B" * 2000},
    ]
    for odd in forged:
        status = await house.press("UBEA", "approve", approval, **odd)
        assert status in {401, 413}, odd
    assert await house.state(approval) == "pending"
    await house.desk.decide("bea", approval, "deny")


async def test_a_request_is_good_once_and_for_five_minutes_and_for_its_channel(house):
    approval, _ = await house.ticket()
    await house.message(approval, "A call waits")
    now = int(time.time())
    for at in (now - 301, now + 302):
        assert await house.press("UBEA", "approve", approval, at=at) == 401
    assert await house.press("UBEA", "deny", approval, at=now) == 200
    assert await house.press("UBEA", "deny", approval, at=now) == 401
    control = house.desk.stage.gate.control_url
    button = {"action_id": "deny", "value": approval}
    for name in ("post", "none"):
        assert await house.chat.press(control, name, "UBEA", button) == 401  # as any other


async def test_a_slow_channel_holds_up_no_other_and_neither_agents_nor_decisions(house):
    house.mail.judge = lambda _: "451 later"
    house.hook.judge = lambda *_: web.Response(status=503, headers={"retry-after": "3600"})
    began = time.monotonic()
    approval, _ = await house.ticket()
    await house.message(approval, "A call waits")
    assert (await house.desk.decide("bea", approval, "deny"))[0] == 200
    await house.message(approval, "Denied")
    assert time.monotonic() - began < 20
    for name in ("post", "hook"):
        await until(lambda name=name: f'failing{{channel="{name}"}} 1.0' in figures(house))
        event = await standins.eventually(
            house.desk.stage,
            lambda one, name=name: (
                one.method == "notification.failing" and one.parameters["channel"] == name
            ),
        )
        assert event.parameters["fault"] in {
            "the mail was refused: 451",
            "the peer answered 503",
        }
    house.mail.judge = lambda _: None
    await until(lambda: 'failing{channel="post"} 0.0' in figures(house))
    assert 'failing{channel="chat"} 0.0' in figures(house)


def figures(house):
    return generate_latest(house.desk.stage.gate.registry).decode()


def of(button):
    """A button as ``House.press`` takes it."""
    return {"verb": button["action_id"], "approval": button["value"]}


async def until(wanted, seconds=60):
    end = time.monotonic() + seconds
    while not wanted():
        assert time.monotonic() < end
        await asyncio.sleep(0.02)


async def refusal(house, code):
    await standins.eventually(house.desk.stage, lambda one: one.code == code)


async def test_a_gate_that_is_killed_after_it_sent_tells_the_same_again_and_nothing_is_doubled(
    tmp_path,
):
    async with chat_server() as chat, http_receiver() as hook:
        kept_in(tmp_path, token=chat.token)
        channels = {
            "chat": {"kind": "slack", "api": chat.api, "token": "file:token", "channel": "C1"},
            "hook": {"kind": "webhook", "url": hook.url, "secrets": ["file:token"]},
        }
        place = configured(tmp_path, channels)
        asked, told = asked_by_another(tmp_path / "state")
        gate = started(place)

        def die(*_):
            """Once both channels follow the call: a peer has it, the gate never hears of that."""
            if len(told.list(9)) < 2:
                return web.Response(status=503)
            return gate.kill()

        chat.after = hook.judge = die
        try:
            await until(lambda: gate.poll() is not None, 40)
            assert chat.calls or hook.taken
            chat.after = hook.judge = lambda *_: None
            assert asked.move("a1", Verb.DENY, now=time.time(), by="local-me", reason="no")
            gate = started(place)
            await until(
                lambda: [one.told[0].stage for one in told.list(9) if one.told] == ["denied"] * 2,
                40,
            )
        finally:
            gate.kill()
            gate.wait()
        ((_, shown),) = chat.messages.items()
        assert shown["text"].startswith("Denied")
        bodies = {}
        for headers, body in hook.taken:
            bodies.setdefault(headers["webhook-id"], set()).add(body)
        assert [len(one) for one in bodies.values()] == [1] * len(bodies)
        assert CliRunner().invoke(notify.app, ["list", "-c", str(place)]).stdout == ""
        rows = CliRunner().invoke(notify.app, ["list", "--all", "-c", str(place)]).stdout
        assert rows.count("told   desk  post.send  1 approvals") == 2
        ran = CliRunner().invoke(notify.app, ["list", "--all", "--json", "-c", str(place)])
        listed = json.loads(ran.stdout)["notices"]
        assert {one["channel"] for one in listed} == {"chat", "hook"}
        assert [one["approvals"][0]["stage"] for one in listed] == ["denied"] * 2


def kept_in(folder, **secret):
    """Keep secrets in files that nobody else may read."""
    for name, value in secret.items():
        (folder / name).touch(mode=0o600)
        (folder / name).write_text(value)


def configured(folder, channels):
    """A configuration without upstreams, on free ports."""
    free = "127.0.0.1:0"
    (folder / "policy").mkdir()
    (folder / "policy/main.yaml").write_text("version: 1\n")
    config = {
        "trust_domain": "example.org",
        "state": "state",
        "listen": {"gate": free, "control": free, "mtls": None, "workload": None},
        "notifications": channels,
    }
    place = folder / "portcullis.yaml"
    place.write_text(yaml.safe_dump(config))
    return place


def asked_by_another(state):
    """An approval that another process asked for; where it lies, and where notices do."""
    state.mkdir(mode=0o700)
    engine = new_database(state / "portcullis.db")
    store = SqlApprovals(engine)
    now = time.time()
    one = Approval(
        id="a1",
        state=State.PENDING,
        binding="b",
        agent="desk",
        session="",
        action="tool",
        server="post",
        name="send",
        risk=RiskClass.EXTERNAL,
        created_at=now,
        expires_at=now + 3600,
    )
    store.claim(one, b"x", most=9, now=now)
    return store, SqlNotices(engine)


def started(place):
    """A gate in a process of its own."""
    command = [sys.executable, "-c", "from portcullis.cli import main; main()", "up", "-c"]
    with place.with_name("gate.output").open("ab") as said:
        return subprocess.Popen([*command, str(place)], stdout=said, stderr=said)


async def test_the_command_line_tests_a_channel_and_says_what_is_wrong(tmp_path, monkeypatch):
    context, authority = server_tls(tmp_path)
    async with http_receiver(context) as hook:
        secret = {"secrets": ["env:HOOK_KEY"], "ca": str(authority)}
        away = {"kind": "email", "server": "127.0.0.1:1", "tls": "none"}
        place = configured(
            tmp_path,
            {
                "hook": {"kind": "webhook", "url": hook.url, **secret},
                "away": away | {"from": "gate@shop.example", "to": ["ops@shop.example"]},
            },
        )

        async def ran(*words):
            command = [*words, "-c", str(place)]
            return await asyncio.to_thread(CliRunner().invoke, notify.app, command)

        for name, code, said in (
            ("hook", "PC8001", "HOOK_KEY"),
            ("away", "PC8001", "refused"),
            ("nobody", "PC8002", "no channel"),
        ):
            problem = (await ran("test", name)).exception
            assert (problem.code, said in problem.detail) == (code, True)
        found = {one.what: one for one in doctor._deployment(load(place))}
        assert found["channel hook"].ok
        assert not found["channel away"].ok
        assert not found["secret of notifications.hook"].ok
        monkeypatch.setenv("HOOK_KEY", secrets.token_hex(16))
        good = await ran("test", "hook", "--json")
        assert json.loads(good.stdout) == {"channel": "hook", "state": "told"}
        assert json.loads((await ran("list", "--json")).stdout) == {"notices": []}
    ((_, body),) = hook.taken
    assert json.loads(body)["type"] == "test"
