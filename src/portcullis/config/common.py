"""What the sections of the configuration have in common."""

from __future__ import annotations

from ipaddress import ip_address
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

NAME = r"^[a-z0-9][a-z0-9_-]{0,62}$"
Name = Annotated[str, Field(pattern=NAME)]
SECRET = r"^((env|file):.+|(openbao|vault|aws-sm):[^#]+#[^#]+)$"  # noqa: S105 - a reference's form
LOCAL_SECRET = r"^(env|file):.+$"  # noqa: S105 - the same, of what needs no server

_LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})


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


def guarded(url: str) -> str:
    """An address on the way to which nobody reads along; else ValueError."""
    parts = urlsplit(url)
    if parts.scheme != "https" and parts.hostname not in _LOOPBACK:
        msg = "https, or http to loopback (127.0.0.1, [::1], localhost)"
        raise ValueError(msg)
    return url


def loopback(url: str) -> bool:
    """Whether an address is one of this machine. ValueError for one that is malformed."""
    host = (urlsplit(url).hostname or "").rstrip(".")
    try:
        found = ip_address(host)
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")
    mapped = getattr(found, "ipv4_mapped", None)
    return found.is_loopback or found.is_unspecified or bool(mapped and mapped.is_loopback)


Guarded = Annotated[Url, AfterValidator(guarded)]


def _host_port(address: str) -> str:
    host, _, port = address.rpartition(":")
    if not host or not port.isdigit() or not 0 < int(port) < 65536:  # noqa: PLR2004 - a port
        msg = "expected host:port"
        raise ValueError(msg)
    return address


HostPort = Annotated[str, AfterValidator(_host_port)]


def local(address: str) -> bool:
    """Whether a ``host:port`` is on this machine."""
    return address.rpartition(":")[0].strip("[]") in _LOOPBACK


class Section(BaseModel):
    """A section: no unknown key, nothing changes after loading."""

    model_config = ConfigDict(extra="forbid", frozen=True)
