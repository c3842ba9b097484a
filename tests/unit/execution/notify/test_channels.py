"""If these fail, a message is lost, doubled, forged, read on the way, or an agent writes it."""

import asyncio
import base64
import contextlib
import email
import email.policy
import hashlib
import hmac
import json
import secrets
import ssl
import threading
import time

import pytest
from aiohttp import web

from chatting import chat_server, judged, mail_server
from portcullis.core.errors import Problem
from portcullis.core.notice import Message, Subject
from portcullis.core.notice_ports import Later, Never
from portcullis.execution.notify.mail import MailTeller
from portcullis.execution.notify.slack import AppTeller, IncomingTeller
from portcullis.execution.notify.web import Web
from portcullis.execution.notify.webhook import WebhookTeller
from portcullis.oversight.notice_mail import mail
from portcullis.oversight.notice_slack import post
from portcullis.oversight.notice_text import plain
from portcullis.oversight.notice_webhook import body
from ports import free_port
from receivers import http_receiver, server_tls

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.filterwarnings("ignore:Requiring AUTH:UserWarning"),  # TLS from the first byte
]
ORIGIN = "https://console.example"
EVIL = (
    "x\r\nBcc: all@evil.example\r\n\r\n<!channel> <https://evil.example|ok> @here \u202egnp.exe `*"
)


class Clock:
    time = 1_800_000_000.0

    def now(self):
        return self.time

    def monotonic(self):
        return self.time


def message(*subjects, turn=1, **said):
    given = {
        "id": f"n1-{turn}",
        "thread": "n1",
        "turn": turn,
        "agent": "shop-1",
        "action": "tool",
        "server": "mail",
        "name": "send",
        "risk": "modify",
        "why": "without a source: recipient",
        "subjects": subjects or (Subject(id="a1", stage="requested", expires_at=1.9e9),),
        "at": 1.8e9,
        "origin": ORIGIN,
    }
    return Message(**(given | said))


def verified(headers, content, *keys):
    """What standardwebhooks.com asks of a receiver, written from its text; the keys that signed."""
    at, sent = headers["webhook-timestamp"], headers["webhook-id"]
    assert at.isdecimal()
    assert "." not in sent
    content = f"{sent}.{at}.".encode() + content
    given = [one.split(",", 1) for one in headers["webhook-signature"].split(" ")]
    assert all(version == "v1" for version, _ in given)
    macs = {key: hmac.new(key, content, hashlib.sha256).digest() for key in keys}
    return [
        key for key in keys if base64.b64encode(macs[key]).decode() in dict(map(reversed, given))
    ]


async def test_a_webhook_is_signed_under_every_key_and_has_the_same_id_when_it_is_sent_again():
    key = secrets.token_bytes(24)
    old = secrets.token_hex(16)
    ours = ["whsec_" + base64.b64encode(key).decode(), old]
    async with http_receiver() as receiver:
        clock = Clock()
        teller = WebhookTeller(receiver.url, Web(None), lambda: ours, clock)
        assert await teller.tell(message(), "") == "n1"
        clock.time += 100
        await teller.tell(message(), "n1")
        await teller.close()
    (first, said), (again, said_again) = receiver.taken
    assert said == said_again
    assert first["webhook-id"] == again["webhook-id"] == "n1-1"
    for headers in (first, again):
        assert verified(headers, said, key, old.encode(), b"other") == [key, old.encode()]
    document = json.loads(said)
    assert set(document) == {"type", "timestamp", "data"}
    assert document["type"] == "approval.waiting"
    assert document["data"]["approvals"][0]["url"] == f"{ORIGIN}/approvals/a1"


