"""The names of the APIs' fields."""

from __future__ import annotations

from typing import Final

from portcullis.control.session_shapes import SessionBudget, SessionRequest
from portcullis.control.shapes import (
    AgentRequest,
    ApplicationRequest,
    EntryRequest,
    IdTokenLogin,
    OperatorRequest,
    PasswordLogin,
    ReviewRequest,
    TokenMintRequest,
)

FIELDS: Final = frozenset(
    {"body", "path", "query", "root_key", "digests", "csr", "join_token", "kubernetes_token"}
    | {"server", "tool", "digest"}
    | {"upstream", "application"}
    | {"number", "share", "files", "text", "note"}
    | {"run", "command", "profile", "adapter", "enforced", "why", "status"}
    | {"event", "kind", "reason", "target", "agent", "state"}
    | {"session", "verdict", "code", "risk", "name", "since", "until", "cursor", "limit"}
).union(
    *(
        shape.model_fields
        for shape in (
            SessionRequest,
            SessionBudget,
            AgentRequest,
            ApplicationRequest,
            OperatorRequest,
            ReviewRequest,
            EntryRequest,
            PasswordLogin,
            IdTokenLogin,
            TokenMintRequest,
        )
    )
)
"""The names that a refusal may repeat: ours, never the caller's."""
