"""How the gate gets tokens for an upstream that knows whom it serves (docs/on-behalf.md)."""

from __future__ import annotations

from typing import Annotated, Any, Literal, TypeAlias

from pydantic import Field

from portcullis.config.common import SECRET, Guarded, Section, Url, guarded

Scope = Annotated[str, Field(pattern=r"^[\x21\x23-\x5b\x5d-\x7e]{1,256}$")]
"""RFC 6749 section 3.3."""
Mode: TypeAlias = Literal["user", "exchange", "client"]


class UpstreamOauth(Section):
    """Where an upstream's tokens come from, and for whom they are.

    ``user``: each user connects an account once (authorization code with PKCE); ``exchange``: the
    user's ID token, which the application showed when it opened the session, is exchanged (RFC
    8693); ``client``: the gate's own (client credentials), the same for everybody.

    The authorization server is ``issuer`` (RFC 8414, OpenID Connect discovery) or its endpoints.
    An MCP server's may be left out in mode ``user``: it is what the server's metadata names (RFC
    9728), for clients without a secret. ``resource`` is whom tokens are for (RFC 8707), by default
    the upstream's URL; ``false`` for servers that do not know such a parameter.
    """

    mode: Mode = "user"
    issuer: Guarded | None = None
    authorization_endpoint: Guarded | None = None
    token_endpoint: Guarded | None = None
    revocation_endpoint: Guarded | None = None
    client_id: str = Field(pattern=r"^[\x20-\x7e]{1,512}$")
    client_secret: str | None = Field(default=None, pattern=SECRET)
    scopes: tuple[Scope, ...] = ()
    resource: Url | Literal[False] | None = None

    def model_post_init(self, context: Any, /) -> None:
        """It is clear who makes the tokens."""
        del context
        if self.token_endpoint is None and (
            self.authorization_endpoint is not None or self.revocation_endpoint is not None
        ):
            msg = "endpoints need token_endpoint"
            raise ValueError(msg)
        if self.token_endpoint is not None and self.mode == "user":
            if self.authorization_endpoint is None:
                msg = "mode user needs authorization_endpoint, or issuer without endpoints"
                raise ValueError(msg)
            if self.issuer is None:
                msg = "mode user needs issuer: what comes back is held against it (RFC 9207)"
                raise ValueError(msg)
        if self.mode == "exchange" and self.issuer is None and self.token_endpoint is None:
            msg = "mode exchange shows users' ID tokens to an issuer that is written here"
            raise ValueError(msg)
        if self.mode == "client" and self.client_secret is None:
            msg = "mode client needs client_secret"
            raise ValueError(msg)
        if self.client_secret is not None and self.issuer is None and self.token_endpoint is None:
            msg = "client_secret goes to an issuer, or a token_endpoint, that is written here"
            raise ValueError(msg)


def apart(
    oauth: UpstreamOauth | None,
    url: str | None,
    credential: str | None,
    inject: tuple[object, ...],
    *,
    discovers: bool = False,
) -> None:
    """Raise ValueError unless an upstream's tokens are its one credential, sent to where it says.

    ``discovers``: such an upstream can name its own authorization server.
    """
    if oauth is None:
        return
    if credential is not None or inject:
        msg = "oauth goes with neither credential nor inject: there is nothing to fall back to"
        raise ValueError(msg)
    if url is None:
        msg = "oauth is for upstreams with a url"
        raise ValueError(msg)
    guarded(url)
    if oauth.issuer is None and oauth.token_endpoint is None and not discovers:
        msg = "oauth needs issuer, or token_endpoint"
        raise ValueError(msg)
