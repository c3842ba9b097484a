"""Ports for what cannot be given port 0: if these are not free, a test fails for another's sake."""

import itertools
import os
import random
import socket
from typing import Final

_FIRST: Final = 20_000
_EACH: Final = 2_000
"""Of a worker; all of them lie below those that Linux gives to connections (32 768 and on)."""
_OF_WORKERS: Final = 6


def _mine() -> range:
    worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    first = _FIRST + worker % _OF_WORKERS * _EACH
    return range(first, first + _EACH)


_next = itertools.cycle(random.sample(_mine(), _EACH))


def free_port() -> int:
    """A port of 127.0.0.1 that nobody listens on, nor is given before it is listened on."""
    for port in _next:
        try:
            with socket.create_server(("127.0.0.1", port)):
                return port
        except OSError:
            continue
    raise AssertionError
