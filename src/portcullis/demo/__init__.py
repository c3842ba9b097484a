"""The demonstration: real clients, a real MCP server and a stand-in model, through the gate."""
