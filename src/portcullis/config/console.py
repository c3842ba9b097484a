"""The section about the console: how browsers reach it, and what they log in with."""

from __future__ import annotations

from typing import Final, Literal

from pydantic import Field

from portcullis.config.common import Section

LOCAL_NAME: Final = "portcullis.localhost"
"""The console's own name on this machine (RFC 6761 section 6.3)."""


class Console(Section):
    """The console, on the control listener.

    ``origin`` is how browsers reach it through a proxy that terminates TLS, without a slash at
    its end: links in messages begin with it, passkeys are bound to its host, and the login cookie
    is for https alone. Without it, the console is for browsers on this machine and at the other
    end of a tunnel, by its ``name``: no other one there may have it, since cookies know no ports.
    With ``passkeys: required``, a password and one-time code are good for adding a passkey, and for
    nothing else.
    """

    enabled: bool = True
    origin: str | None = Field(default=None, pattern=r"^https://[a-z0-9.-]{1,253}(:[0-9]{1,5})?$")
    name: str = Field(default=LOCAL_NAME, pattern=r"^[a-z0-9-]{1,63}\.localhost$")
    passkeys: Literal["optional", "required"] = "optional"
