"""Which operations of the model APIs the gate serves, and which it knows and refuses."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from portcullis.wire.anthropic_messages import CountTokens, Messages
from portcullis.wire.model import Shape
from portcullis.wire.openai_chat import ChatCompletions
from portcullis.wire.openai_embeddings import Embeddings
from portcullis.wire.openai_responses import Responses

SHAPES: Final[Mapping[tuple[str, str, str], Shape]] = MappingProxyType(
    {
        ("openai", "POST", "/v1/chat/completions"): ChatCompletions(),
        ("openai", "POST", "/v1/responses"): Responses(),
        ("openai", "POST", "/v1/embeddings"): Embeddings(),
        ("anthropic", "POST", "/v1/messages"): Messages(),
        ("anthropic", "POST", "/v1/messages/count_tokens"): CountTokens(),
    }
)
"""By API, method and path below the API's prefix."""

BEHIND: Final[Mapping[str, tuple[str, ...]]] = MappingProxyType(
    {
        "openai": (
            "agents",
            "assistants",
            "audio",
            "batches",
            "chat/completions",
            "chatkit",
            "completions",
            "containers",
            "content_provenance_checks",
            "conversations",
            "decisions",
            "evals",
            "files",
            "fine_tuning",
            "images",
            "live",
            "moderations",
            "organization",
            "projects",
            "realtime",
            "responses",
            "safety",
            "skills",
            "threads",
            "uploads",
            "vaults",
            "vector_stores",
            "videos",
            "webhook_endpoints",
            "webhook_event_types",
        ),
        "anthropic": (
            "agents",
            "complete",
            "deployment_runs",
            "deployments",
            "dreams",
            "environments",
            "files",
            "memory_stores",
            "messages",
            "organizations",
            "sessions",
            "skills",
            "tunnels",
            "user_profiles",
            "vaults",
        ),
    }
)
"""First segments below ``/v1/`` of operations that act, or bring, take or keep content, where no
check sees it: batches, files, stored answers, hosted agents and the like."""


def behind(api: str, path: str) -> bool:
    """Whether a path that is not in ``SHAPES`` is a known operation behind the gate (PC3006)."""
    return any(
        path == f"/v1/{prefix}" or path.startswith(f"/v1/{prefix}/")
        for prefix in BEHIND.get(api, ())
    )
