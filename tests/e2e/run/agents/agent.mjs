// An agent that knows the plain clients and nothing of gates.
import { Client } from "@modelcontextprotocol/sdk/client/index.js";
import { StreamableHTTPClientTransport } from "@modelcontextprotocol/sdk/client/streamableHttp.js";
import OpenAI from "openai";

const IBAN = "DE89 3704 0044 0532 0130 00";

async function tool(server, name, args) {
  const client = new Client({ name: "agent", version: "1" });
  await client.connect(
    new StreamableHTTPClientTransport(new URL(process.env[`PORTCULLIS_MCP_${server}_URL`])),
  );
  try {
    const answer = await client.callTool({ name, arguments: args });
    return { text: answer.content.map((part) => part.text).join(""), meta: answer._meta };
  } catch (error) {
    return { error: error.data };
  } finally {
    await client.close();
  }
}

const openai = new OpenAI({ maxRetries: 0 });
const said = await openai.chat.completions.create({
  model: "gpt-standin",
  messages: [{ role: "user", content: "hello" }],
});
console.log(
  JSON.stringify({
    model: said.choices[0].message.content,
    allowed: await tool("KB", "search_knowledge_base", { query: "Late" }),
    denied: await tool("KB", "search_products", { query: "lamp" }),
    held: await tool("KB", "search_knowledge_base", { query: IBAN }),
  }),
);
