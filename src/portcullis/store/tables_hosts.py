"""The tables about gateways on other hosts: what they are told, and what they say of themselves."""

from __future__ import annotations

from typing import Final

from sqlalchemy import BigInteger, Column, Double, LargeBinary, String, Table

from portcullis.store.tables import METADATA

SHARED_FILES: Final = Table(
    "shared_files",
    METADATA,
    Column("name", String(63), primary_key=True),
    Column("version", BigInteger, nullable=False),
    Column("sealed", LargeBinary, nullable=False),
)
"""Files of the control plane that change together; ``sealed`` has their version too."""

GATEWAYS: Final = Table(
    "gateways",
    METADATA,
    Column("name", String(63), primary_key=True),
    Column("process", String(64), nullable=False),
    Column("expires", Double, nullable=False),
    Column("sealed", LargeBinary, nullable=False),
    Column("figures", LargeBinary, nullable=False),
)
"""What gateways say; the name is that of ``process`` until ``expires``, by the database's clock."""
