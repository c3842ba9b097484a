"""How much a call asks of the servers that gateways share: counted by the servers themselves."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import redis
from sqlalchemy import create_engine, text

from portcullis.bench.limits_stage import counting_server

STORE: Final = "PORTCULLIS_BENCH_STORE"
"""Where the address of a database for the bench stands, which must be empty."""
LIMITS: Final[Mapping[str, Any]] = {
    "limits": {
        "agents": {"for": {"model": "*"}, "per": "agent", "calls": "1000000000/day"},
        "house": {"for": {"model": "*"}, "per": "all", "requests": "1000000/minute"},
    }
}
_COMMITTED: Final = text(
    "SELECT xact_commit + xact_rollback FROM pg_stat_database WHERE datname = current_database()"
)
_TOLD_SECONDS: Final = 11.0
"""After so long PostgreSQL's idle processes have told what they did."""

Counted = Callable[[], int]
"""How many commands, or transactions, a server has carried out."""


@contextmanager
def counting(folder: Path, wanted: str) -> Iterator[tuple[Mapping[str, Any], Counted] | None]:
    """A server of counts: what the configuration says of it, and what it counts itself.

    None where there is none; ``wanted`` is as in ``counting_server``.
    """
    with counting_server(folder, wanted) as url:
        if not url:
            yield None
            return
        place = folder / "counts.url"
        place.touch(mode=0o600)
        place.write_text(url, encoding="utf-8")
        with redis.Redis.from_url(url) as client:

            def commands() -> int:
                found: Any = client.info("stats")
                return int(found["total_commands_processed"])

            yield {"counters": {"via": "redis", "url": f"file:{place}"}}, commands


@contextmanager
def storing() -> Iterator[tuple[Mapping[str, Any], Counted] | None]:
    """The database named by ``STORE``, in the same way; None where that is not set."""
    url = os.environ.get(STORE)
    if not url:
        yield None
        return
    engine = create_engine(url.replace("postgresql://", "postgresql+psycopg://", 1))
    try:

        def transactions() -> int:
            time.sleep(_TOLD_SECONDS)
            with engine.connect() as connection:
                return int(connection.execute(_COMMITTED).scalar_one())

        yield {"store": {"url": f"env:{STORE}"}}, transactions
    finally:
        engine.dispose()


def asked(count: Counted, work: Callable[[], int], seconds: float) -> tuple[float, float]:
    """How many a second go on without a call, and how many each call of ``work`` takes beyond.

    ``work`` makes calls and returns how many. It takes about as long as is waited before it.
    """
    began, before = time.monotonic(), count()
    time.sleep(seconds)
    idle = (count() - before) / (time.monotonic() - began)
    began, before = time.monotonic(), count()
    calls = work()
    done = count() - before
    return idle, (done - idle * (time.monotonic() - began)) / calls
