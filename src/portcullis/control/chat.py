"""Deciding by a button in the chat: who pressed it, whether that may be, and then as ever.

The chat signs its requests (docs.slack.dev, "Verifying requests from Slack"): ``v0=`` and the hex
of HMAC-SHA256 over ``v0:TIMESTAMP:BODY``. Whoever holds the chat's account of an approver holds
his part of the decisions here, so only what reads or modifies can be decided so.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final, Literal
from urllib.parse import parse_qsl

import msgspec
import structlog

from portcullis.control.approvals import Approving
from portcullis.control.throttle import Throttle
from portcullis.core.approval import Approval
from portcullis.core.call import Context
from portcullis.core.errors import Problem
from portcullis.core.lifecycle import State
from portcullis.core.notice_ports import NoticeStore
from portcullis.core.ports import Clock, Directory, Once
from portcullis.core.principal import Principal, PrincipalKind
from portcullis.core.rights import Right, Roles
from portcullis.oversight.notice_slack import BY_BUTTON

WINDOW_SECONDS: Final = 300.0
REASON: Final = "by chat"
_SIGNATURE: Final = 67
"""Characters: ``v0=`` and 64 of hex."""
_LONGEST: Final = 2**18
"""Bytes of a request; the chat's have some thousands."""
_FRESH_SECONDS: Final = 10.0
"""For so long a signing secret is not read again."""

log = structlog.get_logger(__name__)


class Pressed(msgspec.Struct, frozen=True):
    """A button that was pressed: by whom (the chat's id), when, what it does and to what."""

    user: str
    at: float
    verb: Literal["approve", "deny"]
    approval: str


class _User(msgspec.Struct):
    id: str


class _Action(msgspec.Struct):
    action_id: Literal["approve", "deny"]
    value: str


class _Payload(msgspec.Struct):
    """What we read of an interaction (docs.slack.dev, block_actions payload)."""

    type: Literal["block_actions"]
    user: _User
    actions: list[_Action]


_decode: Final = msgspec.json.Decoder(_Payload).decode


@dataclass(frozen=True, slots=True)
class Buttons:
    """One channel's: ``secret`` gives what it signs under, ``approvers`` its users' operators."""

    secret: Callable[[], str] = field(repr=False)
    approvers: Mapping[str, str]


class _Refused(Exception):  # noqa: N818 - what whoever asks is told of it is always the same
    """A request that the chat did not sign, or not now; the text is for the gate's own log."""


class _Key:
    """What a channel's requests are signed under, read at times and never on the loop.

    Without a secret that can be read it is one that nobody knows.
    """

    def __init__(self, secret: Callable[[], str], clock: Clock) -> None:
        self._secret = secret
        self._clock = clock
        self._reading = asyncio.Lock()
        self._read_at = -_FRESH_SECONDS
        self._key = secrets.token_bytes(32)

    async def key(self) -> bytes:
        async with self._reading:
            now = self._clock.monotonic()
            if now - self._read_at >= _FRESH_SECONDS:
                self._read_at = now
                self._key = await asyncio.to_thread(self._read)
        return self._key

    def _read(self) -> bytes:
        try:
            return self._secret().encode()
        except Problem as problem:
            log.warning("chat_secret_not_read", fault=problem.detail)
            return secrets.token_bytes(32)


