"""Timestamps over the log and copies of it elsewhere."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal, Protocol, TypeVar
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field

from portcullis.config.common import SECRET, Name, Section, Url


class _HasName(Protocol):
    @property
    def name(self) -> str: ...


_Named = TypeVar("_Named", bound=_HasName)


def _distinct(named: tuple[_Named, ...]) -> tuple[_Named, ...]:
    """The same, or ValueError when two have one name."""
    if len({one.name for one in named}) < len(named):
        msg = "two have the same name"
        raise ValueError(msg)
    return named


class TimestampAuthority(Section):
    """One authority of RFC 3161. ``certificates`` (PEM) are the roots that vouch for it.

    Its tokens are signed, so that plain http serves as well as https.
    """

    name: Name
    url: Url
    certificates: Path


class Timestamps(Section):
    """Each authority is asked for a token over the published checkpoint this often."""

    every_minutes: float = Field(default=10, gt=0, le=1440)
    authorities: Annotated[tuple[TimestampAuthority, ...], AfterValidator(_distinct)] = ()


class Replica(Section):
    """A store to which the log is shipped: ``s3://``, ``gs://``, ``az://`` or ``file:///``.

    ``retention_days`` locks what is shipped for so long (S3 object lock): it needs the keys, as
    references; ``session_token`` belongs to temporary ones. ``every_seconds`` is how often it is
    shipped, ``lag_seconds`` how far it may be behind before that is an alarm. What was shipped is
    looked at again, ``checks_per_minute`` objects; 0 for none.
    """

    name: Name
    store: str = Field(pattern=r"^(s3|gs|az|file)://[^@?#\s]+$")
    region: str | None = Field(default=None, pattern=r"^[a-z0-9-]+$")
    endpoint: Url | None = None
    access_key: str | None = Field(default=None, pattern=SECRET)
    secret_key: str | None = Field(default=None, pattern=SECRET)
    session_token: str | None = Field(default=None, pattern=SECRET)
    retention_days: float | None = Field(default=None, gt=0, le=36_500)
    retention: Literal["governance", "compliance"] = "compliance"
    every_seconds: float = Field(default=5, gt=0, le=3600)
    lag_seconds: float = Field(default=300, gt=0)
    checks_per_minute: float = Field(default=6, ge=0, le=6000)

    def model_post_init(self, context: Any, /) -> None:
        """What is given makes sense together."""
        del context
        s3 = urlsplit(self.store).scheme == "s3"
        if not s3 and (self.region or self.endpoint or self.access_key):
            msg = "region, endpoint and keys are for s3:// only"
            raise ValueError(msg)
        if (self.access_key is None) != (self.secret_key is None):
            msg = "give both of access_key and secret_key or neither"
            raise ValueError(msg)
        if self.session_token is not None and not self.access_key:
            msg = "session_token belongs to access_key and secret_key"
            raise ValueError(msg)
        if self.retention_days is not None and not self.access_key:
            msg = "retention_days needs s3:// with access_key and secret_key"
            raise ValueError(msg)


Replicas = Annotated[tuple[Replica, ...], AfterValidator(_distinct)]
"""The replicas of one log."""
