"""What a server tells a client beside the answers to its requests."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from portcullis.wire.mcp import SUBSCRIPTION_KEY

SERVER_KEY: Final = "io.modelcontextprotocol/serverInfo"

_QUIET: Final = frozenset(["progressToken", "progress", "total", "requestId"])
"""Parameters that say how far something is, or which."""
_OWN: Final = frozenset(["progressToken", SUBSCRIPTION_KEY, SERVER_KEY])
"""Members of ``_meta`` that are the protocol's."""
_LISTS: Final = frozenset(["toolsListChanged", "promptsListChanged", "resourcesListChanged"])


def tells(params: Mapping[str, Any]) -> bool:
    """Whether a server's notification or request says more than the protocol's own.

    A subscription that is acknowledged says something when it names resources.
    """
    for name, value in params.items():
        if name == "_meta":
            said = not tells_nothing(value)
        elif name == "notifications" and isinstance(value, Mapping):
            said = any(
                one and (type(one) is not bool or key not in _LISTS) for key, one in value.items()
            )
        else:
            said = name not in _QUIET
        if said:
            return True
    return False


def tells_nothing(meta: Any) -> bool:
    """Whether there is nothing in ``_meta`` but what every message of a server's may bear."""
    return meta is None or (isinstance(meta, Mapping) and meta.keys() <= _OWN)