@pytest.mark.parametrize(
    ("status", "headers", "raised", "after", "arrived"),
    [
        (429, {"retry-after": "17"}, Later, 17.0, False),
        (429, {"retry-after": "Fri, 01 Jan 2027"}, Later, 0.0, False),
        (500, {}, Later, 0.0, True),
        (503, {"retry-after": "3"}, Later, 3.0, True),
        (401, {}, Later, 0.0, False),
        (404, {}, Later, 0.0, False),
        (400, {}, Never, None, None),
        (413, {}, Never, None, None),
    ],
)
async def test_every_refusal_is_taken_for_what_it_is(status, headers, raised, after, arrived):
    async with http_receiver() as receiver:
        receiver.judge = lambda *_: web.Response(status=status, headers=headers)
        teller = WebhookTeller(receiver.url, Web(None), lambda: ["k"], Clock())
        with pytest.raises(raised) as found:
            await teller.tell(message(), "")
        await teller.close()
    if raised is Later:
        assert (found.value.after, found.value.arrived) == (after, arrived)
    assert receiver.url not in str(found.value)


async def test_a_redirect_is_not_followed_so_that_no_other_address_gets_it():
    async with http_receiver() as elsewhere, http_receiver() as receiver:
        receiver.judge = lambda *_: web.Response(status=307, headers={"location": elsewhere.url})
        teller = WebhookTeller(receiver.url, Web(None), lambda: ["k"], Clock())
        with pytest.raises(Later, match="307"):
            await teller.tell(message(), "")
        await teller.close()
    assert elsewhere.taken == []


@contextlib.asynccontextmanager
async def odd(answer):
    """A server that reads a request and then writes ``answer``, and nothing else for long."""

    async def serve(reader, writer):
        await reader.read(10)
        writer.write(answer)
        with contextlib.suppress(ConnectionError):
            await writer.drain()
            if answer.endswith(b"cut"):
                writer.close()
            await asyncio.sleep(5)

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    yield server.sockets[0].getsockname()[1]
    server.close()


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"garbage\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: 99\r\n\r\ncut",
        b"HTTP/1.1 200 OK\r\ncontent-length: 99\r\n\r\nhalf",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n" + b"ffff\r\n" + b"x" * 65535,
        b"220 mail.example\r\ncut",
    ],
    ids=["silent", "garbage", "cut", "half", "long", "other"],
)
async def test_a_peer_that_hangs_or_talks_garbage_costs_bounded_time_and_may_have_got_it(answer):
    async with odd(answer) as port:
        web_ = Web(None, seconds=0.3)
        teller = WebhookTeller(f"http://127.0.0.1:{port}/", web_, lambda: ["k"], Clock())
        with pytest.raises(Later) as found:
            await teller.tell(message(), "")
        assert found.value.arrived
        await teller.close()


async def test_an_address_where_nobody_listens_certainly_got_nothing():
    port = free_port()
    teller = WebhookTeller(f"http://127.0.0.1:{port}/", Web(None), lambda: ["k"], Clock())
    with pytest.raises(Later) as found:
        await teller.tell(message(), "")
    assert not found.value.arrived
    assert str(port) not in str(found.value)
    await teller.close()


async def test_a_certificate_of_nobody_we_trust_gets_nothing(tmp_path):
    context, authority = server_tls(tmp_path)
    async with http_receiver(context) as receiver:
        for trusted in (None, ssl.create_default_context(cafile=authority)):
            teller = WebhookTeller(receiver.url, Web(trusted), lambda: ["k"], Clock())
            if trusted is None:
                with pytest.raises(Later, match="certificate"):
                    await teller.tell(message(), "")
            else:
                await teller.tell(message(), "")
            await teller.close()
    assert len(receiver.taken) == 1


async def test_a_secret_that_is_missing_delays_and_is_not_said():
    def missing():
        raise Problem("PC5007", "the environment variable HOOK is not set")

    teller = WebhookTeller("http://127.0.0.1:9/", Web(None), missing, Clock())
    with pytest.raises(Later, match="HOOK"):
        await teller.tell(message(), "")


async def test_in_the_chat_a_message_is_amended_and_one_that_is_gone_is_posted_anew():
    async with chat_server() as chat:
        teller = AppTeller(chat.api, "C0123", lambda: chat.token, Web(None), buttons=True)
        reference = await teller.tell(message(), "")
        settled = Subject(id="a1", stage="approved")
        assert await teller.tell(message(settled, turn=2), reference) == reference
        ((_, shown),) = chat.messages.items()
        assert "Approved" in shown["text"]
        chat.messages.clear()
        anew = await teller.tell(message(settled, turn=3), reference)
        assert chat.calls[-2:] == ["chat.update", "chat.postMessage"]
        assert list(chat.messages) == [anew.partition("/")[2]]
        await teller.close()


