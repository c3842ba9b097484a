"""Access reviews over SQL, the same for every process of a deployment."""

from __future__ import annotations

from typing import Final

import msgspec
from sqlalchemy import Engine, RowMapping, delete, func, insert, select

from portcullis.core.certificate import Certificate, Reviewed, Said
from portcullis.store.dialect import writing
from portcullis.store.tables_certificates import CERTIFICATES, CERTIFICATES_DUE, POLICY_REVIEWS

_FIELDS: Final = Certificate.__struct_fields__


class SqlCertificates:
    """Implements ``core.certificate_ports.CertificateBook``. Every method blocks."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._writing = writing(engine, "certificates")

    def confirmed(self) -> dict[str, Certificate]:
        """The last confirmation of each agent."""
        row = CERTIFICATES.c
        last = (
            select(func.max(row.number)).where(row.said == Said.CONFIRMED.value).group_by(row.agent)
        )
        with self._engine.connect() as connection:
            rows = connection.execute(select(CERTIFICATES).where(row.number.in_(last))).mappings()
            return {one["agent"]: _certificate(one) for one in rows}

    def history(self, agent: str, limit: int) -> tuple[Certificate, ...]:
        """An agent's last certificates, the newest first."""
        row = CERTIFICATES.c
        query = select(CERTIFICATES).where(row.agent == agent).order_by(row.number.desc())
        with self._engine.connect() as connection:
            rows = connection.execute(query.limit(limit)).mappings()
            return tuple(_certificate(one) for one in rows)

    def add(self, certificate: Certificate) -> None:
        """Keep one."""
        row = msgspec.structs.asdict(certificate) | {"said": certificate.said.value}
        with self._writing.begin() as connection:
            connection.execute(insert(CERTIFICATES).values(row))

    def review(self) -> Reviewed | None:
        """The last review."""
        with self._engine.connect() as connection:
            row = connection.execute(select(POLICY_REVIEWS)).mappings().one_or_none()
        if row is None:
            return None
        return Reviewed(
            at=row["at"], release=row["release"], why=row["why"], report=bytes(row["report"])
        )

    def put(self, review: Reviewed) -> None:
        """Keep a review in place of the last one."""
        with self._writing.begin() as connection:
            connection.execute(delete(POLICY_REVIEWS))
            connection.execute(
                insert(POLICY_REVIEWS).values({"one": 1} | msgspec.structs.asdict(review))
            )

    def overdue(self, agent: str, due: float) -> bool:
        """Note that it was told; whether that is new."""
        row = CERTIFICATES_DUE.c
        with self._writing.begin() as connection:
            known = connection.execute(select(row.due).where(row.agent == agent)).scalar()
            if known == due:
                return False
            connection.execute(delete(CERTIFICATES_DUE).where(row.agent == agent))
            connection.execute(insert(CERTIFICATES_DUE).values(agent=agent, due=due))
        return True


def _certificate(row: RowMapping) -> Certificate:
    return Certificate(**{name: row[name] for name in _FIELDS} | {"said": Said(row["said"])})
