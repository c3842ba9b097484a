"""What was counted of releases in shadow and canary: a row for each gateway, added up when read."""

from __future__ import annotations

from typing import Final

from sqlalchemy import Connection, delete, func, insert, select

from portcullis.core.release import MOST_DIFFERENCES, Arm, Difference, Tallies
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
_KINDS: Final = POLICY_DIFFERENCES.c


def put(connection: Connection, number: int, gateway: str, tallies: Tallies) -> None:
    """Replace what a gateway counted of a release."""
    for table in (POLICY_TALLIES, POLICY_DIFFERENCES):
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
    rows = [
        place | {"agent": one.agent, "name": one.name, "was": one.was, "now": one.now, "count": n}
        for one, n in tallies.differences.items()
    ]
    if rows:
        connection.execute(insert(POLICY_DIFFERENCES), rows)


def counted(connection: Connection, number: int) -> Tallies:
    """What all gateways counted of a release, the most frequent differences first."""
    table = POLICY_TALLIES.c
    sums = [func.coalesce(func.sum(table[name]), 0).label(name) for name in _COUNTS]
    row = connection.execute(select(*sums).where(table.number == number)).mappings().one()
    total = func.sum(_KINDS.count).label("total")
    kinds = (_KINDS.agent, _KINDS.name, _KINDS.was, _KINDS.now)
    query = (
        select(*kinds, total)
        .where(_KINDS.number == number)
        .group_by(*kinds)
        .order_by(total.desc(), *kinds)
        .limit(MOST_DIFFERENCES)
    )
    found = connection.execute(query).all()
    return Tallies(
        canary=Arm(decisions=row["canary_decisions"], denials=row["canary_denials"]),
        rest=Arm(decisions=row["rest_decisions"], denials=row["rest_denials"]),
        compared=row["compared"],
        dropped=row["dropped"],
        others=row["others"],
        differences={
            Difference(agent=one[0], name=one[1], was=one[2], now=one[3]): int(one[4])
            for one in found
        },
    )


def forget(connection: Connection, number: int) -> None:
    """Forget what was counted of a release."""
    for table in (POLICY_TALLIES, POLICY_DIFFERENCES):
        connection.execute(delete(table).where(table.c.number == number))
