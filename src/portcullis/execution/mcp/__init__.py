"""Channels to MCP servers: streamable HTTP in both eras, and processes over stdio."""

from portcullis.execution.mcp.channels import McpChannels

__all__ = ["McpChannels"]
