"""A gate on standard streams in front of ``sdk_server.py``, for a client that spawns it."""

import asyncio
import importlib.util
import os
import sys
from pathlib import Path

from portcullis.config import Config, Limits
from portcullis.execution.endpoint import endpoints
from portcullis.execution.http import HttpForwarder
from portcullis.execution.mcp import McpChannels
from portcullis.execution.secrets import local_secrets
from portcullis.gateway.mcp_stdio import serve_stdio, standard_streams

HERE = Path(__file__).parent


def load(name):
    spec = importlib.util.spec_from_file_location(name, HERE / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


def channels_to(upstream):
    """The real channels to one server, and what to close after them."""
    config = Config.model_validate({"trust_domain": "example.test", "mcp": {"orders": upstream}})
    source = local_secrets({})
    forwarder = HttpForwarder(endpoints(config), secrets=source, limits=Limits())
    channels = McpChannels(
        config.mcp, forwarder=forwarder, secrets=source, limits=Limits(), environ=os.environ
    )
    return channels, forwarder


async def main():
    channels, forwarder = channels_to(
        {"command": (sys.executable, str(HERE / "sdk_server.py")), "sandbox": "none"}
    )
    gate = load("conftest").Gate(channels=channels)
    gate.policy.denied = {"forbidden"}

    async def contexts():
        return gate.context()

    reader, writer = await standard_streams()
    try:
        await serve_stdio(
            reader,
            writer,
            mcp=gate.mcp,
            conversations=gate.conversations,
            server="orders",
            contexts=contexts,
            live=gate.live,
        )
    finally:
        await channels.close()
        await forwarder.close()


if __name__ == "__main__":
    asyncio.run(main())
