"""Boxes for the servers and tools of the configuration, and the gate's own MCP servers."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping

from prometheus_client import CollectorRegistry

from portcullis.bootstrap.sandboxes import recorded
from portcullis.config import Config
from portcullis.config.boxed import NONE
from portcullis.config.tools import EXECUTE
from portcullis.control.services import Services
from portcullis.core.ports import SecretSource
from portcullis.execution.boxes import Boxes
from portcullis.execution.secrets.broker import SecretBroker
from portcullis.execution.tools.channel import Tool, ToolChannel
from portcullis.execution.tools.code import Code
from portcullis.execution.tools.command import Command
from portcullis.execution.tools.room import Room
from portcullis.gateway.mcp_conversations import Conversations


class EndsWithSession:
    """Ends the conversations, and so the boxes, of sessions that have ended."""

    def __init__(self, conversations: Conversations) -> None:
        self._conversations = conversations

    def end(self, is_open: Callable[[str], bool]) -> None:
        """See ``bootstrap.firewall.Keeper``."""
        self._conversations.end_with(is_open)


def boxed(config: Config) -> bool:
    """Whether some server runs in a box."""
    return any(one.command and one.sandbox != NONE for one in config.mcp.values())


def boxes_of(config: Config, services: Services, registry: CollectorRegistry) -> Boxes:
    """What makes the boxes of this process; each is on record."""
    made = recorded(config, services, registry)
    return Boxes(made, config.sandbox.named(), made.claimed)


async def own_tools(
    stack: contextlib.AsyncExitStack,
    config: Config,
    boxes: Boxes,
    secrets: SecretSource | SecretBroker,
    environ: Mapping[str, str],
    *,
    serves: bool,
) -> dict[str, ToolChannel]:
    """The MCP servers of the section ``tools``, by name; ended with ``stack``.

    Unless the process ``serves`` agents, no box is made ready.
    """
    path = environ.get("PATH", "")
    found: dict[str, ToolChannel] = {}
    room = Room(config.limits.processes)
    for server, settings in config.tools.items():
        tools: dict[str, Tool] = {
            name: Command(f"{server}.{name}", one, boxes=boxes, secrets=secrets, path=path)
            for name, one in settings.commands.items()
        }
        if settings.code is not None:
            name = f"{server}.{EXECUTE}"
            code = Code(name, settings.code, boxes=boxes, secrets=secrets, path=path)
            tools[EXECUTE] = code
        channel = ToolChannel(server, tools, room)
        stack.push_async_callback(channel.end)
        if settings.code is not None and serves:
            await code.open()
        found[server] = channel
    return found
