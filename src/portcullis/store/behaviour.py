"""How agents stand and what is usual for them, in the database; and ``FollowedLevels``."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from typing import Any, Final

import msgspec
import structlog
from sqlalchemy import Connection, Engine, Row, delete, insert, select, update

from portcullis.audit.export.source import Position
from portcullis.core.behaviour import Line, Phase, RiskLevel, Standing, Thresholds
from portcullis.core.ports import Clock
from portcullis.oversight.behaviour.learner import lines
from portcullis.oversight.behaviour.profile import Profile
from portcullis.store.dialect import Version, data_version, unseen, writing
from portcullis.store.tables import BEHAVIOUR, BEHAVIOUR_POSITIONS

log = structlog.get_logger(__name__)

_standing: Final = msgspec.json.Decoder(Standing).decode
_profile: Final = msgspec.msgpack.Decoder(Profile).decode
_FOLLOW_SECONDS: Final = 0.2
_FAULT_SECONDS: Final = 2.0
_REASONS: Final = 5


class SqlBehaviour:
    """An adapter of ``core.behaviour.BehaviourStore``, and where whoever learns keeps it all.

    There is one who learns. It writes standings at once and profiles from time to time, together
    with the positions that they reach to: what starts again learns on from there, and scores the
    same events the same way. A human's word, which raises ``turn``, is never written over. Every
    method blocks.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._writing = writing(engine, "behaviour")

    def list(self) -> tuple[Standing, ...]:
        """See BehaviourStore."""
        query = select(*_WORD, BEHAVIOUR.c.standing).order_by(BEHAVIOUR.c.agent)
        with self._engine.connect() as connection:
            return tuple(map(_read, connection.execute(query)))

    def get(self, agent: str) -> Standing | None:
        """See BehaviourStore."""
        query = select(*_WORD, BEHAVIOUR.c.standing).where(BEHAVIOUR.c.agent == agent)
        with self._engine.connect() as connection:
            row = connection.execute(query).one_or_none()
        return None if row is None else _read(row)

    def usual(self, agent: str) -> tuple[Line, ...]:
        """See BehaviourStore."""
        query = select(BEHAVIOUR.c.profile).where(BEHAVIOUR.c.agent == agent)
        with self._engine.connect() as connection:
            found = connection.execute(query).scalar_one_or_none()
        return () if found is None else lines(_profile(found))

    def decide(self, agent: str, turn: int, phase: Phase, *, by: str, why: str, at: float) -> bool:
        """See BehaviourStore."""
        row = BEHAVIOUR.c
        change = (
            update(BEHAVIOUR)
            .where(row.agent == agent, row.turn == turn)
            .values(
                phase=phase.value,
                turn=turn + 1,
                score=0.0,
                by=by,
                why=why,
                decided_at=at,
            )
        )
        with self._writing.begin() as connection:
            return connection.execute(change).rowcount == 1

    def words(self) -> dict[str, tuple[Phase, int]]:
        """What phase and turn each agent is at."""
        row = BEHAVIOUR.c
        with self._engine.connect() as connection:
            found = connection.execute(select(row.agent, row.phase, row.turn)).all()
        return {one.agent: (Phase(one.phase), one.turn) for one in found}

    def profiles(self) -> tuple[tuple[Profile, ...], dict[str, Position]]:
        """What was learned, and up to where in each log."""
        with self._engine.connect() as connection:
            kept = connection.execute(
                select(BEHAVIOUR.c.profile).where(BEHAVIOUR.c.profile.is_not(None))
            ).scalars()
            places = connection.execute(select(BEHAVIOUR_POSITIONS)).all()
            return (
                tuple(map(_profile, kept)),
                {one.log: Position(one.next, one.root) for one in places},
            )

    def keep(self, standings: Iterable[Standing]) -> None:
        """Write how agents stand; of one with a newer word of a human's, nothing."""
        with self._writing.begin() as connection:
            for one in standings:
                _put(connection, one, None)

    def keep_all(
        self, profiles: Mapping[str, tuple[Standing, Profile]], places: Mapping[str, Position]
    ) -> None:
        """Write profiles, and up to where they know the logs, at once."""
        with self._writing.begin() as connection:
            for standing, profile in profiles.values():
                _put(connection, standing, msgspec.msgpack.encode(profile))
            for name, position in places.items():
                here = BEHAVIOUR_POSITIONS.c.log == name
                connection.execute(delete(BEHAVIOUR_POSITIONS).where(here))
                values = {"log": name, "next": position.next, "root": position.root}
                connection.execute(insert(BEHAVIOUR_POSITIONS).values(values))


