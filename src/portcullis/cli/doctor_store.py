"""Whether the database server that the configuration names can be used."""

from __future__ import annotations

from typing import Any

from sqlalchemy.exc import SQLAlchemyError

from portcullis.bootstrap.records import place_of
from portcullis.cli.doctor_finding import Finding
from portcullis.config import Config
from portcullis.core.errors import Problem
from portcullis.store import postgresql


def server(config: Config) -> Finding:
    """Whether it is there and has our tables; nothing is made or changed."""
    do = "See `store` in portcullis.yaml."
    try:
        asked(config, "SELECT count(*) FROM principals")
    except Problem as problem:
        return Finding("database", ok=False, found=problem.detail, do=problem.hint or do)
    except SQLAlchemyError as error:
        found = f"{postgresql.reason(error)}; has a gate been started on it?"
        return Finding("database", ok=False, found=found, do=do)
    return Finding("database", ok=True, found="PostgreSQL")


def asked(config: Config, query: str) -> list[tuple[Any, ...]]:
    """What a query finds in it, which is not migrated. Raises Problem PC7001, SQLAlchemyError."""
    engine = postgresql.connect(str(place_of(config)), pool=2)
    try:
        postgresql.check(engine)
        with engine.connect() as connection:
            return [tuple(row) for row in connection.exec_driver_sql(query)]
    finally:
        engine.dispose()
