"""What a host without a control plane has to have in common with the host that has it."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from portcullis.config import Config


def expect_common(config: Config) -> None:
    """Raise ValueError where a gateway would rest on a file that the control plane does not have.

    ``config`` is of a host whose control plane is elsewhere.
    """
    wanted = {
        "store.url": config.store.url is not None,
        "feed: {via: redis}": config.feed.via == "redis",
        "counters: {via: redis}": config.counters.via == "redis",
        "shared.url": config.shared.url is not None,
        "audit.replicate": bool(config.audit.replicate),
    }
    missing = [name for name, there in wanted.items() if not there]
    if missing:
        msg = f"control_plane: elsewhere needs {', '.join(missing)}"
        raise ValueError(msg)
    connected = {name: one.oauth for name, one in config.models.items()}
    connected |= {name: one.oauth for name, one in config.mcp.items()}
    users = [name for name, one in connected.items() if one is not None and one.mode == "user"]
    if users:
        msg = f"control_plane: elsewhere, and {users[0]} is asked in users' names: only here"
        raise ValueError(msg)
