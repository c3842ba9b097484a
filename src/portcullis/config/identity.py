"""The sections about identity: keys at rest, certificates, other trust domains, other issuers."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from portcullis.config.common import LOCAL_SECRET, SECRET, Name, Section, Url
from portcullis.config.roles import RoleName
from portcullis.core.spiffe import TRUST_DOMAIN


class FileKeys(Section):
    """The key-encryption key in a file of mode 0600, made when there is none.

    By default that is ``keys/master.key`` in the state directory: whoever can read the directory
    then has everything, so put it elsewhere.
    """

    kind: Literal["file"] = "file"
    path: Path | None = None


class PassphraseKeys(Section):
    """The key-encryption key in the state directory, itself sealed with a passphrase (Argon2id)."""

    kind: Literal["passphrase"]
    passphrase: str = Field(pattern=LOCAL_SECRET)


class Pkcs11Keys(Section):
    """The key-encryption key in a PKCS #11 token: ``label`` names an AES key there."""

    kind: Literal["pkcs11"]
    module: Path
    token: str
    pin: str = Field(pattern=LOCAL_SECRET)
    label: str = "portcullis"


class OpenBaoKeys(Section):
    """The key-encryption key in OpenBao's (or Vault's) transit engine."""

    kind: Literal["openbao"]
    url: Url
    mount: str = "transit"
    key: str = "portcullis"
    token: str = Field(pattern=LOCAL_SECRET)


KeyManagerSettings = FileKeys | PassphraseKeys | Pkcs11Keys | OpenBaoKeys


class Federated(Section):
    """Another trust domain whose agents may be registered here.

    Its bundle comes from ``file``, or from ``url`` under the profile ``https_web`` (the system's
    authorities) or ``https_spiffe`` (its endpoint's own SVID, ``endpoint_id``; then ``file``
    holds the bundle to begin with).
    """

    url: Url | None = None
    profile: Literal["https_web", "https_spiffe"] = "https_web"
    endpoint_id: str | None = Field(default=None, pattern=r"^spiffe://")
    file: Path | None = None

    def model_post_init(self, context: Any, /) -> None:
        """Complete for its profile."""
        del context
        if self.url is None and self.file is None:
            msg = "give url, file or both"
            raise ValueError(msg)
        if self.url is not None and not self.url.startswith("https://"):
            msg = "a bundle is fetched over https"
            raise ValueError(msg)
        if self.profile == "https_spiffe" and (self.endpoint_id is None or self.file is None):
            msg = "https_spiffe needs endpoint_id, and file for the first bundle"
            raise ValueError(msg)


class Kubernetes(Section):
    """A cluster whose projected service-account tokens enrol workloads.

    Its tokens are verified with ``jwks`` (a file) or by ``review`` (the API server, TokenReview).
    """

    issuer: str
    audience: str = "portcullis"
    jwks: Path | None = None
    review: Url | None = None
    credential: str | None = Field(default=None, pattern=SECRET)
    ca: Path | None = None

    def model_post_init(self, context: Any, /) -> None:
        """One way to verify."""
        del context
        if (self.jwks is None) == (self.review is None):
            msg = "give exactly one of jwks and review"
            raise ValueError(msg)
        if self.review is not None and self.credential is None:
            msg = "review needs the credential of a service account that may create TokenReviews"
            raise ValueError(msg)


class Oidc(Section):
    """An OpenID Connect issuer that vouches for people. ``jwks`` is a file or an https URL.

    ``users`` lets applications show its ID tokens for their users; ``operators`` maps values of
    the claim ``roles_claim`` to operators' roles.
    """

    issuer: Url
    client_id: str
    jwks: str
    users: bool = True
    roles_claim: str = "groups"
    operators: dict[str, RoleName] = Field(default_factory=dict)


class Identity(Section):
    """Certificates, in seconds. A leaf lives an hour and never longer than 72 hours."""

    svid_ttl_seconds: int = Field(default=3600, ge=10, le=259_200)
    jwt_svid_ttl_seconds: int = Field(default=300, ge=10, le=3600)
    signing_ttl_seconds: int = Field(default=30 * 86_400, ge=60)
    root_ttl_seconds: int = Field(default=3650 * 86_400, ge=120)
    key_type: Literal["ed25519", "p256"] = "p256"
    """The kind of the authorities' keys."""
    federation: dict[str, Federated] = Field(default_factory=dict)
    kubernetes: dict[Name, Kubernetes] = Field(default_factory=dict)
    oidc: dict[Name, Oidc] = Field(default_factory=dict)

    def model_post_init(self, context: Any, /) -> None:
        """An authority outlives what it signs."""
        del context
        if self.signing_ttl_seconds < 4 * self.svid_ttl_seconds:
            msg = "signing_ttl_seconds must be at least 4 times svid_ttl_seconds"
            raise ValueError(msg)
        if self.root_ttl_seconds < 2 * self.signing_ttl_seconds:
            msg = "root_ttl_seconds must be at least twice signing_ttl_seconds"
            raise ValueError(msg)
        for domain in self.federation:
            if not re.fullmatch(TRUST_DOMAIN, domain):
                msg = "federation names trust domains"
                raise ValueError(msg)
