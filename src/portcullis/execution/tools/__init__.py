"""Tools of the gate's own: MCP servers inside the gate whose calls run in boxes."""
