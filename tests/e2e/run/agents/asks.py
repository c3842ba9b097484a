"""An agent that asks for the same order again and again, over plain HTTP."""

import json
import sys
import time
import urllib.error
import urllib.request

URL = "http://127.0.0.1:8700/mcp/orders"
META = {
    "io.modelcontextprotocol/protocolVersion": "2026-07-28",
    "io.modelcontextprotocol/clientInfo": {"name": "asks", "version": "1"},
    "io.modelcontextprotocol/clientCapabilities": {},
}
HEADERS = {
    "content-type": "application/json",
    "accept": "application/json, text/event-stream",
    "mcp-protocol-version": "2026-07-28",
    "mcp-method": "tools/call",
    "mcp-name": "get",
}

for number in range(1000):
    arguments = {"customer_id": "C-1001", "order_id": "O-5001"}
    params = {"name": "get", "arguments": arguments, "_meta": META}
    message = {"jsonrpc": "2.0", "id": number, "method": "tools/call", "params": params}
    request = urllib.request.Request(URL, json.dumps(message).encode(), HEADERS)
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:  # noqa: S310 - http
            answer.read()
    except urllib.error.HTTPError as error:
        sys.stderr.write(f"{error.code} {error.read().decode()}\n")
    if number == 0:
        sys.stdout.write("up\n")
        sys.stdout.flush()
    time.sleep(0.1)
