"""If these fail, who is nobody learns of the chat's hook what it is, or stops the gate with it."""

import hashlib
import hmac
import json
import secrets
import threading
from urllib.parse import urlencode

import pytest
from structlog.testing import capture_logs

from portcullis.control.chat import Buttons, Chat
from portcullis.core.errors import Problem
from portcullis.core.rights import Roles

pytestmark = pytest.mark.anyio


class Desk:
    """A hook with the channel ``ops``; ``reads`` are the threads in which its secret was read."""

    since = 0.0

    def __init__(self):
        self.time = 1_800_000_000.0
        self.secret = secrets.token_hex(16)
        self.missing = False
        self.reads = []
        self.chat = Chat(
            {"ops": Buttons(self.read, {})},
            approving=None,
            directory=None,
            notices=None,
            once=self,
            clock=self,
            roles=Roles(),
        )

    def now(self):
        return self.time

    monotonic = now

    def spend(self, *_):
        return True

    def read(self):
        self.reads.append(threading.current_thread())
        if self.missing:
            raise Problem("PC5007", "cannot read file:/etc/signing: no such file")
        return self.secret

    async def press(self, channel="ops", *, forged=False, host="192.0.2.1", body=None, at=None):
        action = {"action_id": "deny", "value": "a1"}
        payload = {"type": "block_actions", "user": {"id": "U1"}, "actions": [action]}
        body = body or urlencode({"payload": json.dumps(payload)}).encode()
        at = str(int(self.time if at is None else at))
        signed = f"v0:{at}:".encode() + body
        mac = hmac.new((self.secret + "x" * forged).encode(), signed, hashlib.sha256).hexdigest()
        return await self.chat.pressed(channel, at, f"v0={mac}", body, host)

    async def refusal(self, **odd):
        with pytest.raises(Problem) as found:
            await self.press(**odd)
        return found.value.code, found.value.detail, found.value.hint


async def test_whatever_is_wrong_with_a_request_its_sender_learns_the_same():
    desk = Desk()
    odd = [{"forged": True}, {"channel": "no"}, {"at": 1}, {"body": b"x"}, {"body": b"x" * 2**19}]
    refusals = {await desk.refusal(**one) for one in odd}
    desk.missing, desk.time = True, desk.time + 60
    with capture_logs() as said:
        refusals.add(await desk.refusal(host="192.0.2.2"))
    assert len(refusals) == 1
    assert "PC8010" in str(refusals)
    assert "file:/etc/signing" not in str(refusals)
    assert [one["fault"] for one in said if "file:/etc/signing" in one["fault"]]


async def test_the_secret_is_read_at_times_and_never_where_all_requests_wait():
    desk = Desk()
    for _ in range(20):
        await desk.refusal(forged=True)
    assert (await desk.press()).verb == "deny"
    assert len(desk.reads) == 1
    assert threading.main_thread() not in desk.reads
    desk.secret, desk.time = secrets.token_hex(16), desk.time + 11
    await desk.press()


async def test_forgeries_fill_no_log_and_do_not_shut_out_the_chat_behind_the_same_proxy():
    desk = Desk()
    with capture_logs() as said:
        for _ in range(50):
            await desk.refusal(forged=True)
        await desk.press()
    assert 1 <= len(said) <= 5
