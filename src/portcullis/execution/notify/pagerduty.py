"""Notices to PagerDuty, or what understands its Events API v2."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import msgspec

from portcullis.core.errors import Problem
from portcullis.core.notice import Message
from portcullis.core.notice_ports import Later, Never
from portcullis.execution.notify.web import Answer, Web, judge
from portcullis.oversight.notice_pagerduty import Action, event

_ACCEPTED: Final = 202
_REFUSED: Final = 400
_HEADERS: Final = {"content-type": "application/json"}


class _Said(msgspec.Struct):
    """What is answered to a request."""

    status: str = ""
    errors: list[str] = []


class PagerDutyTeller:
    """Implements ``Teller``. ``routing_key`` is resolved anew for each message: keys rotate.

    ``source`` is which gate this is. A message that is sent again has the same ``dedup_key``, so
    that it is the same alert.
    """

    amends = False

    def __init__(self, url: str, web: Web, routing_key: Callable[[], str], source: str) -> None:
        self._url = url
        self._web = web
        self._routing_key = routing_key
        self._source = source

    async def tell(self, message: Message, reference: str) -> str:
        """Send it; a test is resolved at once, lest it wakes somebody for long."""
        del reference
        await self._send(message)
        if message.subjects[0].stage == "test":
            await self._send(message, "resolve")
        return message.thread

    async def close(self) -> None:
        """Close its connections."""
        await self._web.close()

    async def _send(self, message: Message, act: Action | None = None) -> None:
        try:
            key = self._routing_key()
        except Problem as problem:
            raise Later(problem.detail) from None
        body = event(message, key, self._source, act=act)
        _judge(await self._web.post(self._url, body, _HEADERS))


def _judge(answer: Answer) -> None:
    """Return for what was accepted. What is wrong with the key is about us, and is tried again."""
    if answer.status == _REFUSED:
        if any("routing" in one.lower() for one in _read(answer).errors):
            raise Later("the routing key is not accepted")
        raise Never("the peer answered 400")
    judge(answer)
    if answer.status != _ACCEPTED or _read(answer).status != "success":
        raise Later("the answer is not the API's", arrived=True)


def _read(answer: Answer) -> _Said:
    try:
        return msgspec.json.decode(answer.body, type=_Said)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return _Said()
