"""The company's records in SQLite: the only place of the demonstration that holds state."""

from __future__ import annotations

import sqlite3
from importlib import resources
from pathlib import Path
from typing import Any, Self

from pydantic import BaseModel, ConfigDict


class _Row(BaseModel):
    model_config = ConfigDict(frozen=True)


class Order(_Row):
    """An order as the tools show it."""

    order_id: str
    customer_id: str
    item: str
    status: str
    note: str


class Customer(_Row):
    """A customer as the tools show it."""

    customer_id: str
    name: str
    email: str


class Product(_Row):
    """A product of the catalogue; the price in cents."""

    product_id: str
    name: str
    price_cents: int


class Article(_Row):
    """An article of the knowledge base."""

    article_id: str
    title: str
    body: str


class Ticket(_Row):
    """A support ticket; ``created_at`` is seconds since the epoch."""

    ticket_id: str
    customer_id: str
    subject: str
    body: str
    status: str
    created_at: float


def _as_dict(cursor: sqlite3.Cursor, row: tuple[Any, ...]) -> dict[str, Any]:
    return {column[0]: value for column, value in zip(cursor.description, row, strict=True)}


class Records:
    """One SQLite database with made-up customers. Methods raise LookupError for what is not there.

    It does not know who asks: which rows an agent may see is the gate's business.
    """

    def __init__(self, path: Path) -> None:
        """Make a new database at ``path``; raises FileExistsError when there is one."""
        if path.exists():
            raise FileExistsError(path)
        self._connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        self._connection.row_factory = _as_dict
        self._connection.execute("PRAGMA foreign_keys = ON")
        schema = resources.files(__package__).joinpath("schema.sql").read_text("utf-8")
        self._connection.executescript(schema)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self._connection.close()

    def count(self, table: str) -> int:
        """How many rows a table has, for tests and the story."""
        names = {row["name"] for row in self._all("SELECT name FROM sqlite_schema")}
        if table not in names:
            raise LookupError(table)
        return int(self._one(f"SELECT count(*) AS n FROM {table}")["n"])  # noqa: S608 - a name of the schema

    def orders(self, customer_id: str, status: str | None, limit: int) -> list[Order]:
        """A customer's orders, newest first."""
        rows = self._all(
            "SELECT * FROM orders WHERE customer_id = ? AND (? IS NULL OR status = ?)"
            " ORDER BY order_id DESC LIMIT ?",
            customer_id,
            status,
            status,
            limit,
        )
        return [Order(**row) for row in rows]

    def order(self, customer_id: str, order_id: str) -> Order:
        """One order of one customer."""
        return Order(
            **self._one(
                "SELECT * FROM orders WHERE customer_id = ? AND order_id = ?", customer_id, order_id
            )
        )

    def customer(self, customer_id: str) -> Customer:
        """One customer."""
        return Customer(**self._one("SELECT * FROM customers WHERE customer_id = ?", customer_id))

    def delete_customer(self, customer_id: str) -> None:
        """Delete a customer with all orders and tickets."""
        self.customer(customer_id)
        self._connection.execute("DELETE FROM customers WHERE customer_id = ?", (customer_id,))

    def products(self, query: str) -> list[Product]:
        """Products whose name holds the query."""
        found = self._all("SELECT * FROM products WHERE instr(lower(name), lower(?))", query)
        return [Product(**row) for row in found]

    def articles(self, query: str) -> list[Article]:
        """Articles that hold any word of the query."""
        wanted = query.lower().split()
        found = [Article(**row) for row in self._all("SELECT * FROM articles")]
        return [
            article
            for article in found
            if any(word in f"{article.title} {article.body}".lower() for word in wanted)
        ]

    def create_ticket(self, customer_id: str, subject: str, body: str, now: float) -> Ticket:
        """Open a ticket."""
        self.customer(customer_id)
        ticket = Ticket(
            ticket_id=f"T-{self.count('tickets') + 1:04d}",
            customer_id=customer_id,
            subject=subject,
            body=body,
            status="open",
            created_at=now,
        )
        self._connection.execute(
            "INSERT INTO tickets VALUES"
            " (:ticket_id, :customer_id, :subject, :body, :status, :created_at)",
            ticket.model_dump(),
        )
        return ticket

    def update_ticket(self, customer_id: str, ticket_id: str, status: str) -> Ticket:
        """Change the status of a customer's ticket."""
        self._connection.execute(
            "UPDATE tickets SET status = ? WHERE ticket_id = ? AND customer_id = ?",
            (status, ticket_id, customer_id),
        )
        return Ticket(
            **self._one(
                "SELECT * FROM tickets WHERE ticket_id = ? AND customer_id = ?",
                ticket_id,
                customer_id,
            )
        )

    def tickets(self, customer_id: str) -> list[Ticket]:
        """A customer's tickets."""
        found = self._all("SELECT * FROM tickets WHERE customer_id = ?", customer_id)
        return [Ticket(**row) for row in found]

    def send(self, recipient: str, subject: str, body: str) -> int:
        """Put a mail into the outbox (nothing is sent); returns its number."""
        cursor = self._connection.execute(
            "INSERT INTO outbox (recipient, subject, body) VALUES (?, ?, ?)",
            (recipient, subject, body),
        )
        return int(cursor.lastrowid or 0)

    def _all(self, statement: str, *values: object) -> list[dict[str, Any]]:
        return self._connection.execute(statement, values).fetchall()

    def _one(self, statement: str, *values: object) -> dict[str, Any]:
        rows = self._all(statement, *values)
        if not rows:
            raise LookupError("no such row")
        return rows[0]
