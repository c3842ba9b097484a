"""The section ``decisions``: who else may ask what an agent is allowed, and whom we ask."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal, TypeAlias

from pydantic import Field

from portcullis.config.common import SECRET, Guarded, Name, Section

SpiffeText = Annotated[str, Field(pattern=r"^spiffe://[!-~]{1,2039}$")]
Asked: TypeAlias = Literal["tool", "model", "resource", "prompt", "egress"]


class Opinion(Section):
    """A second PDP, asked about every call that policy allows: both have to.

    ``opa`` is the URL of a rule in an OPA's data API (``https://HOST/v1/data/PATH``), whose result
    is ``true``, or an object with ``allow``; ``authzen`` that of an AuthZEN PDP. It is asked about
    calls of the ``actions``, and answers within ``seconds``. ``credential`` is sent as a bearer
    token; ``authorities`` is a file (PEM) of those by whom its certificate is vouched for, in place
    of the system's. It is sent the arguments of calls: whoever runs it reads them.
    """

    opa: Guarded | None = None
    authzen: Guarded | None = None
    actions: tuple[Asked, ...] = Field(
        default=("tool", "model", "resource", "prompt", "egress"), min_length=1
    )
    seconds: float = Field(default=0.5, gt=0, le=10)
    credential: str | None = Field(default=None, pattern=SECRET)
    authorities: Path | None = None

    def model_post_init(self, context: object, /) -> None:
        """One of the two."""
        del context
        if (self.opa is None) == (self.authzen is None):
            msg = "give exactly one of opa and authzen"
            raise ValueError(msg)


class Decisions(Section):
    """Who may ask for decisions, and whose opinion is asked besides.

    ``askers`` are applications that may ask over AuthZEN (``/access/v1/evaluation``), and
    ``peers`` the SPIFFE IDs that may ask over Envoy's ext_authz on ``listen.decisions``. Of what
    these say of a request, the agent is the SPIFFE ID of its source, or stands in ``header``, where
    one is named: only where every peer sets it itself. An answer takes at most ``seconds``.
    """

    askers: tuple[Name, ...] = ()
    peers: tuple[SpiffeText, ...] = ()
    header: Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]{0,63}$")] | None = None
    seconds: float = Field(default=1.0, gt=0, le=30)
    opinions: dict[Name, Opinion] = Field(default_factory=dict)
