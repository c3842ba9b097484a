"""The sections about changes of policy: who has to agree, and where policy comes from."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field

from portcullis.config.common import LOCAL_SECRET, SECRET, Guarded, Name, Section


class PolicyChanges(Section):
    """How many people other than the proposer have to approve a release of policy.

    With 0 what the policy folder holds takes force by itself. With more the folder is only what
    proposals are made from. ``bundle_key`` is the private key (PEM) that signs the bundles that
    the control plane serves: P-256 for ES256, RSA for RS256; without it there is one of our own.
    ``readers`` are applications that may fetch these bundles, by token or by certificate.
    """

    approvals: int = Field(default=0, ge=0, le=2)
    bundle_key: str | None = Field(default=None, pattern=LOCAL_SECRET)
    readers: tuple[Name, ...] = ()


class PolicySource(Section):
    """A server of policy bundles, which is asked for new ones. What comes is a release.

    ``key`` is a file with the public key (PEM) that signs them: P-256 for ES256, RSA for RS256;
    ``key_id`` is what the signature has to call it, if anything. ``credential`` is a bearer token.
    ``ca`` is a file (PEM) of the only authorities of the server's certificate. It is asked every
    ``seconds``, and may take ``wait_seconds`` to answer when it has nothing new.
    """

    bundle: Guarded
    key: Path
    key_id: str = Field(default="", max_length=128)
    credential: str | None = Field(default=None, pattern=SECRET)
    ca: Path | None = None
    seconds: float = Field(default=10, ge=0.1, le=86_400)
    wait_seconds: int = Field(default=20, ge=0, le=300)
