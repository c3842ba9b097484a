"""Signed orders, as a command makes them."""

from __future__ import annotations

from typing import Literal

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from portcullis.bootstrap.keys import SystemClock, keys_of
from portcullis.bootstrap.local import local_operator
from portcullis.config import Config
from portcullis.core.errors import Problem
from portcullis.identity.keys import kill_key
from portcullis.identity.orders import OrderBook, SignedOrder, sign
from portcullis.identity.sealing import Envelope


def signed_order(config: Config, verb: Literal["kill", "undo"], reason: str) -> SignedOrder:
    """An order about everybody, by the operator of this machine, under the deployment's key.

    Raises Problem PC7001 or PC7010 when the key cannot be used, PC7081 where another host's control
    plane has to be told.
    """
    if config.apart:
        raise Problem("PC7081", "an order is for the control plane")
    return sign(_key(config), verb, reason, local_operator(), SystemClock())


def kept_order(config: Config, order: SignedOrder) -> None:
    """Have whatever starts next obey an order. Raises Problem PC7001."""
    OrderBook(config.state, _key(config).public_key(), SystemClock()).keep(order)


def _key(config: Config) -> Ed25519PrivateKey:
    return kill_key(config.state / "keys", Envelope(keys_of(config)))
