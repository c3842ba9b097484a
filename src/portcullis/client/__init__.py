"""The SDK for agents and applications: identities, bound tokens, transports that renew them.

    async with enrolled("http://127.0.0.1:7300", gate=GATE, join_token=TOKEN) as identity:
        gate = Gate(GATE, identity)
        http = httpx2.AsyncClient(transport=portcullis.client.httpx.Transport(gate))
        model = openai.AsyncOpenAI(base_url=f"{GATE}/openai/v1", api_key="spiffe", http_client=http)

Keys stay in memory. ``portcullis.client.httpx``, ``portcullis.client.aiohttp``,
``portcullis.client.connector``, ``portcullis.client.guard`` and ``portcullis.client.adapters`` are
imported by those who use them.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from portcullis.client.enrolment import Enrolled
from portcullis.client.gate import Access, Gate, LocalGate
from portcullis.client.identity import Identity
from portcullis.client.saved import Saved
from portcullis.client.svid import Svid
from portcullis.client.tls import read_authorities

if TYPE_CHECKING:
    from portcullis.client.workload_api import Workload

__all__ = [
    "Access",
    "Gate",
    "Identity",
    "LocalGate",
    "Svid",
    "enrolled",
    "workload",
]


def enrolled(
    url: str,
    *,
    gate: str,
    join_token: str = "",
    kubernetes_token: str = "",
    cluster: str = "",
    ca: Path | None = None,
    trust_domain: str = "",
    save: Path | None = None,
) -> Identity:
    """An identity by enrolment at ``url``, renewed at ``gate`` at half of each SVID's life.

    ``ca`` is a file with the trust domain's authorities (PEM, or the document that /v1/bundle
    gives), without which ``url`` has to be plain http on this machine. ``save`` is a directory
    to keep each SVID in, with its key, for the next start; nothing is written without it.
    """
    proof = {
        "join_token": join_token,
        "kubernetes_token": kubernetes_token,
        "cluster": cluster,
    }
    return Enrolled(
        url,
        gate=gate,
        proof={name: value for name, value in proof.items() if value},
        roots=() if ca is None else read_authorities(ca),
        trust_domain=trust_domain,
        saved=None if save is None else Saved(save),
    )


def workload(socket: Path, *, spiffe_id: str = "") -> Workload:
    """The identity that the SPIFFE Workload API at ``socket`` gives this process."""
    from portcullis.client.workload_api import Workload  # noqa: PLC0415 - gRPC only when it is used

    return Workload(socket, spiffe_id=spiffe_id)
