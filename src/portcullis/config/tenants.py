"""Tenants of a provider: each is a deployment in a folder of its own (docs/tenants.md).

A provider's folder has one for each tenant, called as the tenant, with its ``portcullis.yaml``.
Whatever else lies there is no tenant's.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from portcullis.config import Config, load
from portcullis.core.errors import Problem
from portcullis.core.spiffe import MAX_TRUST_DOMAIN, TRUST_DOMAIN

FILE: Final = "portcullis.yaml"
MOST: Final = 24
"""Characters of a name: with ``portcullis_`` or ``tenant-`` before it, it is the name of a role in
PostgreSQL (63 at most, longer ones are cut without a word) and of a user of Linux (32)."""
_NAME: Final = re.compile(rf"[a-z](?:[a-z0-9-]{{0,{MOST - 2}}}[a-z0-9])?")
_LABEL: Final = re.compile(r"[a-z0-9_](?:[a-z0-9_-]*[a-z0-9_])?")


@dataclass(frozen=True, slots=True)
class Tenant:
    """A tenant by its name, and the folder that is its own."""

    name: str
    folder: Path

    @property
    def file(self) -> Path:
        """Its configuration."""
        return self.folder / FILE

    @property
    def environment(self) -> Path:
        """The environment of its processes, ``NAME=VALUE`` lines; there need not be one."""
        return self.folder / "environment"

    def config(self) -> Config:
        """What its configuration says. Raises Problem PC7001."""
        return load(self.file)


def tenant_name(name: str) -> str:
    """A name that a tenant may have: one label of a DNS name. Raises Problem PC7093."""
    if _NAME.fullmatch(name) is None:
        raise Problem("PC7093", f"a tenant's name is 1 to {MOST} of a-z, 0-9 and -, a letter first")
    return name


def trust_domain(name: str, parent: str) -> str:
    """The trust domain of a tenant: a name below its provider's. Raises Problem PC7093."""
    labels = parent.split(".")
    good = re.fullmatch(TRUST_DOMAIN, parent) and all(map(_LABEL.fullmatch, labels))
    found = f"{tenant_name(name)}.{parent}"
    if not good or len(found) > MAX_TRUST_DOMAIN:
        raise Problem("PC7093", "--parent is the provider's trust domain, such as example.org")
    return found


def tenants(folder: Path) -> tuple[Tenant, ...]:
    """Those that there are, by name. Raises Problem PC7094 where there is no such folder."""
    try:
        found = sorted(one.name for one in folder.iterdir())
    except OSError as error:
        raise Problem("PC7094", f"{folder}: {error.strerror}") from None
    named = (Tenant(name, folder / name) for name in found if _NAME.fullmatch(name))
    return tuple(one for one in named if one.file.is_file())


def tenant(folder: Path, name: str) -> Tenant:
    """One of them. Raises Problem PC7093, PC7094."""
    found = Tenant(tenant_name(name), folder / name)
    if not found.file.is_file():
        raise Problem("PC7094", f"there is no {name} in {folder}")
    return found


def listeners(config: Config) -> dict[str, str]:
    """The addresses where a deployment listens, ``host:port`` by the name of the listener."""
    said = config.listen.model_dump(exclude={"workload", "names"})
    return {name: address for name, address in said.items() if address is not None}


def within(inner: Path, outer: Path) -> bool:
    """Whether one place is another, or lies in it, whatever links lead there."""
    return inner.resolve().is_relative_to(outer.resolve())
