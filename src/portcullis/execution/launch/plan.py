"""What an agent finds in its box: addresses, placeholders, and where its files are. No secret."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Final

import msgspec

PLACE: Final = "/run/portcullis"
"""Where all that is ours stands in the box."""
BRIDGE, GATE, EGRESS, CONTROL = "bridge.py", "gate.sock", "egress.sock", "control.sock"
NAMES: Final = "names.sock"
SERVERS, AUTHORITIES, AUTHORITY = "mcp.json", "authorities.pem", "authority.pem"
PYTHON: Final = "/usr/bin/python3"
"""What runs the bridge."""
GATE_PORT, EGRESS_PORT = 8700, 8701
NAMES_PORT: Final = 53
_PLACEHOLDER: Final = "portcullis"
"""What stands where an SDK insists on a key. It opens nothing."""
_LOCAL: Final = "127.0.0.1,localhost"


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """What there is in one box. ``servers`` are MCP servers of the gate, by name.

    ``egress`` says whether there is a proxy, and ``authority`` whether it has certificates of
    its own. ``path`` is PATH; ``environ`` is what the caller adds, and it has the last word.
    """

    servers: tuple[str, ...] = ()
    egress: bool = False
    authority: bool = False
    terminal: bool = False
    path: str
    term: str = ""
    environ: Mapping[str, str] = {}

    def variables(self) -> dict[str, str]:
        """The environment of the box, whole."""
        gate = _url(GATE_PORT)
        found = {
            "HOME": "/scratch",
            "LANG": "C.UTF-8",
            "PATH": self.path,
            "TMPDIR": "/tmp",  # noqa: S108 - the box's own
            "PORTCULLIS_URL": gate,
            "OPENAI_BASE_URL": f"{gate}/openai/v1",
            "OPENAI_API_KEY": _PLACEHOLDER,
            "ANTHROPIC_BASE_URL": f"{gate}/anthropic",
            "ANTHROPIC_API_KEY": _PLACEHOLDER,
            "PORTCULLIS_MCP_CONFIG": f"{PLACE}/{SERVERS}",
        }
        for name in self.servers:
            found[f"PORTCULLIS_MCP_{_variable(name)}_URL"] = f"{gate}/mcp/{name}"
        if self.egress:
            for name in ("HTTP_PROXY", "HTTPS_PROXY"):
                found[name] = found[name.lower()] = _url(EGRESS_PORT)
            found["NO_PROXY"] = found["no_proxy"] = _LOCAL
            found["NODE_USE_ENV_PROXY"] = "1"
        if self.authority:
            for name in ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):
                found[name] = f"{PLACE}/{AUTHORITIES}"
            found["NODE_EXTRA_CA_CERTS"] = f"{PLACE}/{AUTHORITY}"
        if self.term:
            found["TERM"] = self.term
        return found | dict(self.environ)

    def document(self) -> str:
        """The servers as MCP clients read them from a file (``mcpServers``)."""
        gate = _url(GATE_PORT)
        servers = {name: {"type": "http", "url": f"{gate}/mcp/{name}"} for name in self.servers}
        return json.dumps({"mcpServers": servers}, indent=2) + "\n"

    def argv(self, command: tuple[str, ...]) -> tuple[str, ...]:
        """The bridge as the box's first program, with ``command`` as its child."""
        forwards = [f"{GATE_PORT}={PLACE}/{GATE}"]
        if self.egress:
            forwards.append(f"{EGRESS_PORT}={PLACE}/{EGRESS}")
        words = [PYTHON, "-I", "-S", f"{PLACE}/{BRIDGE}"]
        for forward in forwards:
            words += ["--forward", forward]
        if self.egress:
            words += ["--names", f"{NAMES_PORT}={PLACE}/{NAMES}"]
        words += ["--control", f"{PLACE}/{CONTROL}", *(["--terminal"] if self.terminal else [])]
        return (*words, "--", *command)


def _url(port: int) -> str:
    return f"http://127.0.0.1:{port}"


def _variable(name: str) -> str:
    return re.sub("[^A-Z0-9]", "_", name.upper())
