"""The tool servers are real MCP servers, in both eras, for whoever holds their credential."""

import contextlib

import httpx2
import pytest
from mcp import Client
from mcp.client.streamable_http import streamable_http_client

from portcullis.demo.tools import SERVERS, Records, tool_servers

pytestmark = pytest.mark.anyio


@pytest.fixture
def records(tmp_path):
    with Records(tmp_path / "records.db") as opened:
        yield opened


@contextlib.asynccontextmanager
async def talking(url, credential, mode):
    headers = {"authorization": f"Bearer {credential}"}
    async with (
        httpx2.AsyncClient(headers=headers, timeout=10) as http,
        Client(streamable_http_client(url, http_client=http), mode=mode) as client,
    ):
        yield client


@pytest.mark.parametrize(("mode", "version"), [("auto", "2026-07-28"), ("legacy", "2025-11-25")])
async def test_a_customer_is_helped_in_both_eras(records, credential, mode, version):
    writes = []
    async with tool_servers(
        records, credential=credential, on_write=writes.append, now=lambda: 7.0
    ) as urls:
        async with talking(urls["orders"], credential, mode) as client:
            assert client.protocol_version == version
            assert [tool.name for tool in (await client.list_tools()).tools] == ["search", "get"]
            found = await client.call_tool("search", {"customer_id": "C-1001"})
            orders = [row["order_id"] for row in found.structured_content["result"]]
            assert orders == ["O-5002", "O-5001"]
            foreign = {"customer_id": "C-1001", "order_id": "O-6001"}
            assert (await client.call_tool("get", foreign)).is_error
        async with talking(urls["tickets"], credential, mode) as client:
            wanted = {"customer_id": "C-1001", "subject": "s", "body": "b"}
            ticket = (await client.call_tool("create", wanted)).structured_content
            assert (ticket["ticket_id"], ticket["created_at"]) == ("T-0001", 7.0)
            closing = {"customer_id": "C-1001", "ticket_id": "T-0001", "status": "closed"}
            assert not (await client.call_tool("update", closing)).is_error
            listed = await client.call_tool("list", {"customer_id": "C-1001"})
            assert [row["status"] for row in listed.structured_content["result"]] == ["closed"]
        async with talking(urls["mail"], credential, mode) as client:
            letter = {"to": "ada@customer.example", "subject": "s", "body": "b"}
            assert not (await client.call_tool("send", letter)).is_error
        async with talking(urls["kb"], credential, mode) as client:
            article = await client.call_tool("search_knowledge_base", {"query": "late delivery"})
            assert article.structured_content["result"][0]["title"] == "Late delivery"
            assert (await client.list_prompts()).prompts[0].name == "apology"
            page = await client.read_resource("kb://articles/returns")
            assert "30 days" in page.contents[0].text
        async with talking(urls["crm"], credential, mode) as client:
            gone = await client.call_tool("delete_customer", {"customer_id": "C-1002"})
            assert not gone.is_error
    assert writes == ["tickets.create", "tickets.update", "mail.send"]
    assert [records.count(table) for table in ("customers", "orders", "outbox")] == [1, 2, 1]


async def test_nobody_is_served_without_the_credential(records, credential):
    async with (
        tool_servers(records, credential=credential) as urls,
        httpx2.AsyncClient() as http,
    ):
        assert set(urls) == set(SERVERS)
        for url in urls.values():
            for headers in ({}, {"authorization": "Bearer another"}):
                refused = await http.post(url, json={}, headers=headers)
                assert refused.status_code == 401
        known = {"authorization": f"Bearer {credential}"}
        lost = await http.post(urls["orders"] + "/other", json={}, headers=known)
        assert lost.status_code == 404


def test_records_are_never_mixed_with_those_of_an_earlier_run(tmp_path):
    with Records(tmp_path / "records.db"):
        pass
    with pytest.raises(FileExistsError):
        Records(tmp_path / "records.db")


def test_what_is_not_there_is_an_error_and_not_an_empty_row(records):
    with pytest.raises(LookupError):
        records.customer("C-9999")
    with pytest.raises(LookupError):
        records.update_ticket("C-1001", "T-9999", "closed")
    with pytest.raises(LookupError):
        records.create_ticket("C-9999", "s", "b", 0.0)
    with pytest.raises(LookupError):
        records.count("nothing; DROP TABLE orders")
