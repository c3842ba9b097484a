"""An identity by enrolment: a join token or a service-account token once, then its own SVID."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Final

import msgspec

from portcullis.client.ask import ask, origin
from portcullis.client.identity import Identity, SystemClock
from portcullis.client.saved import Saved
from portcullis.client.svid import Request, Svid, svid
from portcullis.client.tls import GateContext, authorities, context, domain_of
from portcullis.core.errors import Problem
from portcullis.core.ports import Clock
from portcullis.wire.certificates import der
from portcullis.wire.json import encode

_LONGEST_LOOK: Final = 300.0
"""Seconds after which the gate is asked for its trust bundle again, at most."""
_SHORTEST_WAIT: Final = 0.5
"""Seconds between two renewals at least, whatever the clocks say."""


class Enrolled(Identity):
    """Enrols at ``url``, and renews at half life at ``gate``, over mutual TLS.

    ``proof`` is what shows who we are the first time: ``join_token``, or ``kubernetes_token``
    and ``cluster``. ``authorities`` (DER) of the trust domain verify the gate; without them
    ``url`` has to be plain http on this machine, and the authorities come with the answer. With
    ``saved`` an SVID that is still good is taken from there and renewed instead, and each new one
    is kept there. The trust bundle is asked for anew a few times in the life of an SVID.
    """

    def __init__(
        self,
        url: str,
        *,
        gate: str,
        proof: dict[str, str],
        roots: Sequence[bytes] = (),
        trust_domain: str = "",
        saved: Saved | None = None,
        clock: Clock | None = None,
    ) -> None:
        clock = clock or SystemClock()
        super().__init__(clock)
        self._url, self._gate = origin(url), origin(gate)
        self._proof = proof
        self._roots = tuple(roots)
        self._saved = saved
        self._trust_domain = trust_domain
        if self._url.startswith("https:") and not roots:
            detail = "enrolment over https needs the trust domain's authorities"
            raise Problem("PC7004", detail, hint="Give --ca: `curl` it from /v1/bundle.")
        if not self._gate.startswith("https:"):
            raise Problem("PC7004", "an SVID is shown to a gate at https://")

    async def begin(self) -> Svid:
        """Enrol, or take up what was saved."""
        kept = None if self._saved is None else self._saved.load(self._clock.now())
        if kept is not None and kept.expires_at > self._clock.now():
            try:
                return await self._renewed(kept)
            except Problem as problem:
                if problem.code == "PC7011":
                    return kept
                if not self._proof:
                    raise
        tls = None
        if self._url.startswith("https:"):
            tls = context(self._trust_domain or domain_of(self._roots), self._roots)
        return await self._request(self._url, self._proof, tls)

    async def follow(self, held: Svid) -> Svid:
        """Renew at half life; before that, look for new authorities now and then."""
        due = max(held.half_life, self._clock.now() + _SHORTEST_WAIT)
        look = min((held.expires_at - held.issued_at) / 8, _LONGEST_LOOK)
        while (left := due - self._clock.now()) > 0:
            await asyncio.sleep(min(left, look))
            if left > look and (changed := await self._with_new_roots(held)) is not None:
                return self._keep(changed)
        return await self._renewed(held)

    async def _renewed(self, held: Svid) -> Svid:
        tls = context(held.id.trust_domain, held.roots, held)
        renewed = await self._request(self._gate, {}, tls)
        if renewed.id != held.id:
            raise Problem("PC7012", "the gate renewed the SVID under another SPIFFE ID")
        return renewed

    async def _request(self, url: str, proof: dict[str, str], tls: GateContext | None) -> Svid:
        request = Request()
        body = {"csr": request.csr} | proof
        answer = await ask("POST", f"{url}/v1/svid", context=tls, json=body)
        try:
            chain, roots = der(answer["svid"]), der(answer["bundle"])
        except (KeyError, ValueError, TypeError, AttributeError):
            raise Problem("PC7011", "the gate's answer holds no SVID") from None
        return self._keep(svid(chain, request.key, roots, self._clock.now()))

    async def _with_new_roots(self, held: Svid) -> Svid | None:
        """The same SVID with other authorities, when the gate says that they have changed."""
        tls = context(held.id.trust_domain, held.roots, held)
        try:
            document = await ask("GET", f"{self._gate}/v1/bundle", context=tls)
            roots = authorities(encode(document).decode())
        except Problem as problem:
            self.failure = problem  # the next look, or the renewal, will tell
            return None
        return None if set(roots) == set(held.roots) else msgspec.structs.replace(held, roots=roots)

    def _keep(self, found: Svid) -> Svid:
        if self._saved is not None:
            self._saved.store(found)
        return found
