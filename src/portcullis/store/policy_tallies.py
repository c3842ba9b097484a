"""What was counted of releases in shadow and canary: a row for each gateway, added up when read."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import msgspec
from sqlalchemy import Connection, Table, delete, func, insert, select

from portcullis.core.release import MOST_DIFFERENCES, Arm, Difference, Tallies
from portcullis.store.tables_canaries import POLICY_CANARIES
from portcullis.store.tables_releases import POLICY_DIFFERENCES, POLICY_TALLIES

_COUNTS: Final = (
    "canary_decisions",
    "canary_denials",
    "rest_decisions",
    "rest_denials",
    "compared",
    "dropped",
    "others",
)
_WEIGHED: Final = ("canary_sessions", "canary_share", "rest_sessions", "rest_share")
_KINDS: Final = POLICY_DIFFERENCES.c
_TABLES: Final = (POLICY_TALLIES, POLICY_CANARIES, POLICY_DIFFERENCES)
_hit: Final = msgspec.json.Decoder(frozenset[str]).decode


def put(connection: Connection, number: int, gateway: str, tallies: Tallies) -> None:
    """Replace what a gateway counted of a release."""
    for table in _TABLES:
        here = table.c.number == number, table.c.gateway == gateway
        connection.execute(delete(table).where(*here))
    place = {"number": number, "gateway": gateway}
    row = place | {
        "canary_decisions": tallies.canary.decisions,
        "canary_denials": tallies.canary.denials,
        "rest_decisions": tallies.rest.decisions,
        "rest_denials": tallies.rest.denials,
        "compared": tallies.compared,
        "dropped": tallies.dropped,
        "others": tallies.others,
    }
    connection.execute(insert(POLICY_TALLIES).values(row))
    weighed = place | {
        "canary_sessions": tallies.canary.sessions,
        "canary_share": tallies.canary.share,
        "rest_sessions": tallies.rest.sessions,
        "rest_share": tallies.rest.share,
        "hit": msgspec.json.encode(sorted(tallies.hit)).decode(),
    }
    connection.execute(insert(POLICY_CANARIES).values(weighed))
    rows = [
        place | {"agent": one.agent, "name": one.name, "was": one.was, "now": one.now, "count": n}
        for one, n in tallies.differences.items()
    ]
    if rows:
        connection.execute(insert(POLICY_DIFFERENCES), rows)


def counted(connection: Connection, number: int) -> Tallies:
    """What all gateways counted of a release, the most frequent differences first."""
    row = _sums(connection, POLICY_TALLIES, _COUNTS, number)
    weighed = _sums(connection, POLICY_CANARIES, _WEIGHED, number)
    hit = select(POLICY_CANARIES.c.hit).where(POLICY_CANARIES.c.number == number)
    total = func.sum(_KINDS.count).label("total")
    kinds = (_KINDS.agent, _KINDS.name, _KINDS.was, _KINDS.now)
    query = (
        select(*kinds, total)
        .where(_KINDS.number == number)
        .group_by(*kinds)
        .order_by(total.desc(), *kinds)
        .limit(MOST_DIFFERENCES)
    )
    kinds_found = connection.execute(query).all()
    return Tallies(
        canary=_arm("canary", row, weighed),
        rest=_arm("rest", row, weighed),
        compared=int(row["compared"]),
        dropped=int(row["dropped"]),
        others=int(row["others"]),
        differences={
            Difference(agent=one[0], name=one[1], was=one[2], now=one[3]): int(one[4])
            for one in kinds_found
        },
        hit=frozenset().union(*map(_hit, connection.execute(hit).scalars())),
    )


def _sums(
    connection: Connection, table: Table, names: tuple[str, ...], number: int
) -> Mapping[str, float]:
    sums = [func.coalesce(func.sum(table.c[name]), 0).label(name) for name in names]
    row = connection.execute(select(*sums).where(table.c.number == number)).mappings().one()
    return {name: row[name] for name in names}


def _arm(side: str, row: Mapping[str, float], weighed: Mapping[str, float]) -> Arm:
    return Arm(
        decisions=int(row[f"{side}_decisions"]),
        denials=int(row[f"{side}_denials"]),
        sessions=int(weighed[f"{side}_sessions"]),
        share=float(weighed[f"{side}_share"]),
    )


def forget(connection: Connection, number: int) -> None:
    """Forget what was counted of a release."""
    for table in _TABLES:
        connection.execute(delete(table).where(table.c.number == number))
