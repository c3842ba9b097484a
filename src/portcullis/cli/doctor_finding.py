"""What ``portcullis doctor`` found, and whether somebody listens at an address."""

from __future__ import annotations

import socket
from typing import NamedTuple
from urllib.parse import urlsplit


class Finding(NamedTuple):
    """One thing looked at; ``do`` is empty when it is in order."""

    what: str
    ok: bool
    found: str
    do: str = ""


def reachable(name: str, url: str) -> Finding:
    """Whether somebody listens there. Raises ValueError for what is no URL."""
    parts = urlsplit(url)
    port = parts.port or (443 if parts.scheme == "https" else 80)
    try:
        with socket.create_connection((parts.hostname or "", port), timeout=3):
            pass
    except (OSError, UnicodeError) as error:  # or what is no name of a host
        return Finding(
            f"upstream {name}",
            ok=False,
            found=f"{url}: {error}",
            do="Check its address, or start it.",
        )
    return Finding(f"upstream {name}", ok=True, found=f"{url} accepts connections")
