"""What identity costs one core: SVIDs issued, callers authenticated, the kill feed asked.

All figures are of the processor time of the one thread that works (CLOCK_THREAD_CPUTIME_ID), so
that a busy machine does not pass for a slow program; each is the median of some rounds.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median
from typing import Any, Final, TypeVar

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from portcullis.bench.gate import AGENT
from portcullis.bootstrap import SystemClock
from portcullis.client.dpop import Prover
from portcullis.client.svid import Request
from portcullis.config.identity import Identity
from portcullis.control.enrol import requested_key
from portcullis.core.credential import Peer, Presented
from portcullis.core.principal import Principal, PrincipalKind
from portcullis.core.spiffe import ours
from portcullis.gateway.records import new_id
from portcullis.identity.authority import Authority, open_authority
from portcullis.identity.claims import Confirmation, Grant
from portcullis.identity.keymanager.file import FileKeyManager
from portcullis.identity.sealing import Envelope
from portcullis.identity.tokens import TokenAuthority
from portcullis.store.directory import SqlDirectory
from portcullis.store.engine import open_sqlite
from portcullis.store.killfeed import LocalKillFeed
from portcullis.wire.certificates import pem

FEED_ENTRIES: Final = 10_000

_DOMAIN: Final = "bench.local"
_URL: Final = "https://localhost:7302/openai/v1/chat/completions"
_ID: Final = ours(_DOMAIN, PrincipalKind.AGENT, AGENT)
_LIFE: Final = 300
_FRESH, _SAME = 200, 2000
"""How many calls a round has, with something new in each and with the same in all."""
_ROUNDS: Final = 3
_T = TypeVar("_T")


def measure_issue(seconds: float) -> dict[str, float]:
    """SVIDs per second, each way of making them for ``seconds``.

    ``svid_of_request`` is what ``POST /v1/svid`` does: the request is read and its signature
    checked, and the chain is written as PEM.
    """
    with tempfile.TemporaryDirectory(prefix="portcullis-bench-") as name:
        authority = _authority(Path(name))
        key, request = _key(), Request().csr
        ways: dict[str, Callable[[int], object]] = {
            "svid": lambda _: authority.issue(_ID, key),
            "svid_with_key": lambda _: authority.issue(_ID, _key()),
            "svid_of_request": lambda _: pem(authority.issue(_ID, requested_key(request)).chain),
            "jwt_svid": lambda _: authority.sign_jwt(_ID, ("bench",)),
        }
        return {
            f"{way}_per_s": 1 / _typical(step, lambda: range(_FRESH), seconds)
            for way, step in ways.items()
        }


def measure_verify(seconds: float) -> dict[str, float]:
    """Microseconds to authenticate a request: a new token, one that is remembered, none.

    ``dpop`` includes the proof, which is a new one each time.
    """
    clock = SystemClock()
    tokens, prover, peer = _tokens(clock), Prover(clock), _peer()
    jkt = tokens.proof(Presented(dpop=prover.proof("POST", _URL), method="POST", url=_URL))

    def minted(binding: Confirmation) -> str:
        name, now = f"agent:{AGENT}", int(clock.now())
        grant = Grant(sub=name, client_id=name, auth_time=now, cnf=binding)
        return tokens.issue(grant, expires_at=now + _LIFE).token

    def proven(token: str) -> Presented:
        proof = prover.proof("POST", _URL, token)
        return Presented(token=token, dpop=proof, method="POST", url=_URL)

    x5t, dpop = Confirmation(x5t=peer.thumbprint), Confirmation(jkt=jkt)
    held, proof_held = Presented(token=minted(x5t), peer=peer), minted(dpop)
    ways: dict[str, Callable[[], list[Presented]]] = {
        "x5t_cold": lambda: [Presented(token=minted(x5t), peer=peer) for _ in range(_FRESH)],
        "x5t_cached": lambda: [held] * _SAME,
        "dpop_cold": lambda: [proven(minted(dpop)) for _ in range(_FRESH)],
        "dpop_cached": lambda: [proven(proof_held) for _ in range(_FRESH)],
        "svid": lambda: [Presented(peer=peer)] * _SAME,
    }
    return {
        f"verify_{way}_us": _typical(tokens.authenticate, shown, seconds) * 1e6
        for way, shown in ways.items()
    }


def measure_feed(seconds: float) -> dict[str, float]:
    """Microseconds to ask the kill feed, which every request does, with 10 000 others cut off."""
    caller = Principal(
        kind=PrincipalKind.AGENT,
        id=AGENT,
        credential=new_id(),
        expires_at=0.0,
        svid=new_id(),
        issued_at=time.time(),
    )
    with tempfile.TemporaryDirectory(prefix="portcullis-bench-") as name:
        engine = open_sqlite(Path(name) / "bench.db")
        try:
            feed = LocalKillFeed(engine, SqlDirectory(engine), SystemClock())
            for _ in range(FEED_ENTRIES):
                feed.sever("credential", new_id(), "for the benchmark")
            feed.outdate(PrincipalKind.AGENT, "another", time.time())
            cost = _typical(
                lambda _: feed.stale() or feed.reason(caller, None), lambda: range(_SAME), seconds
            )
        finally:
            engine.dispose()
    return {"feed_10k_us": cost * 1e6}


def _typical(
    step: Callable[[_T], object], items: Callable[[], Sequence[_T]], seconds: float
) -> float:
    """Processor seconds of a step: each round is over fresh ``items``, made at nobody's cost."""
    rounds: list[float] = []
    end = time.monotonic() + seconds
    while len(rounds) < _ROUNDS or time.monotonic() < end:
        given = items()
        began = time.thread_time()
        for item in given:
            step(item)
        rounds.append((time.thread_time() - began) / len(given))
    return median(rounds)


def _authority(folder: Path) -> Authority:
    return open_authority(
        folder / "ca",
        trust_domain=_DOMAIN,
        settings=Identity(),
        sealer=Envelope(FileKeyManager(folder / "master.key", create=True)),
        clock=SystemClock(),
        new_id=new_id,
    )


def _tokens(clock: SystemClock) -> TokenAuthority:
    return TokenAuthority(
        Ed25519PrivateKey.generate(), trust_domain=_DOMAIN, clock=clock, new_id=new_id
    )


def _key() -> Any:
    return ec.generate_private_key(ec.SECP256R1()).public_key()


def _peer() -> Peer:
    """A connection's other end, as the listener knows it once the handshake is done."""
    now = time.time()
    return Peer(
        id=_ID,
        serial=new_id(),
        thumbprint="bench" * 8,
        anchor="",
        issued_at=now,
        expires_at=now + 3600,
    )
