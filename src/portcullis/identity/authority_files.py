"""Where the authority keeps its keys and certificates, so that a crash costs nothing.

Below the state directory in ``ca/``: ``KIND-ID.pem`` (a certificate, or a JWT key's public half),
``KIND-ID.key`` (the private key, sealed) and ``state.json``, which names those that count. A
change writes new keys first and the state last, in one rename: whatever the state does not name
is left over from a change that never happened, or from one that is complete.
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from pathlib import Path
from typing import Final, Literal, TypeAlias

import msgspec

from portcullis.core.errors import Problem
from portcullis.identity.private import exclusive, read_private, write_private

Kind: TypeAlias = Literal["root", "signing", "jwt"]
STATE: Final = "state.json"
PREFIXES: Final = ("root-", "signing-", "jwt-")
"""How the names of keys' and certificates' files begin."""


class Key(msgspec.Struct, frozen=True, kw_only=True):
    """One of the authority's keys; times are seconds since the epoch.

    ``prepared``: in the bundle, signs nothing until ``active_at``. ``active``: signs.
    ``retired``: its private key is gone, it stays in the bundle until ``needed_until``, when
    everything that it signed has expired. ``root`` is what signed a signing key's certificate.
    """

    kind: Kind
    id: str
    state: Literal["prepared", "active", "retired"]
    created_at: float
    active_at: float
    not_after: float
    needed_until: float = 0.0
    root: str = ""

    @property
    def name(self) -> str:
        """How its files are called, without their endings."""
        return f"{self.kind}-{self.id}"

    @property
    def half(self) -> float:
        """When half of its life is over."""
        return self.created_at + (self.not_after - self.created_at) / 2


class State(msgspec.Struct, frozen=True, kw_only=True):
    """What ``state.json`` says. ``sequence`` is the bundle's."""

    trust_domain: str
    sequence: int
    keys: tuple[Key, ...]

    def of(self, kind: Kind, state: str) -> Key | None:
        """The prepared or active key of a kind."""
        return next((key for key in self.keys if (key.kind, key.state) == (kind, state)), None)

    def active(self, kind: Kind) -> Key:
        """The key of a kind that signs. Problem PC7008 when there is none."""
        found = self.of(kind, "active")
        if found is None:
            raise Problem("PC7008", f"the authority's state names no active {kind} key")
        return found

    def published(self, kind: Kind) -> tuple[Key, ...]:
        """The keys of a kind that belong into the bundle, the active one first."""
        found = [key for key in self.keys if key.kind == kind]
        return tuple(sorted(found, key=lambda key: (key.state != "active", key.id)))


class Files:
    """The directory. Faults are Problems PC7001; a file that is missing is a PC7008."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def exclusive(self) -> AbstractContextManager[None]:
        """Hold off other threads and processes while something changes."""
        return exclusive(self.directory)

    def raw_state(self) -> bytes | None:
        """``state.json`` as it stands, or None when there is none yet."""
        return read_private(self.directory / STATE)

    def put_state(self, state: State) -> None:
        """Make a change true: from here on, what ``state`` names counts."""
        self.put(STATE, msgspec.json.format(msgspec.json.encode(state)))

    def put(self, name: str, content: bytes) -> None:
        """Write a file, all of it or nothing."""
        write_private(self.directory / name, content)

    def get(self, name: str) -> bytes:
        """Read a file that has to be there."""
        found = read_private(self.directory / name)
        if found is None:
            raise Problem("PC7008", f"{name} of the authority is missing")
        return found

    def has(self, name: str) -> bool:
        """Whether there is such a file."""
        return (self.directory / name).exists()

    def any(self) -> bool:
        """Whether there is any key or certificate."""
        return any(path.name.startswith(PREFIXES) for path in self.directory.iterdir())

    def remove(self, name: str) -> None:
        """Remove a file."""
        try:
            (self.directory / name).unlink(missing_ok=True)
        except OSError as error:
            raise Problem("PC7001", f"cannot remove {name}: {error.strerror}") from None

    def tidy(self, state: State) -> None:
        """Remove what ``state`` does not name, and the private keys of what is retired."""
        kept = {f"{key.name}.pem" for key in state.keys}
        kept |= {f"{key.name}.key" for key in state.keys if key.state != "retired"}
        try:
            for path in self.directory.iterdir():
                if path.name.startswith(PREFIXES) and path.name not in kept:
                    path.unlink(missing_ok=True)
        except OSError as error:
            raise Problem("PC7001", f"cannot tidy {self.directory}: {error.strerror}") from None


def parse_state(raw: bytes) -> State:
    """What ``state.json`` says. Raises Problem PC7008 when it is not what we write."""
    try:
        return msgspec.json.decode(raw, type=State)
    except msgspec.DecodeError:
        raise Problem("PC7008", f"{STATE} of the authority is not what we write") from None