@pytest.mark.parametrize("gone", ["channel_not_found", "is_archived", "cant_update_message"])
async def test_what_cannot_be_amended_where_it_was_is_posted_where_the_channel_is_now(gone):
    async with chat_server() as chat:
        teller = AppTeller(chat.api, "C0123", lambda: chat.token, Web(None), buttons=False)
        refusal = {"ok": False, "error": gone}
        chat.judge = lambda method: web.json_response(refusal) if method[5:] == "update" else None
        await teller.tell(message(turn=2), "C9/1.2")
        assert chat.calls == ["chat.update", "chat.postMessage"]
        await teller.close()


async def test_a_success_that_says_too_much_is_a_success_and_is_not_read_to_its_end():
    async with http_receiver() as receiver:
        receiver.judge = lambda *_: web.Response(body=b"x" * 2**20)
        found = await Web(None).post(receiver.url, b"{}", {})
        teller = WebhookTeller(receiver.url, Web(None), lambda: ["k"], Clock())
        assert await teller.tell(message(), "") == "n1"
        await teller.close()
    assert len(found.body) < 2**18


async def test_a_post_whose_answer_was_lost_is_not_doubled():
    async with chat_server() as chat:
        teller = AppTeller(chat.api, "C0123", lambda: chat.token, Web(None), buttons=False)
        chat.after = lambda _: web.Response(status=502)
        with pytest.raises(Later) as found:
            await teller.tell(message(), "")
        assert found.value.arrived
        chat.after = lambda _: None
        reference = await teller.tell(message(), "")
        assert list(chat.messages) == [reference.partition("/")[2]]
        await teller.close()


@pytest.mark.parametrize(
    ("error", "raised"),
    [
        ("ratelimited", Later),
        ("channel_not_found", Later),
        ("invalid_auth", Later),
        ("invalid_blocks", Never),
        ("msg_too_long", Never),
    ],
)
async def test_what_the_chat_says_is_wrong_is_taken_for_what_it_is(error, raised):
    async with chat_server() as chat:
        chat.judge = lambda _: web.json_response({"ok": False, "error": error})
        teller = AppTeller(chat.api, "C0123", lambda: chat.token, Web(None), buttons=False)
        with pytest.raises(raised, match=error):
            await teller.tell(message(), "")
        chat.judge = lambda _: web.Response(text="<html>login</html>")
        with pytest.raises(Later, match="not the API's"):
            await teller.tell(message(), "")
        await teller.close()


async def test_an_incoming_webhook_gets_each_telling_and_its_url_is_never_said(monkeypatch):
    async with chat_server() as chat:
        teller = IncomingTeller(lambda: chat.incoming, Web(None))
        await teller.tell(message(), "")
        await teller.tell(message(Subject(id="a1", stage="denied"), turn=2), "n1")
        assert [one["text"].partition(":")[0] for one in chat.messages.values()] == [
            "A call waits for approval",
            "Denied",
        ]
        chat.judge = lambda _: web.Response(status=404)
        with pytest.raises(Later) as found:
            await teller.tell(message(), "")
        assert chat.path not in str(found.value)
        await teller.close()
    plain_http = IncomingTeller(lambda: "http://chat.example/services/x", Web(None))
    with pytest.raises(Later, match="not https"):
        await plain_http.tell(message(), "")


