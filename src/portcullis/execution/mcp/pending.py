"""The requests that wait at one server process, under ids of our own."""

from __future__ import annotations

import asyncio
from typing import Any, Final

from portcullis.core.errors import Problem
from portcullis.core.ports import Incoming

SUBSCRIPTION: Final = "io.modelcontextprotocol/subscriptionId"
"""Where revision 2026-07-28 names the listening request that a notification belongs to."""


class Pending:
    """One request in flight: what it was called, and what has come for it so far.

    At most ``size`` bytes wait to be read; beyond that the request fails with PC5004.
    """

    def __init__(self, request_id: Any, token: Any, size: int) -> None:
        self.request_id = request_id
        self.token = token
        self.answered = False
        self._room = size
        self._queue: asyncio.Queue[tuple[Incoming, int] | Problem] = asyncio.Queue()
        self._failed = False

    def put(self, message: dict[str, Any], size: int) -> bool:
        """Queue a message of ``size`` bytes; False when the request has failed."""
        if self._failed:
            return False
        self._room -= size
        if self._room < 0:
            self.fail(Problem("PC5004", "the server sends faster than the client reads"))
            return False
        self._queue.put_nowait((Incoming(message=message), size))
        return True

    def fail(self, problem: Problem) -> None:
        """Let the reader read what is there, then raise ``problem``."""
        if not self._failed:
            self._failed = True
            self._queue.put_nowait(problem)

    async def get(self) -> Incoming:
        """Return the next message, or raise the Problem that ended the request."""
        item = await self._queue.get()
        if isinstance(item, Problem):
            raise item
        self._room += item[1]
        return item[0]

    def unread(self) -> list[dict[str, Any]]:
        """Return the messages that nobody read."""
        found: list[dict[str, Any]] = []
        while not self._queue.empty():
            item = self._queue.get_nowait()
            if not isinstance(item, Problem):
                found.append(item[0].message)
        return found


def outgoing(message: dict[str, Any], own: int) -> dict[str, Any]:
    """Return a request under our id, which also stands in for its progress token."""
    renamed = {**message, "id": own}
    if progress_token(message) is not None:
        params = message["params"]
        renamed["params"] = {**params, "_meta": {**params["_meta"], "progressToken": own}}
    return renamed


def progress_token(message: dict[str, Any]) -> Any:
    """Return the token under which a request wants to hear of its progress, or None."""
    return _meta(message.get("params")).get("progressToken")


def owner(message: dict[str, Any]) -> Any:
    """Return our id of the request that a notification belongs to, or None.

    MCP says so only of progress (by its token) and of subscriptions (by the listening request).
    """
    params = message.get("params")
    if message.get("method") == "notifications/progress":
        return params.get("progressToken") if isinstance(params, dict) else None
    return _meta(params).get(SUBSCRIPTION)


def restored(message: dict[str, Any], pending: Pending) -> dict[str, Any]:
    """Return a message of the server with the client's own id and token in place of ours."""
    if "id" in message:
        back = {**message, "id": pending.request_id}
        result = message.get("result")
        if SUBSCRIPTION in _meta(result):
            back["result"] = _subscribed(result, pending)
        return back
    params = message["params"]
    if message["method"] == "notifications/progress":
        return {**message, "params": {**params, "progressToken": pending.token}}
    return {**message, "params": _subscribed(params, pending)}


def _subscribed(holder: Any, pending: Pending) -> dict[str, Any]:
    return {**holder, "_meta": {**holder["_meta"], SUBSCRIPTION: pending.request_id}}


def _meta(holder: Any) -> dict[str, Any]:
    meta = holder.get("_meta") if isinstance(holder, dict) else None
    return meta if isinstance(meta, dict) else {}