class Chat:
    """Decisions by chat, on the channels that have buttons. Refusals are the caller's to record."""

    def __init__(
        self,
        channels: Mapping[str, Buttons],
        *,
        approving: Approving,
        directory: Directory,
        notices: NoticeStore,
        once: Once,
        clock: Clock,
        roles: Roles,
    ) -> None:
        self._roles = roles
        self._channels = channels
        self._approving = approving
        self._directory = directory
        self._notices = notices
        self._once = once
        self._clock = clock
        self._keys = {name: _Key(one.secret, clock) for name, one in channels.items()}
        self._nobody = _Key(lambda: secrets.token_hex(16), clock)
        self._refusals = Throttle(clock, free=3, longest=60)

    async def pressed(
        self, channel: str, timestamp: str, signature: str, body: bytes, host: str
    ) -> Pressed:
        """What a request says that the chat has signed, and that was not seen before.

        Raises Problem PC8010 for anything else, always with the same words: also for a channel
        that has no buttons or does not exist, and for a request that is older than five minutes,
        or than this process. What was wrong says the gate's own log, less and less often of one
        ``host``. What is signed is heard however many forgeries came from there: behind a proxy,
        all come from one.
        """
        try:
            pressed = await self._signed(channel, timestamp, signature, body)
        except _Refused as refused:
            if not self._refusals.wait(host):
                self._refusals.failed(host)
                known = channel if channel in self._channels else "?"
                log.warning("chat_request_refused", channel=known, fault=str(refused))
            raise Problem("PC8010", "it is not what the chat has signed just now") from None
        self._refusals.clear(host)
        return pressed

    async def _signed(self, channel: str, timestamp: str, signature: str, body: bytes) -> Pressed:
        now = self._clock.now()
        at = float(timestamp) if timestamp.isdecimal() and len(timestamp) <= 12 else 0.0  # noqa: PLR2004 - seconds of many centuries
        if abs(now - at) > WINDOW_SECONDS or at < self._once.since:
            raise _Refused("it is not of now")
        if len(body) > _LONGEST:
            raise _Refused("it is too long")
        key = await self._keys.get(channel, self._nobody).key()
        signed = b"v0:%s:%s" % (timestamp.encode(), body)
        wanted = "v0=" + hmac.digest(key, signed, hashlib.sha256).hex()
        if len(signature) != _SIGNATURE or not hmac.compare_digest(
            signature.encode("utf-8", "replace"), wanted.encode()
        ):
            raise _Refused("its signature is wrong")
        seen = hashlib.sha256(f"{channel}\n{wanted}".encode()).digest()
        if not self._once.spend(seen, at + 2 * WINDOW_SECONDS, f"chat:{channel}"):
            raise _Refused("it was sent before")
        return _read(body, at)

    async def operator(self, channel: str, pressed: Pressed) -> Principal:
        """The operator who pressed a button, as the gate knows him now.

        Raises Problem PC8012 for a user whom the channel does not name, PC2007 for an operator
        who is not registered, and PC2004 for one who is not active or may not
        decide.
        """
        name = self._channels[channel].approvers.get(pressed.user)
        if name is None:
            raise Problem("PC8012", "the channel's actions do not name this user")
        record = await asyncio.to_thread(self._directory.get, PrincipalKind.OPERATOR, name)
        if record is None:
            raise Problem("PC2007", "the operator who is named for this user is not registered")
        if record.state is not State.ACTIVE:
            raise Problem("PC2004", "the operator is not active")
        self._roles.expect(record.roles, Right.APPROVALS_DECIDE)
        return Principal(
            kind=PrincipalKind.OPERATOR,
            id=name,
            credential=f"chat:{channel}",
            expires_at=pressed.at + WINDOW_SECONDS,
            roles=record.roles,
            issued_at=pressed.at,
        )

    async def decide(self, context: Context, channel: str, pressed: Pressed) -> Approval:
        """Approve or deny. Raises Problem PC8011 beside those of ``Approving``.

        What the channel was never told of is not decided there, nor what deletes or leaves the
        house: for such calls there are no buttons, but a request can be made without.
        """
        told = await asyncio.to_thread(self._notices.told, channel, pressed.approval)
        if not told:
            raise Problem("PC8011", "the channel was not told of this approval")
        approval = await self._approving.get(pressed.approval)
        if approval.risk not in BY_BUTTON:
            raise Problem("PC8011", f"its risk is {approval.risk}")
        decide = self._approving.approve if pressed.verb == "approve" else self._approving.deny
        return await decide(context, pressed.approval, REASON)


def _read(body: bytes, at: float) -> Pressed:
    """The one button of an interaction; the form (application/x-www-form-urlencoded) has one field.

    Raises _Refused.
    """
    try:
        fields = parse_qsl(
            body.decode("ascii"), strict_parsing=True, errors="strict", max_num_fields=1
        )
        ((name, document),) = fields
        payload = _decode(document)
        (action,) = payload.actions
    except (ValueError, msgspec.MsgspecError):
        raise _Refused("it is not one button that was pressed") from None
    if name != "payload" or not action.value.isascii() or not action.value.isalnum():
        raise _Refused("it is not one button that was pressed")
    return Pressed(payload.user.id, at, action.action_id, action.value)
