"""What the sections of the configuration have in common."""

from __future__ import annotations

from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

NAME = r"^[a-z0-9][a-z0-9_-]{0,62}$"
Name = Annotated[str, Field(pattern=NAME)]
SECRET = r"^(env|file):.+$"  # noqa: S105 - the form of a reference, not a secret


def _reaches(url: str) -> str:
    """An address that can be connected to and holds no secret; else ValueError."""
    parts = urlsplit(url)
    try:
        complete = parts.scheme in {"http", "https"} and parts.hostname and parts.port != 0
    except ValueError:  # its message repeats what stands where a port belongs
        complete = False
    if not complete:
        msg = "expected http:// or https://, a host and perhaps a port"
        raise ValueError(msg)
    if "@" in parts.netloc or parts.fragment:
        msg = "a URL holds no credential and no fragment; use `credential`"
        raise ValueError(msg)
    return url


def before_v1(url: str) -> str:
    """An address to which the gate can add ``/v1``; else ValueError."""
    if url.rstrip("/").endswith("/v1"):
        msg = "the url ends before /v1, which the gate adds"
        raise ValueError(msg)
    return url


Url = Annotated[str, AfterValidator(_reaches)]


class Section(BaseModel):
    """A section: no unknown key, nothing changes after loading."""

    model_config = ConfigDict(extra="forbid", frozen=True)
