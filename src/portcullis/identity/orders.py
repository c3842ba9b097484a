"""Signed orders to kill everything: they need no database, no log and no login.

Whoever can read ``kill.pem`` signs one; who receives it checks the signature, its age, and that it
is newer than the last. The last one is kept in a file of its own, so that a restart obeys it.
"""

from __future__ import annotations

import secrets
from pathlib import Path
from typing import Final, Literal

import msgspec
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from portcullis.core.errors import Problem
from portcullis.core.ports import Clock
from portcullis.identity.private import exclusive, read_private, write_private

ORDER_FILE: Final = "kill-all.json"
"""Below the state directory: the last order that was obeyed."""
SECONDS: Final = 60.0
"""How old an order may be when it comes."""

_LABEL: Final = b"portcullis/kill-order/v1\0"
_UNREADABLE: Final = (
    "the order in kill-all.json cannot be read: nobody knows that it was taken back"
)


class Order(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Kill all, or take that back. ``at`` is in seconds since the epoch."""

    verb: Literal["kill", "undo"]
    scope: Literal["all"] = "all"
    reason: str
    by: str
    at: float
    nonce: str


class SignedOrder(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An order's JSON, as it was signed, and the signature."""

    order: bytes
    signature: bytes


def sign(
    key: Ed25519PrivateKey, verb: Literal["kill", "undo"], reason: str, by: str, clock: Clock
) -> SignedOrder:
    """A new order."""
    order = msgspec.json.encode(
        Order(verb=verb, reason=reason, by=by, at=clock.now(), nonce=secrets.token_hex(16))
    )
    return SignedOrder(order, key.sign(_LABEL + order))


class OrderBook:
    """The last order, in a file of ``state``. Every method blocks but ``accept``.

    ``public`` is the key that orders are signed by.
    """

    def __init__(self, state: Path, public: Ed25519PublicKey, clock: Clock) -> None:
        self._path = state / ORDER_FILE
        self._public = public
        self._clock = clock
        self._killed: str | None = None
        self._last = 0.0
        self._load()

    @property
    def killed(self) -> str | None:
        """Why everything is killed by the last order, or None. A file that is no order kills."""
        return self._killed

    def look(self) -> str | None:
        """``killed``, as the file has it now."""
        self._load()
        return self._killed

    def accept(self, signed: SignedOrder) -> Order:
        """Check an order that has just come; it is used up. Raises Problem PC4003.

        Where the clock went back, the last order is of a time to come. That keeps nobody from
        killing, and whoever has killed can take it back; an older undo stays used up until then.
        """
        order, now = self._verified(signed), self._clock.now()
        if order is None:
            raise Problem("PC4003", "the order is not signed by this deployment's key")
        if abs(now - order.at) > SECONDS:
            raise Problem("PC4003", f"the order is not of the last {SECONDS:g} s: check the clock")
        to_come = self._last > now + SECONDS
        if order.at <= self._last and not (to_come and order.verb == "kill"):
            hint = "The clock went back: kill, then undo." if to_come else None
            raise Problem("PC4003", "the order, or a newer one, was obeyed before", hint=hint)
        self._last = order.at
        return order

    def keep(self, signed: SignedOrder) -> None:
        """Have a restart obey it. Raises Problem PC7001 when that cannot be written."""
        order = self._verified(signed)
        if order is None:
            raise Problem("PC4003", "the order is not signed by this deployment's key")
        with exclusive(self._path.parent):
            write_private(self._path, msgspec.json.encode(signed))
        to_come = self._last > self._clock.now() + SECONDS
        self._last = order.at if to_come else max(self._last, order.at)
        self._killed = order.reason if order.verb == "kill" else None

    def _load(self) -> None:
        try:
            content = read_private(self._path)
            if content is None:
                return
            order = self._verified(msgspec.json.decode(content, type=SignedOrder))
        except (Problem, msgspec.MsgspecError):
            order = None
        if order is None:
            self._killed = _UNREADABLE
        else:
            self._last = order.at
            self._killed = order.reason if order.verb == "kill" else None

    def _verified(self, signed: SignedOrder) -> Order | None:
        try:
            self._public.verify(signed.signature, _LABEL + signed.order)
            return msgspec.json.decode(signed.order, type=Order)
        except (InvalidSignature, msgspec.MsgspecError):
            return None
