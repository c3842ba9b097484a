"""Whether the tenants of a provider are apart: what files and configurations say."""

from __future__ import annotations

import hashlib
import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path, PurePosixPath
from typing import Final
from urllib.parse import quote, urlsplit

import msgspec

from portcullis.config import Config
from portcullis.config.identity import FileKeys, OpenBaoKeys, Pkcs11Keys
from portcullis.config.places import VKEY, logs_of
from portcullis.config.replica import Replica
from portcullis.config.tenants import Tenant, listeners, tenants, within
from portcullis.core.codes import CODES
from portcullis.core.errors import Problem

_ANYWHERE: Final = frozenset({"0.0.0.0", "[::]", "*"})  # noqa: S104 - compared, not bound
_SECRET: Final = ("keys", "ca")
"""Below the state directory: where keys and certificates are that no other deployment has."""
_KEYS: Final = frozenset({".key", ".pem"})
_LOOPBACK: Final = {"localhost": "127.0.0.1", "[::1]": "127.0.0.1"}
"""Names of one place: ``localhost`` may be either."""


class Apart(msgspec.Struct, frozen=True):
    """Something by which tenants are not apart, or that could not be looked at."""

    code: str
    tenants: tuple[str, ...]
    found: str
    hint: str


@dataclass(frozen=True, slots=True)
class Looked:
    """A tenant, and what its configuration says."""

    tenant: Tenant
    config: Config

    @property
    def name(self) -> str:
        """Its name."""
        return self.tenant.name


def shared(first: Looked, second: Looked, found: str) -> Apart:
    """Two have one thing together."""
    return Apart("PC7095", (first.name, second.name), found, CODES["PC7095"].hint)


def reachable(found: str, *names: str) -> Apart:
    """What is a tenant's is open to others."""
    return Apart("PC7096", names, found, CODES["PC7096"].hint)


def looked_at(folder: Path) -> tuple[tuple[Looked, ...], tuple[Apart, ...]]:
    """Those whose configuration can be read, and what is wrong with the others."""
    good, bad = [], []
    for one in tenants(folder):
        try:
            good.append(Looked(one, one.config()))
        except Problem as problem:
            bad.append(Apart(problem.code, (one.name,), problem.detail, problem.hint))
    return tuple(good), tuple(bad)


def on_this_machine(folder: Path, all_of_them: tuple[Looked, ...]) -> Iterator[Apart]:
    """What the tenants of a folder have together, or open, in files and at addresses."""
    if stat.S_IMODE(folder.stat().st_mode) & 0o022:
        yield reachable(f"others may write in {folder}: chmod go-w {folder}")
    for one in all_of_them:
        yield from _open(one)
    secrets = {one.name: _digests(one) for one in all_of_them}
    for first, second in combinations(all_of_them, 2):
        if first.config.trust_domain == second.config.trust_domain:
            yield shared(first, second, f"the trust domain {first.config.trust_domain}")
        yield from _nested(first, second)
        yield from _same_keys(first, second, secrets)
        yield from _same_ports(first, second)
        yield from _same_places(first, second)


def _open(one: Looked) -> Iterator[Apart]:
    """Folders and files of its own that are open to other users."""
    places = {one.tenant.folder, one.config.state}
    if isinstance(one.config.keys, FileKeys) and one.config.keys.path is not None:
        places.add(one.config.keys.path)
    for place in sorted(places):
        if place.exists() and stat.S_IMODE(place.stat().st_mode) & 0o077:
            yield reachable(f"{place} is open to others: chmod go= {place}", one.name)


def _nested(first: Looked, second: Looked) -> Iterator[Apart]:
    for what, ours, theirs in (
        ("the folder", first.tenant.folder, second.tenant.folder),
        ("the state", first.config.state, second.config.state),
        ("the state, which lies in the other's folder,", first.config.state, second.tenant.folder),
        ("the state, which lies in the other's folder,", second.config.state, first.tenant.folder),
        ("the policy", first.config.policy, second.config.policy),
    ):
        if within(ours, theirs) or (within(theirs, ours) and "lies in" not in what):
            yield shared(first, second, f"{what} {ours.resolve()}")


def _same_keys(
    first: Looked, second: Looked, secrets: Mapping[str, Mapping[str, Path]]
) -> Iterator[Apart]:
    ours, theirs = secrets[first.name], secrets[second.name]
    for digest in sorted(ours.keys() & theirs.keys()):
        yield shared(first, second, f"a key: {ours[digest]} is {theirs[digest]}")
    keys = first.config.keys
    if isinstance(keys, Pkcs11Keys | OpenBaoKeys) and _place(keys) == _place(second.config.keys):
        yield shared(first, second, "the key of their key manager")
    if _origins(first) & _origins(second):
        yield shared(first, second, "the name of a log")


def _place(keys: object) -> tuple[str, ...]:
    """Where a key outside of files is."""
    match keys:
        case Pkcs11Keys():
            return ("pkcs11", keys.token, keys.label)
        case OpenBaoKeys():
            return ("openbao", keys.url.rstrip("/"), keys.mount.strip("/"), keys.key)
        case _:
            return ()


def _digests(one: Looked) -> dict[str, Path]:
    """The files that hold keys, by the digest of their content: a copy is the same key."""
    found: dict[str, Path] = {}
    there = (place for name in _SECRET for place in (one.config.state / name).rglob("*"))
    places = [place for place in there if place.suffix in _KEYS]
    if isinstance(one.config.keys, FileKeys) and one.config.keys.path is not None:
        places.append(one.config.keys.path)
    for place in sorted(places):
        if place.is_file() and (content := place.read_bytes()):
            found.setdefault(hashlib.sha256(content).hexdigest(), place)
    return found


def _origins(one: Looked) -> set[str]:
    """The names of its logs, as they stand in their keys."""
    return {
        (place / VKEY).read_text(encoding="utf-8").partition("+")[0]
        for place in logs_of(one.config).values()
    }


def _same_ports(first: Looked, second: Looked) -> Iterator[Apart]:
    for name, ours in listeners(first.config).items():
        for other, theirs in listeners(second.config).items():
            (host, port), (there, number) = _address(ours), _address(theirs)
            if port == number != "0" and (host == there or _ANYWHERE & {host, there}):
                yield shared(first, second, f"the address of {name} and {other}, {ours}")


def _address(said: str) -> tuple[str, str]:
    host, _, port = said.rpartition(":")
    return _LOOPBACK.get(host, host), port


def _same_places(first: Looked, second: Looked) -> Iterator[Apart]:
    """Where the copies of their logs are, and what browsers call their consoles."""
    for ours in first.config.audit.replicate:
        for theirs in second.config.audit.replicate:
            place, other = _copies(ours), _copies(theirs)
            if place.is_relative_to(other) or other.is_relative_to(place):
                yield shared(first, second, f"the store of copies {ours.store}")
    for name in sorted(_consoles(first.config) & _consoles(second.config)):
        found = f"the name of their consoles, {name}: a browser shows one its login at the other"
        yield shared(first, second, found)


def _copies(replica: Replica) -> PurePosixPath:
    scheme, _, place = replica.store.partition("://")
    if scheme == "file":
        return PurePosixPath("file", *Path(place).resolve().parts[1:])
    return PurePosixPath(scheme, quote(replica.endpoint or "", safe=""), place)


def _consoles(config: Config) -> set[str]:
    """Hosts that browsers have a cookie for."""
    if not config.console.enabled:
        return set()
    named = urlsplit(config.console.origin or "").hostname
    return {config.console.name} | ({named} if named else set())
