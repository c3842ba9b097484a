"""The section about secrets: where they come from, how long they last, where they are put."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Final, Literal
from urllib.parse import quote

from pydantic import AfterValidator, Field, field_validator

from portcullis.config.common import LOCAL_SECRET, SECRET, Guarded, Section

Reference = Annotated[str, Field(pattern=SECRET)]
_PLACE: Final = re.compile(r"\{([a-z][a-z0-9_]*)(\|url)?\}")
_HEADER: Final = r"^[A-Za-z0-9!#$%&'*+.^_`|~-]{1,64}$"
_OWN: Final = frozenset(
    {"host", "connection", "content-length", "transfer-encoding", "content-type", "expect", "te"}
)
"""Headers that frame the request: no credential stands in one."""
_STEP: Final = r"[A-Za-z0-9_$-]{1,64}"


def _not_ours(header: str) -> str:
    if header.lower() in _OWN:
        msg = "this header is the gate's own"
        raise ValueError(msg)
    return header


class Injection(Section):
    """A credential that is put into a request after the last check, at exactly one place.

    ``header`` and ``query`` are names; ``body`` is a path into a JSON body, by dots
    (``params.arguments.api_key``), whose parents must be there; ``env`` is a variable of a server
    that is a command. What stands there already is replaced. ``template`` is the value, with
    ``{secret}``, or ``{NAME}`` for each of ``secrets``; ``{NAME|url}`` is percent-encoded, as a
    connection string needs it. ``only`` are globs of what it is for: tools of an MCP server,
    models; with it, requests for nothing of these (the gate's own lists, too) go without.
    """

    header: Annotated[str, Field(pattern=_HEADER), AfterValidator(_not_ours)] | None = None
    query: str | None = Field(default=None, pattern=r"^[A-Za-z0-9._~-]{1,64}$")
    body: str | None = Field(default=None, pattern=rf"^{_STEP}(\.{_STEP}){{0,15}}$")
    env: str | None = Field(default=None, pattern=r"^[A-Za-z_][A-Za-z0-9_]{0,63}$")
    secret: Reference | None = None
    secrets: dict[str, Reference] = Field(default_factory=dict)
    template: str = Field(default="{secret}", min_length=1, max_length=4096)
    only: tuple[str, ...] = ("*",)

    def model_post_init(self, context: Any, /) -> None:
        """One place; and a template that says neither more nor less than there is."""
        del context
        if sum(one is not None for one in (self.header, self.query, self.body, self.env)) != 1:
            msg = "give exactly one of header, query, body and env"
            raise ValueError(msg)
        if (self.secret is None) == (not self.secrets):
            msg = "give secret, or secrets by name"
            raise ValueError(msg)
        used = {found[1] for found in _PLACE.finditer(self.template)}
        if used != set(self.references):
            msg = f"template: {{{'}, {'.join(sorted(self.references))}}} stand in it, and no other"
            raise ValueError(msg)

    @property
    def references(self) -> dict[str, str]:
        """The references, by the names that the template has for them."""
        return {"secret": self.secret} if self.secret is not None else dict(self.secrets)


def filled(template: str, values: Mapping[str, str]) -> str:
    """A template with its places taken by ``values``, percent-encoded where it says so."""
    return _PLACE.sub(
        lambda found: quote(values[found[1]], safe="") if found[2] else values[found[1]], template
    )


class Token(Section):
    """A token that somebody else renews, as a reference: it is read again when it is refused."""

    kind: Literal["token"] = "token"
    token: Annotated[str, Field(pattern=LOCAL_SECRET)]


class AppRole(Section):
    """An application's role: its id, and its secret id as a reference."""

    kind: Literal["approle"] = "approle"
    mount: str = Field(default="approle", pattern=r"^[A-Za-z0-9/_-]{1,128}$")
    role_id: str = Field(min_length=1)
    secret_id: Annotated[str, Field(pattern=LOCAL_SECRET)]


class Kubernetes(Section):
    """A role for the pod's service account, whose token lies in a file."""

    kind: Literal["kubernetes"] = "kubernetes"
    mount: str = Field(default="kubernetes", pattern=r"^[A-Za-z0-9/_-]{1,128}$")
    role: str = Field(min_length=1)
    token: Path = Path("/var/run/secrets/kubernetes.io/serviceaccount/token")


class Certificate(Section):
    """A client certificate, for servers over https."""

    kind: Literal["cert"] = "cert"
    mount: str = Field(default="cert", pattern=r"^[A-Za-z0-9/_-]{1,128}$")
    role: str = ""
    certificate: Path
    key: Path


class OpenBao(Section):
    """An OpenBao or Vault server. ``ca`` are the authorities that vouch for it, PEM."""

    url: Guarded
    auth: Token | AppRole | Kubernetes | Certificate = Field(discriminator="kind")
    namespace: str = Field(default="", pattern=r"^[A-Za-z0-9/_-]{0,256}$")
    ca: Path | None = None
    seconds: float = Field(default=5.0, gt=0, le=60)

    def model_post_init(self, context: Any, /) -> None:
        """A certificate is shown over TLS only."""
        del context
        if isinstance(self.auth, Certificate) and not self.url.startswith("https://"):
            msg = "auth: a certificate needs an https url"
            raise ValueError(msg)


class Aws(Section):
    """AWS Secrets Manager, by the SDK; it finds its credentials as the SDK does."""

    region: str = Field(pattern=r"^[a-z0-9-]{3,32}$")
    endpoint: Guarded | None = None
    seconds: float = Field(default=5.0, gt=0, le=60)


class Known(Section):
    """What is special about one secret.

    ``rotate_every_hours``: it is rotated when it is that old, by what ``incidents.rotation`` names
    for its source, or by the source itself. ``honeytoken``: nobody has reason to use it; where it
    turns up in a call, the call is denied and told.
    """

    reference: Reference
    rotate_every_hours: float | None = Field(default=None, gt=0, le=87600)
    honeytoken: bool = False

    def model_post_init(self, context: Any, /) -> None:
        """What nobody uses is not rotated."""
        del context
        if self.honeytoken and self.rotate_every_hours is not None:
            msg = "a honeytoken is not rotated: whoever stole it holds this value"
            raise ValueError(msg)


class Secrets(Section):
    """Sources beyond the environment and files, and how secrets are kept.

    A value from a server is asked for anew after ``fresh_seconds``; one that nobody used for so
    long is dropped from memory. For ``overlap_seconds`` after a secret changed, the former value
    is good for another try. Uses are kept for ``keep_days`` (who had access to what).
    """

    openbao: OpenBao | None = None
    aws: Aws | None = None
    fresh_seconds: float = Field(default=300.0, ge=1, le=86400)
    overlap_seconds: float = Field(default=60.0, ge=0, le=3600)
    keep_days: int = Field(default=400, ge=1, le=3660)
    known: tuple[Known, ...] = ()

    @field_validator("known")
    @classmethod
    def _once(cls, known: tuple[Known, ...]) -> tuple[Known, ...]:
        """Each secret stands there once."""
        if len({one.reference for one in known}) != len(known):
            msg = "each reference stands there once"
            raise ValueError(msg)
        return known

    def honeytokens(self) -> tuple[str, ...]:
        """The references of what nobody may use."""
        return tuple(one.reference for one in self.known if one.honeytoken)
