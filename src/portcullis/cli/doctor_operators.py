"""What ``portcullis doctor`` says of operators' roles: which of them give nothing any more."""

from __future__ import annotations

import contextlib
import json
import sqlite3
from collections.abc import Iterator

from portcullis.cli.doctor_finding import Finding
from portcullis.config import Config


def operators(config: Config) -> Iterator[Finding]:
    """Each active operator with a role that there is not, or with rights that are kept apart."""
    path = config.state / "portcullis.db"
    if not path.exists():
        return
    query = "SELECT id, roles FROM principals WHERE kind = 'operator' AND state = 'active'"
    try:
        with contextlib.closing(
            sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)
        ) as db:
            rows = db.execute(query).fetchall()
    except sqlite3.Error:
        return  # the finding about the database says so
    known = config.operator_roles
    for name, text in sorted(rows):
        roles = json.loads(text)
        unknown, clash = known.unknown(roles), known.clash(roles)
        what, do = f"operator {name}", f"Run `portcullis operator role {name} --role ROLE`."
        if unknown:
            found = f"not configured, so that they give nothing: {', '.join(unknown)}"
            yield Finding(what, ok=False, found=found, do=do)
        if clash is not None:
            found = f"has not {clash[1]}, which nobody has beside {clash[0]}"
            yield Finding(what, ok=False, found=found, do=do)
