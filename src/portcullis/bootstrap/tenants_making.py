"""Making a tenant: its folder, configuration and policy, what it needs at shared servers."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import yaml

from portcullis.bootstrap import tenants_database, tenants_redis
from portcullis.bootstrap.foundation import ruling
from portcullis.config import Config, load
from portcullis.config.tenants import Tenant, listeners, tenant_name, tenants, trust_domain, within
from portcullis.core.errors import Problem
from portcullis.identity.private import write_private

OPENED: Final = ("gate", "control", "mtls")
"""The listeners that a new tenant has."""
_SQL, _ACL, _DRAFT = "database.sql", "redis.acl", "portcullis.draft.yaml"
_HEAD: Final = """\
# The tenant {name}. Check it with `portcullis doctor`; what else can stand here is in
# docs/reference/configuration.md, and in what `portcullis init` writes. Name its upstreams, and
# put what they need (env:NAME) into the file `environment` beside this one.
"""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a tenant is to have. ``listen`` are addresses by listener, for the rest ``ports``.

    ``database`` and ``redis`` are administrators' addresses, empty where it has files of its own.
    ``by_hand``: their statements are written down and not run.
    """

    name: str
    parent: str
    policy: str
    listen: Mapping[str, str]
    ports: range
    database: str = ""
    redis: str = ""
    by_hand: bool = False


@dataclass(frozen=True, slots=True)
class Made:
    """A tenant that was made. ``left`` is what somebody has to do, in words."""

    tenant: Tenant
    trust_domain: str
    listen: Mapping[str, str]
    left: tuple[str, ...]


def create(folder: Path, wanted: Wanted) -> Made:
    """Make a tenant in a provider's folder. Raises Problem PC7093, PC7094, and PC7001.

    What is there is never touched; when something fails, the tenant's folder is gone again.
    """
    domain = trust_domain(wanted.name, wanted.parent)
    new = Tenant(wanted.name, folder / wanted.name)
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    with _alone(folder):
        listen = _listens(tenants(folder), wanted)
        try:
            new.folder.mkdir(mode=0o700)
        except FileExistsError:
            half = "" if new.file.exists() else ", and no tenant: delete it when it is half of one"
            raise Problem("PC7094", f"{new.folder} is there already{half}") from None
        try:
            needs = _needs(domain, wanted)
            _write(new, needs, wanted.policy)
            text: dict[str, object] = {"trust_domain": domain, "listen": dict(listen)}
            text |= _console(new) | needs.sections()
            head, draft = _HEAD.format(name=wanted.name), new.folder / _DRAFT
            write_private(draft, (head + yaml.safe_dump(text, sort_keys=False)).encode())
            load(draft)  # before anybody at a server is told
            left = _told(new, needs, wanted)
            draft.rename(new.file)
        except BaseException:
            shutil.rmtree(new.folder)
            raise
    return Made(new, domain, listen, left)


def removed(one: Tenant, config: Config, now: float) -> tuple[Path, tuple[str, ...]]:
    """Set a tenant aside; where it is now, and what is left elsewhere.

    Raises Problem PC6003 while a process of its rules, also one that does not serve yet.
    """
    inside = within(config.state, one.folder)
    stamp = time.strftime("%Y%m%d-%H%M%S", time.gmtime(now))
    aside = one.folder.with_name(f"{one.name}.removed-{stamp}")
    with ruling(config.state) if config.state.is_dir() else contextlib.nullcontext():
        one.folder.rename(aside)
    left = [f"the logs and all else of it, in {aside}: keep them as long as evidence is kept"]
    if not inside:
        left.append(f"its state, in {config.state}")
    if config.store.url is not None:
        left.append(f"its records: {'; '.join(tenants_database.gone(one.name))}")
    if config.counters.via == "redis" or config.feed.via == "redis" or config.shared.url:
        gone = tenants_redis.gone(one.name)
        left.append(f"its users in Redis: {gone}; their keys expire by themselves")
    return aside, tuple(left)


@dataclass(frozen=True, slots=True)
class _Needs:
    """What a tenant is to have at servers that tenants share."""

    database: tenants_database.TenantDatabase | None
    users: tuple[tenants_redis.TenantUser, ...]

    def sections(self) -> dict[str, object]:
        """Those of its configuration."""
        found: dict[str, object] = {}
        for one in self.users:
            at: dict[str, object] = {"url": f"file:{one.use.name}.url"}
            found[one.use.name] = at if one.use.name == "shared" else {"via": "redis", **at}
        if self.database is not None:
            found["store"] = {"url": "file:database.url"}
        return found


def _needs(domain: str, wanted: Wanted) -> _Needs:
    name = wanted.name
    database = tenants_database.database_of(name, wanted.database) if wanted.database else None
    users = tenants_redis.users_of(name, domain, wanted.redis) if wanted.redis else ()
    return _Needs(database, users)


def _write(new: Tenant, needs: _Needs, policy: str) -> None:
    """The files of its folder, but for the configuration."""
    for one in needs.users:
        write_private(new.folder / f"{one.use.name}.url", one.url.encode())
    if needs.database is not None:
        write_private(new.folder / "database.url", needs.database.url.encode())
    (new.folder / "policy").mkdir(mode=0o700)
    (new.folder / "policy" / "main.yaml").write_text(policy, encoding="utf-8")


def _told(new: Tenant, needs: _Needs, wanted: Wanted) -> tuple[str, ...]:
    """Have the servers told, or write down what to tell them; what is left to do."""
    database, users, left = needs.database, needs.users, []
    if wanted.by_hand:
        if database is not None:
            lines = "".join(f"{one};\n" for one in database.statements)
            write_private(new.folder / _SQL, lines.encode())
            left.append(f"run {new.folder / _SQL} as PostgreSQL's administrator")
        if users:
            lines = "".join(f"user {one.name} {one.rules}\n" for one in users)
            write_private(new.folder / _ACL, lines.encode())
            left.append(f"add {new.folder / _ACL} to the ACL file of each server of Redis")
        return tuple(left)
    if database is not None:
        left.append(tenants_database.make(database, wanted.database))
    if users:
        try:
            left += tenants_redis.make(users, wanted.redis)
        except Problem as problem:
            there = "" if database is None else f"; left: {database.name} in PostgreSQL"
            raise Problem(problem.code, problem.detail + there, hint=problem.hint) from None
    return tuple(filter(None, left))


def _console(new: Tenant) -> dict[str, object]:
    """A name that no other console of this machine has: browsers tell cookies apart by it."""
    return {"console": {"name": f"{new.name}.localhost"}}


def _listens(others: Sequence[Tenant], wanted: Wanted) -> dict[str, str]:
    """Where the new one listens: as it was said, else at ports that no other tenant names."""
    tenant_name(wanted.name)
    taken = {_port(said) for one in others for said in listeners(one.config()).values()}
    taken |= {_port(said) for said in wanted.listen.values()}
    free = (port for port in wanted.ports if port not in taken)
    found = dict(wanted.listen)
    for name in OPENED:
        if name not in found:
            port = next(free, None)
            if port is None:
                detail = f"no port of {wanted.ports.start} to {wanted.ports.stop - 1} is left"
                raise Problem("PC7094", detail, hint="Give other --ports.")
            found[name] = f"127.0.0.1:{port}"
    return found


def _port(address: str) -> int:
    return int(address.rpartition(":")[2])


@contextlib.contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """No other command makes a tenant here meanwhile."""
    held = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(held, fcntl.LOCK_EX)
        yield
    finally:
        os.close(held)
