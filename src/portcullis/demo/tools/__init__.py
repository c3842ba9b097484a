"""A small company's systems as MCP servers: orders, crm, tickets, mail, kb, over one SQLite."""

from portcullis.demo.tools.host import SERVERS, tool_servers
from portcullis.demo.tools.records import Records

__all__ = ["SERVERS", "Records", "tool_servers"]
