"""An agent that knows the plain clients and nothing of gates."""

import asyncio
import json
import os
import sys

import openai
from mcp import Client, MCPError

IBAN = "DE89 3704 0044 0532 0130 00"


async def tool(server, name, arguments):
    async with Client(os.environ[f"PORTCULLIS_MCP_{server}_URL"]) as client:
        try:
            answer = await client.call_tool(name, arguments)
        except MCPError as error:
            return {"error": error.data}
        return {"text": "".join(part.text for part in answer.content), "meta": answer.meta}


async def main():
    client = openai.AsyncOpenAI(max_retries=0)
    asked = [{"role": "user", "content": "hello"}]
    said = await client.chat.completions.create(model="gpt-standin", messages=asked)
    found = {
        "model": said.choices[0].message.content,
        "allowed": await tool("KB", "search_knowledge_base", {"query": "Late"}),
        "denied": await tool("KB", "search_products", {"query": "lamp"}),
        "held": await tool("KB", "search_knowledge_base", {"query": IBAN}),
    }
    sys.stdout.write(json.dumps(found, default=str))


asyncio.run(main())
