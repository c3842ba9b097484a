"""The keys of a deployment, for the gate and for commands: little has to be loaded for them."""

from __future__ import annotations

import os
import time
from functools import partial
from typing import Final

from portcullis.config import Config
from portcullis.core.errors import Problem
from portcullis.core.ports import KeyManager, Sealer
from portcullis.execution.secrets import local_secrets
from portcullis.gateway.records import new_id
from portcullis.identity.keymanager import key_manager
from portcullis.identity.keys import issuer_key
from portcullis.identity.sealing import Envelope
from portcullis.identity.tokens import TokenAuthority

_SLEEP_TOO: Final[int] = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


class SystemClock:
    """The machine's clock."""

    def now(self) -> float:
        """Seconds since the epoch."""
        return time.time()

    def monotonic(self) -> float:
        """Seconds that never go back; those in which the machine slept count."""
        return time.clock_gettime(_SLEEP_TOO)


def keys_of(config: Config, *, create: bool | None = None) -> KeyManager:
    """The configured key manager; see ``key_manager`` for ``create`` and its Problems.

    Where the control plane is elsewhere no key is made: it is brought here.
    """
    sources = local_secrets(os.environ)

    def secret(reference: str) -> str:
        return sources.resolve(reference).reveal()

    opened = partial(key_manager, config.keys, state=config.state, secret=secret)
    if not config.apart:
        return opened(create=create)
    try:
        return opened(create=False)
    except Problem as problem:
        hint = "Bring it from the control plane's host: see docs/hosts.md."
        raise Problem(problem.code, problem.detail, hint=hint) from None


def authority_of(config: Config, sealer: Sealer | None = None) -> TokenAuthority:
    """What signs this deployment's tokens, for a command; its key is made when there is none."""
    return TokenAuthority(
        issuer_key(config.state / "keys", sealer or Envelope(keys_of(config))),
        trust_domain=config.trust_domain,
        clock=SystemClock(),
        new_id=new_id,
    )
