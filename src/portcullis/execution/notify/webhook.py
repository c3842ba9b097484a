"""Notices by webhook, signed (Standard Webhooks)."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from portcullis.core.errors import Problem
from portcullis.core.notice import Message
from portcullis.core.notice_ports import Later
from portcullis.core.ports import Clock
from portcullis.execution.notify.web import Web, judge
from portcullis.oversight.notice_webhook import body
from portcullis.wire import webhooks


class WebhookTeller:
    """Implements ``Teller``. ``secrets`` are resolved anew for each message: keys rotate."""

    amends = False

    def __init__(
        self, url: str, web: Web, secrets: Callable[[], Sequence[str]], clock: Clock
    ) -> None:
        self._url = url
        self._web = web
        self._secrets = secrets
        self._clock = clock

    async def tell(self, message: Message, reference: str) -> str:
        """Send it; receivers know a repetition by ``webhook-id``."""
        del reference
        said = body(message)
        try:
            signed = webhooks.headers(message.id, self._clock.now(), said, self._secrets())
        except Problem as problem:
            raise Later(problem.detail) from None
        headers = {"content-type": "application/json", **signed}
        judge(await self._web.post(self._url, said, headers))
        return message.thread

    async def close(self) -> None:
        """Close its connections."""
        await self._web.close()