@pytest.mark.parametrize("implicit", [False, True], ids=["starttls", "tls"])
async def test_mail_is_encrypted_authenticated_and_one_thread(tmp_path, implicit):
    context, authority = server_tls(tmp_path)
    trusted = ssl.create_default_context(cafile=authority)
    async with mail_server(context, implicit=implicit) as server:
        teller = MailTeller(
            server.address,
            tls=trusted,
            starttls=not implicit,
            login=lambda: (server.user, server.password),
            sender="gate@shop.example",
            to=("ops@shop.example", "bea@shop.example"),
            domain="shop.example",
        )
        reference = await teller.tell(message(), "")
        await teller.tell(message(Subject(id="a1", stage="approved"), turn=2), reference)
        await teller.close()
    assert [one.rcpt_tos for one in server.mails] == [["ops@shop.example", "bea@shop.example"]] * 2
    assert server.encrypted == [True, True] or implicit
    first, second = (
        email.message_from_bytes(one.content, policy=email.policy.default) for one in server.mails
    )
    assert first["Message-ID"] == reference == "<n1.1@shop.example>"
    assert second["References"] == second["In-Reply-To"] == reference
    assert second["Subject"] == f"Re: {first['Subject']}"
    assert "without a source: recipient" in first.get_body(("plain",)).get_content()
    assert f"{ORIGIN}/approvals/a1" in first.get_body(("html",)).get_content()


def mailing(server, **said):
    given = {
        "tls": None,
        "starttls": False,
        "login": lambda: None,
        "sender": "gate@shop.example",
        "to": ("ops@shop.example",),
        "domain": "shop.example",
        "seconds": 2,
    }
    return MailTeller(server, **(given | said))


async def test_no_mail_and_no_password_goes_to_a_server_without_the_encryption_asked_for(tmp_path):
    context, authority = server_tls(tmp_path)
    trusted = ssl.create_default_context(cafile=authority)
    asked = []

    def login():
        asked.append(True)
        return "portcullis", "wrong"

    async with mail_server(auth=False) as server:
        teller = mailing(server.address, tls=trusted, starttls=True, login=login)
        with pytest.raises(Later, match="does not offer"):
            await teller.tell(message(), "")
        await teller.close()
    assert server.mails == []
    async with mail_server(context) as server:
        untrusting = mailing(server.address, tls=ssl.create_default_context(), starttls=True)
        with pytest.raises(Later, match="certificate"):
            await untrusting.tell(message(), "")
        wrong = mailing(server.address, tls=trusted, starttls=True, login=login)
        with pytest.raises(Later, match="535"):
            await wrong.tell(message(), "")
        for one in (untrusting, wrong):
            await one.close()
    assert server.mails == []


@pytest.mark.parametrize(
    ("reply", "raised"), [("451 later", Later), ("554 refused", Never), ("550 no", Later)]
)
async def test_what_the_mail_server_refuses_is_taken_for_what_it_is(reply, raised):
    async with mail_server(auth=False) as server:
        server.judge = lambda _: reply
        teller = mailing(server.address)
        with pytest.raises(raised, match=reply[:3]) as found:
            await teller.tell(message(), "")
        assert not getattr(found.value, "arrived", False)
        await teller.close()


@pytest.mark.parametrize(
    "answer",
    [b"", b"garbage\r\n", b"220 x\r\ncut", b"220-x\r\n" * 10],
    ids=lambda one: str(one[:9]),
)
async def test_a_mail_server_that_hangs_or_talks_garbage_is_cut_off(answer):
    async with odd(answer) as port:
        teller = mailing(f"127.0.0.1:{port}", seconds=0.4)
        with pytest.raises(Later) as found:
            await teller.tell(message(), "")
        assert not found.value.arrived
        await teller.close()


@contextlib.asynccontextmanager
async def dripping(*before, tls):
    """A server that says ``before``, in turn, and then drips: words, or a TLS record."""

    async def serve(reader, writer):
        with contextlib.suppress(ConnectionError):
            for reply in before:
                writer.write(reply)
                await reader.read(999)
            writer.write(b"\x16\x03\x03\x40\x00" if tls else b"220-x\r\n")
            while True:
                writer.write(b"\x02" if tls else b"220-x\r\n")
                await writer.drain()
                await asyncio.sleep(0.05)

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    yield server.sockets[0].getsockname()[1]
    server.close()


