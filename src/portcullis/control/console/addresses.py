"""Addresses of lists: their filters as they stand in the browser."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import urlencode


def linked(given: Mapping[str, str], **more: str) -> str:
    """The end of an address with these filters, in the order of their names; "" without any."""
    kept = {name: text for name, text in sorted({**given, **more}.items()) if text}
    return f"?{urlencode(kept)}" if kept else ""
