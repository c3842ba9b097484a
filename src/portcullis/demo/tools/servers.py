"""The MCP servers, made with the official SDK: what each offers, and nothing about who may."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Literal

from mcp.server.mcpserver import MCPServer
from mcp.server.mcpserver.exceptions import ToolError
from pydantic import Field

from portcullis.demo.tools.records import Article, Customer, Order, Product, Records, Ticket

Limit = Annotated[int, Field(ge=1, le=1000)]


def orders(records: Records) -> MCPServer:
    """``orders``: look up orders."""
    server = MCPServer("orders", version="1", log_level="CRITICAL")

    @server.tool()
    async def search(
        customer_id: str,
        status: Literal["open", "shipped", "closed"] | None = None,
        limit: Limit = 20,
    ) -> list[Order]:
        """List the orders of a customer."""
        return records.orders(customer_id, status, limit)

    @server.tool()
    async def get(customer_id: str, order_id: str) -> Order:
        """Show one order of a customer."""
        try:
            return records.order(customer_id, order_id)
        except LookupError:
            raise ToolError("no such order") from None

    return server


def crm(records: Records) -> MCPServer:
    """``crm``: the customers themselves."""
    server = MCPServer("crm", version="1", log_level="CRITICAL")

    @server.tool()
    async def get_customer(customer_id: str) -> Customer:
        """Show a customer."""
        try:
            return records.customer(customer_id)
        except LookupError:
            raise ToolError("no such customer") from None

    @server.tool()
    async def delete_customer(customer_id: str) -> str:
        """Delete a customer with all orders and tickets, for good."""
        try:
            records.delete_customer(customer_id)
        except LookupError:
            raise ToolError("no such customer") from None
        return "deleted"

    return server


def tickets(
    records: Records, *, now: Callable[[], float], on_write: Callable[[str], None]
) -> MCPServer:
    """``tickets``: support tickets. ``on_write`` is told a tool's name before it writes."""
    server = MCPServer("tickets", version="1", log_level="CRITICAL")

    @server.tool()
    async def create(customer_id: str, subject: str, body: str) -> Ticket:
        """Open a support ticket for a customer."""
        on_write("tickets.create")
        try:
            return records.create_ticket(customer_id, subject, body, now())
        except LookupError:
            raise ToolError("no such customer") from None

    @server.tool()
    async def update(customer_id: str, ticket_id: str, status: Literal["open", "closed"]) -> Ticket:
        """Change the status of a ticket."""
        on_write("tickets.update")
        try:
            return records.update_ticket(customer_id, ticket_id, status)
        except LookupError:
            raise ToolError("no such ticket") from None

    @server.tool(name="list")
    async def list_tickets(customer_id: str) -> list[Ticket]:
        """List a customer's tickets."""
        return records.tickets(customer_id)

    return server


def mail(records: Records, *, on_write: Callable[[str], None]) -> MCPServer:
    """``mail``: an outbox. Nothing leaves this machine."""
    server = MCPServer("mail", version="1", log_level="CRITICAL")

    @server.tool()
    async def send(to: str, subject: str, body: str) -> str:
        """Put an e-mail into the outbox."""
        on_write("mail.send")
        return f"queued as mail {records.send(to, subject, body)}"

    return server


def kb(records: Records) -> MCPServer:
    """``kb``: the knowledge base and the product catalogue."""
    server = MCPServer("kb", version="1", log_level="CRITICAL")

    @server.tool()
    async def search_knowledge_base(query: str) -> list[Article]:
        """Find articles of the knowledge base."""
        return records.articles(query)

    @server.tool()
    async def search_products(query: str) -> list[Product]:
        """Find products by name."""
        return records.products(query)

    @server.resource("kb://articles/returns", mime_type="text/plain")
    async def returns() -> str:
        """The returns policy."""
        return records.articles("returned")[0].body

    @server.resource("kb://articles/supplier", mime_type="text/plain")
    async def supplier() -> str:
        """What a supplier wrote."""
        return records.articles("supplier")[0].body

    @server.prompt()
    def apology(name: str) -> str:
        """A polite beginning."""
        return f"Write a short apology to {name}."

    return server
