"""Bound access tokens: asked for once at a time, kept while they are good, renewed before."""

from __future__ import annotations

import asyncio
import hashlib
import re
from collections.abc import Awaitable, Callable
from typing import Any, Final

import msgspec

from portcullis.core.errors import Problem
from portcullis.core.ports import Clock

EXCHANGE: Final = "urn:ietf:params:oauth:grant-type:token-exchange"
ACCESS_TOKEN: Final = "urn:ietf:params:oauth:token-type:access_token"  # noqa: S105 - a type's name
JWT: Final = "urn:ietf:params:oauth:token-type:jwt"

_MOST_HELD: Final = 1024
_RENEW_AT: Final = 0.75
"""The part of its life after which a token is renewed."""
_JWT: Final = re.compile(r"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+")
_MAX_CREDENTIAL: Final = 8192


class Token(msgspec.Struct, frozen=True, kw_only=True):
    """An access token. ``scheme`` is ``Bearer`` or ``DPoP``; times are seconds since the epoch."""

    value: str
    scheme: str
    renew_at: float
    expires_at: float

    def __repr__(self) -> str:
        return f"<Token {self.scheme} until {self.expires_at:.0f}>"


Ask = Callable[[str], Awaitable[dict[str, Any]]]
"""Asks /v1/token; given a delegation, on its behalf."""


class TokenSource:
    """The tokens of one key: its holder's own, and one for each delegation that it acts under."""

    def __init__(self, ask: Ask, clock: Clock) -> None:
        self._ask = ask
        self._clock = clock
        self._held: dict[bytes, Token] = {}
        self._asking: dict[tuple[object, bytes], asyncio.Task[Token]] = {}

    async def token(self, delegation: str = "", *, spent: str = "") -> Token:
        """A token that is good now and is not ``spent``, which the gate refused.

        However many ask for the same one on an event loop, the gate is asked once. A token that is
        still good serves while the gate cannot renew it. Raises the gate's refusal, PC7011 to
        PC7013.
        """
        key = hashlib.sha256(delegation.encode()).digest()
        held = self._held.get(key)
        if held is not None and held.value == spent:
            held = None
        now = self._clock.now()
        if held is not None and now < held.renew_at:
            return held
        place = asyncio.get_running_loop(), key
        task = self._asking.get(place)
        if task is None:
            task = self._asking[place] = asyncio.create_task(self._fresh(key, delegation))
            task.add_done_callback(lambda done: self._answered(place, done))
        try:
            return await asyncio.shield(task)
        except Problem as problem:
            if held is not None and now < held.expires_at and problem.status >= 500:  # noqa: PLR2004 - faults, not refusals
                return held
            raise

    async def _fresh(self, key: bytes, delegation: str) -> Token:
        asked_at = self._clock.now()
        answer = await self._ask(delegation)
        value, scheme = answer.get("access_token"), answer.get("token_type")
        seconds = answer.get("expires_in")
        if not (isinstance(value, str) and _JWT.fullmatch(value) and isinstance(seconds, int)):
            raise Problem("PC7011", "the gate's answer holds no access token")
        if scheme not in {"Bearer", "DPoP"}:
            raise Problem("PC7011", "the gate's token is of a type that we cannot use")
        token = Token(
            value=value,
            scheme=scheme,
            renew_at=asked_at + _RENEW_AT * seconds,
            expires_at=asked_at + seconds,
        )
        self._held.pop(key, None)
        while len(self._held) >= _MOST_HELD:
            del self._held[next(iter(self._held))]
        self._held[key] = token
        return token

    def _answered(self, place: tuple[object, bytes], task: asyncio.Task[Token]) -> None:
        del self._asking[place]
        if not task.cancelled():
            task.exception()  # whoever still waits gets it; nobody may be left


def delegation_in(authorization: str, api_key: str) -> str:
    """The delegation that a client shows where its SDK puts the key, or an empty string.

    Anything that does not look like a JWT (RFC 7519 section 3) is a placeholder, there because
    SDKs insist on a key. Raises Problem PC2005 for two delegations that differ.
    """
    scheme, _, bearer = authorization.partition(" ")
    found = {
        each
        for each in ((bearer if scheme.lower() == "bearer" else ""), api_key)
        if len(each) <= _MAX_CREDENTIAL and _JWT.fullmatch(each)
    }
    if len(found) > 1:
        raise Problem("PC2005", "Authorization and x-api-key hold two delegations")
    return found.pop() if found else ""
