"""Notices in Slack, or what understands the same: by an incoming webhook, or as an app.

As an app (chat.postMessage, chat.update) one message is amended. A message that is posted again
because nobody knows whether it arrived has the same ``client_msg_id``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import msgspec

from portcullis.config.common import guarded
from portcullis.core.errors import Problem
from portcullis.core.notice import Message
from portcullis.core.notice_ports import Later, Never
from portcullis.execution.notify.web import Answer, Web, judge
from portcullis.oversight.notice_slack import once, post
from portcullis.wire.json import encode

_GONE: Final = frozenset(
    {
        "cant_update_message",
        "channel_not_found",
        "edit_window_closed",
        "is_archived",
        "message_not_found",
    }
)
"""What is there to be amended no longer; it is posted anew."""
_ABOUT_IT: Final = frozenset(
    {
        "invalid_arguments",
        "invalid_blocks",
        "invalid_blocks_format",
        "markdown_text_conflict",
        "msg_blocks_too_long",
        "msg_too_long",
        "no_text",
    }
)
"""Refusals of the message itself; all others are about us, the channel or the time."""
_UNSURE: Final = frozenset(
    {"fatal_error", "internal_error", "request_timeout", "service_unavailable"}
)
"""After these the message may be there."""


class _Said(msgspec.Struct):
    """What every method of the Web API answers."""

    ok: bool
    error: str = ""
    ts: str = ""
    channel: str = ""


class IncomingTeller:
    """Implements ``Teller`` by an incoming webhook, whose URL is a secret."""

    amends = False

    def __init__(self, url: Callable[[], str], web: Web) -> None:
        self._url = url
        self._web = web

    async def tell(self, message: Message, reference: str) -> str:
        """Post it."""
        del reference
        try:
            url = guarded(self._url())
        except Problem as problem:
            raise Later(problem.detail) from None
        except ValueError:
            raise Later("the webhook's URL is not https") from None
        body = encode(post(message, buttons=False))
        judge(await self._web.post(url, body, {"content-type": "application/json"}))
        return message.thread

    async def close(self) -> None:
        """Close its connections."""
        await self._web.close()


class AppTeller:
    """Implements ``Teller`` as an app of Slack's; ``api`` ends before the method's name."""

    amends = True

    def __init__(
        self, api: str, channel: str, token: Callable[[], str], web: Web, *, buttons: bool
    ) -> None:
        self._api = api.rstrip("/")
        self._channel = channel
        self._token = token
        self._web = web
        self._buttons = buttons

    async def tell(self, message: Message, reference: str) -> str:
        """Post it, or amend what was posted; ``reference`` is ``CHANNEL/TS``."""
        said = post(message, buttons=self._buttons)
        if reference:
            channel, _, ts = reference.partition("/")
            amended = {name: said[name] for name in ("text", "blocks", "parse", "link_names")}
            answer = await self._ask("chat.update", amended | {"channel": channel, "ts": ts})
            if answer.ok:
                return reference
            if answer.error not in _GONE:
                raise _refused(answer.error)
        said |= {"channel": self._channel, "client_msg_id": once(message)}
        answer = await self._ask("chat.postMessage", said)
        if not answer.ok:
            raise _refused(answer.error)
        return f"{answer.channel or self._channel}/{answer.ts}"

    async def close(self) -> None:
        """Close its connections."""
        await self._web.close()

    async def _ask(self, method: str, said: dict[str, Any]) -> _Said:
        try:
            token = self._token()
        except Problem as problem:
            raise Later(problem.detail) from None
        headers = {
            "content-type": "application/json; charset=utf-8",
            "authorization": f"Bearer {token}",
        }
        answer = await self._web.post(f"{self._api}/{method}", encode(said), headers)
        judge(answer)
        return _read(answer)


def _read(answer: Answer) -> _Said:
    try:
        said = msgspec.json.decode(answer.body, type=_Said)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        raise Later("the answer is not the API's", arrived=True) from None
    if said.error and not said.error.replace("_", "").isalnum():
        raise Later("the answer is not the API's", arrived=True)
    return said


def _refused(error: str) -> Exception:
    if error in _ABOUT_IT:
        return Never(error)
    return Later(error[:64], arrived=error in _UNSURE)