async def until(wanted, seconds=5):
    end = time.monotonic() + seconds
    while not wanted():
        assert time.monotonic() < end
        await asyncio.sleep(0.01)


def alive():
    return [one for one in threading.enumerate() if one.name == "notify"]


@pytest.mark.parametrize(
    ("before", "how"),
    [
        ((), {}),
        ((), {"tls": ssl.create_default_context(), "starttls": False}),
        (
            (b"220 mail\r\n", b"250-mail\r\n250 STARTTLS\r\n", b"220 go\r\n"),
            {"tls": ssl.create_default_context(), "starttls": True},
        ),
    ],
    ids=["greeting", "tls", "starttls"],
)
async def test_a_mail_server_that_drips_does_not_keep_the_channel(before, how):
    async with dripping(*before, tls=bool(how)) as port:
        teller = mailing(f"127.0.0.1:{port}", seconds=0.3, **how)
        with pytest.raises(Later) as found:
            await teller.tell(message(), "")
        assert not found.value.arrived
        await until(lambda: not alive())
    async with mail_server(auth=False) as server:
        teller._port = server.port
        if not how:
            await teller.tell(message(), "")
            assert len(server.mails) == 1
    await teller.close()


async def test_no_thread_of_a_delivery_keeps_the_gate_from_ending():
    async with dripping(tls=False) as port:
        teller = mailing(f"127.0.0.1:{port}", seconds=5)
        task = asyncio.create_task(teller.tell(message(), ""))
        await until(alive)
        assert all(one.daemon for one in alive())
        task.cancel()


@pytest.mark.parametrize("field", ["agent", "server", "name", "why", "risk"])
def test_names_that_an_agent_chose_do_nothing_where_they_are_shown(field):
    said = message(**{field: EVIL})
    shown = post(said, buttons=True)
    judged(shown)
    text = json.dumps(shown, ensure_ascii=False)
    for live in ("<!channel", "@here", "https://evil", "\u202e", "|ok>"):
        assert live not in text
    assert not any(
        EVIL[:3] in one["text"]
        for block in shown["blocks"]
        for one in block.get("elements", ())
        if isinstance(one.get("text"), str) and one["type"] == "mrkdwn"
    )
    made = mail(said, "gate@shop.example", ("ops@shop.example",), "shop.example")
    parsed = email.message_from_bytes(made.as_bytes(), policy=email.policy.default)
    assert parsed["Bcc"] is None
    assert parsed["To"] == "ops@shop.example"
    assert "<!channel" not in parsed.get_body(("html",)).get_content()
    assert "\u202e" not in parsed.get_body(("plain",)).get_content()
    assert json.loads(body(said))["data"][field] == EVIL  # a program's: as it is


def test_what_is_long_is_cut_and_what_is_a_name_stays_one():
    assert plain("tickets.create_now-2") == "tickets.create_now-2"
    assert len(plain("x" * 9999)) == 200
    many = tuple(Subject(id=f"{n:032}", stage="requested", expires_at=1e9) for n in range(50))
    shown = post(message(*many, name="x" * 300, why="y" * 300), buttons=True)
    judged(shown)
    assert "and 40 more" in json.dumps(shown)


def test_however_long_the_names_are_a_message_is_one_that_the_chat_takes():
    said = {"stage": "denied", "by": "b" * 200, "reason": "r" * 999}
    judged(post(message(*(Subject(id=f"{n:032}", **said) for n in range(12))), buttons=False))


@pytest.mark.parametrize(
    ("risk", "stage", "shown"),
    [
        ("modify", "requested", True),
        ("read", "escalated", True),
        ("external", "requested", False),
        ("delete", "requested", False),
        ("", "requested", False),
        ("modify", "approved", False),
    ],
)
def test_buttons_are_only_on_what_a_button_may_decide(risk, stage, shown):
    one = message(Subject(id="a1", stage=stage), risk=risk)
    assert ("actions" in [block["type"] for block in post(one, buttons=True)["blocks"]]) is shown
    assert "actions" not in [block["type"] for block in post(one, buttons=False)["blocks"]]
