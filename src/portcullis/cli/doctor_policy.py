"""Where the active release is the policy: whether the folder still says something else."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator

from sqlalchemy.exc import SQLAlchemyError

from portcullis.cli.doctor_finding import Finding
from portcullis.cli.doctor_store import asked
from portcullis.config import Config
from portcullis.core.errors import Problem
from portcullis.core.release import text_digest
from portcullis.policy.delivery import files_of
from portcullis.policy.source import read
from portcullis.store.postgresql import reason

_WHAT = "policy release"


def released(config: Config) -> Iterator[Finding]:
    """Whether the folder's text is that of a release; nothing is made or changed."""
    if not config.policy_changes.approvals and config.policy_source is None:
        return
    path = config.state / "portcullis.db"
    if config.store.url is None and not path.exists():
        yield Finding(_WHAT, ok=True, found="the folder will be the first release")
        return
    query = "SELECT text, number, stage FROM policy_releases"
    try:
        if config.store.url is not None:
            rows = asked(config, query)
        else:
            with contextlib.closing(
                sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)
            ) as db:
                rows = db.execute(query).fetchall()
    except (sqlite3.Error, SQLAlchemyError, Problem) as error:
        yield Finding(_WHAT, ok=False, found=_said(error), do="Start the gate: it migrates.")
        return
    active = [number for _, number, stage in rows if stage == "active"]
    said = f"release {active[0]} is active" if active else "none is active yet"
    try:
        known = text_digest(files_of(read(config.policy))) in {text for text, _, _ in rows}
    except Problem:
        known = True  # the finding about the folder says what is wrong with it
    if known or not rows:
        yield Finding(_WHAT, ok=True, found=said)
    else:
        found = f"{said}; the folder has a text that no release has, and that is not in force"
        yield Finding(_WHAT, ok=False, found=found, do="Run `portcullis policy release propose`.")


def _said(error: Exception) -> str:
    if isinstance(error, SQLAlchemyError):
        return reason(error)
    return error.detail if isinstance(error, Problem) else str(error)