_WORD: Final = (
    BEHAVIOUR.c.phase,
    BEHAVIOUR.c.turn,
    BEHAVIOUR.c.by,
    BEHAVIOUR.c.why,
    BEHAVIOUR.c.decided_at,
)


def _read(row: Row[Any, Any, Any, Any, Any, Any]) -> Standing:
    """A standing; what a human said since counts more than what the learner knew."""
    found: Standing = _standing(row.standing)
    if row.turn > found.turn:
        found = msgspec.structs.replace(found, score=0.0, reasons=(), phase=Phase(row.phase))
    return msgspec.structs.replace(
        found, turn=row.turn, by=row.by, why=row.why, decided_at=row.decided_at
    )


def _put(connection: Connection, one: Standing, profile: bytes | None) -> None:
    row = BEHAVIOUR.c
    values = {
        "phase": one.phase.value,
        "score": one.score,
        "scored_at": one.scored_at,
        "standing": msgspec.json.encode(one),
    }
    if profile is not None:
        values["profile"] = profile
    here = update(BEHAVIOUR).where(row.agent == one.agent, row.turn == one.turn)
    if connection.execute(here.values(values)).rowcount:
        return
    if connection.execute(select(row.turn).where(row.agent == one.agent)).one_or_none() is None:
        new = {"agent": one.agent, "turn": one.turn, "by": "", "why": "", "decided_at": 0.0}
        connection.execute(insert(BEHAVIOUR).values(new | values))


class FollowedLevels:
    """An adapter of ``core.behaviour.RiskLevels``: follows the database, and lets scores decay.

    While the database cannot be read the last known scores hold; nothing is allowed then, for the
    kill feed stands on the same database. ``watch`` follows it, at most 0.2 seconds behind.
    """

    def __init__(self, engine: Engine, clock: Clock, thresholds: Thresholds) -> None:
        self._engine = engine
        self._clock = clock
        self._thresholds = thresholds
        self._known: dict[str, tuple[float, float, Phase]] = {}
        self._standings: dict[str, bytes] = {}

    def level(self, agent: str) -> RiskLevel:
        """See RiskLevels."""
        found = self._known.get(agent)
        if found is None:
            return RiskLevel.NORMAL
        score, at, phase = found
        left = self._thresholds.decayed(score, self._clock.now() - at)
        return self._thresholds.level(left, phase)

    def score(self, agent: str) -> float:
        """What is left of an agent's score."""
        score, at, _ = self._known.get(agent, (0.0, 0.0, Phase.LEARNING))
        return self._thresholds.decayed(score, self._clock.now() - at)

    def agents(self) -> tuple[str, ...]:
        """Those that have a score; all others are normal."""
        return tuple(self._known)

    def refresh(self) -> None:
        """Read all scores now. Blocks."""
        row = BEHAVIOUR.c
        query = select(row.agent, row.score, row.scored_at, row.phase, row.standing)
        with self._engine.connect() as connection:
            found = connection.execute(query.where(row.score > 0.0)).all()
        self._standings = {one.agent: one.standing for one in found}
        self._known = {one.agent: (one.score, one.scored_at, Phase(one.phase)) for one in found}

    def reasons(self, agent: str) -> tuple[str, ...]:
        """Why, the heaviest first, in a few short lines."""
        found = self._standings.get(agent)
        some = () if found is None else _standing(found).reasons[:_REASONS]
        return tuple(f"{one.kind}: {one.subject}: {one.seen} ({one.usual})" for one in some)

    async def watch(self) -> None:
        """Follow what whoever learns says, until cancelled."""
        seen = unseen()
        failing = False
        connection = await asyncio.to_thread(self._engine.connect)
        reading: asyncio.Future[Version] | None = None
        try:
            while True:
                reading = asyncio.ensure_future(asyncio.to_thread(self._follow, connection, seen))
                try:
                    seen = await asyncio.shield(reading)
                    failing = False
                except Exception as error:  # noqa: BLE001 - it goes on with what it knows
                    if not failing:
                        log.warning("risk_levels_not_read", fault=type(error).__name__)
                    failing = True
                await asyncio.sleep(_FAULT_SECONDS if failing else _FOLLOW_SECONDS)
        finally:
            if reading is not None:
                await asyncio.wait([reading])  # its thread still uses the connection
            connection.close()

    def _follow(self, connection: Connection, seen: Version) -> Version:
        """Read again if somebody wrote since ``seen``; the version now."""
        with connection.begin():
            version = data_version(connection)
        if version != seen:
            self.refresh()
        return version
