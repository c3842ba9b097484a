"""The gateway's own X509-SVID: its key lives in memory only."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Final

import structlog
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from portcullis.core.errors import Problem
from portcullis.core.ports import Clock
from portcullis.core.spiffe import SpiffeId
from portcullis.identity.issuing import Issuing, X509Svid

log = structlog.get_logger(__name__)

_BACK_OFF: Final = (1.0, 60.0)
"""Seconds after the first failure, and at most."""
_SPREAD: Final = 0.25
_LATEST: Final = 0.9
"""Parts of its life: how long clients have to learn of a new root, and when it renews anyway."""
_LOOK_SECONDS: Final = 60.0
"""How often at least the clock is looked at: it may be set, and machines sleep."""


class OwnSvid:
    """An SVID of ours with a fresh key for each certificate (P-256), renewed at half of its life.

    It is also renewed when the authority that its chain ends in leaves the bundle. After a new
    root it waits a quarter of its life: clients that ask for the bundle have to have seen that
    root before they are shown a certificate under it. The first one is issued at once, with the
    Problem of ``Issuing.issue`` when that fails.
    """

    def __init__(
        self,
        authority: Issuing,
        id: SpiffeId,  # noqa: A002 - the field's name
        names: Sequence[str],
        clock: Clock,
    ) -> None:
        self._authority = authority
        self._id = id
        self._names = tuple(names)
        self._clock = clock
        self._subscribers: list[Callable[[], None]] = []
        self._current, self._root, self._since = self._issued()

    def current(self) -> tuple[X509Svid, bytes]:
        """The SVID and its key in PEM (PKCS #8)."""
        return self._current

    def subscribe(self, changed: Callable[[], None]) -> None:
        """Have ``changed`` called after every renewal, on the loop that ``run`` runs on."""
        self._subscribers.append(changed)

    async def run(self) -> None:
        """Renew until cancelled; a failure is logged and tried again, ever more slowly."""
        loop, again = asyncio.get_running_loop(), asyncio.Event()

        def changed() -> None:
            loop.call_soon_threadsafe(again.set)

        self._authority.subscribe(changed)
        wait, most = _BACK_OFF
        while True:
            pause = self._due() - self._clock.now()
            if pause <= 0 or self._disowned():
                try:
                    self.renew()
                    wait = _BACK_OFF[0]
                    continue
                except Problem as problem:
                    log.warning("own_svid_not_renewed", code=problem.code, detail=problem.detail)
                    pause, wait = wait, min(2 * wait, most)
            again.clear()
            try:
                async with asyncio.timeout(min(pause, _LOOK_SECONDS)):
                    await again.wait()
            except TimeoutError:
                continue

    def renew(self) -> None:
        """Take a new SVID and tell the subscribers. Raises what ``Issuing.issue`` raises."""
        self._current, self._root, self._since = self._issued()
        log.info("own_svid_renewed", serial=self._current[0].serial)
        for changed in tuple(self._subscribers):
            changed()

    def _issued(self) -> tuple[tuple[X509Svid, bytes], str, float]:
        now, root = self._clock.now(), self._authority.state().active("signing").root
        key = ec.generate_private_key(ec.SECP256R1())
        svid = self._authority.issue(self._id, key.public_key(), names=self._names)
        pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        return (svid, pem), root, now

    def _due(self) -> float:
        life = self._current[0].expires_at - self._since
        due = self._since + life / 2
        state = self._authority.state()
        root = next(
            key for key in state.published("root") if key.id == state.active("signing").root
        )
        if root.id == self._root:
            return due
        return max(due, min(root.created_at + life * _SPREAD, self._since + life * _LATEST))

    def _disowned(self) -> bool:
        return all(key.id != self._root for key in self._authority.state().published("root"))
