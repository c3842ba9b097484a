"""An MCP server of the standard library alone; its tools tell where it runs."""

import json
import os
import socket
import sys
import time
from pathlib import Path


def beat(place):
    """Go on doing something, and say so, until somebody ends it."""
    if os.fork() == 0:
        os.setsid()
        while True:
            Path(place).write_text(str(time.time()))
            time.sleep(0.01)
    return "beats"


def look(place):
    try:
        return Path(place).read_text()
    except OSError as error:
        return type(error).__name__


def wait(place):
    Path(place).write_text("begun")
    time.sleep(60)
    return "waited"


def reach(address):
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host, int(port)), 2).close()
    except OSError as error:
        return type(error).__name__
    return "reached"


def hog(size):
    return str(len(bytearray(int(size))))


def die(_):
    os._exit(3)


TOOLS = {one.__name__: one for one in (beat, look, wait, reach, hog, die)}
VERSION = "io.modelcontextprotocol/protocolVersion"
SCHEMA = {
    "type": "object",
    "properties": {"place": {"type": "string"}},
    "required": ["place"],
    "additionalProperties": False,
}


def answer(asked):
    if asked["method"] == "initialize":
        about = {"name": "it", "version": "1"}
        return {"protocolVersion": "2025-11-25", "capabilities": {"tools": {}}, "serverInfo": about}
    if asked["method"] == "tools/list":
        return {"tools": [{"name": name, "inputSchema": SCHEMA} for name in TOOLS]}
    called = asked["params"]
    said = TOOLS[called["name"]](called["arguments"]["place"])
    return {"content": [{"type": "text", "text": said}]}


for line in sys.stdin:
    asked = json.loads(line)
    if "id" not in asked:
        continue
    try:
        said = {"result": answer(asked)}
        if VERSION in asked.get("params", {}).get("_meta", {}):
            said["result"] |= {"resultType": "complete"}
    except KeyError:
        said = {"error": {"code": -32601, "message": "no"}}
    sys.stdout.write(json.dumps({"jsonrpc": "2.0", "id": asked["id"]} | said) + "\n")
    sys.stdout.flush()
