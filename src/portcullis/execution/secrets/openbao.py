"""``openbao:PATH#KEY``: OpenBao or Vault, both versions of KV and whatever leases credentials.

A path is as the command line has it (``kv/data`` is never written out): the mount says whether it
is KV of version 2. Everything else is read as it stands, and when it comes with a lease
(``database/creds/ROLE``) that is renewed, replaced before it ends, and given back. All keys of a
path come from one answer, so a user name and its password belong together.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from threading import RLock
from typing import Any, Final
from urllib.parse import quote

import msgspec

from portcullis.core.errors import Problem
from portcullis.core.secret import Secret
from portcullis.execution.secrets.openbao_http import OpenBaoHttp
from portcullis.execution.secrets.value import sendable

_OK: Final = 200
_RENEW_AT: Final = 0.5
"""The part of a lease after which it is renewed."""
_REPLACE_AT: Final = 0.8
"""The part of a lease that cannot be renewed (any more) after which there is a new one."""
_AGAIN_SECONDS: Final = 5.0
_AGAIN_PART: Final = 0.1
"""After a fault a lease is tried again in this part of what is left of it, or in 5 seconds."""
_MOST: Final = 1024
"""Paths that are held at once."""


class _Held(msgspec.Struct):
    """What a path answered, and what is due about it; times are of the monotonic clock."""

    values: dict[str, Secret]
    fresh_until: float
    lease: str = ""
    renewable: bool = False
    seconds: float = 0.0
    due: float = 0.0
    ends: float = 0.0
    used: float = 0.0


class OpenBaoSecrets:
    """A ``RemoteSource`` over one server, for any threads.

    A value is asked for anew after ``fresh_seconds``, a leased one when its lease has to be
    replaced. A lease that was replaced is revoked ``overlap_seconds`` later. ``now`` is a
    monotonic clock. Raises Problem PC5007 for a path or key that is not there, PC5067 when the
    server does not answer or refuses us.
    """

    def __init__(
        self,
        server: OpenBaoHttp,
        *,
        fresh_seconds: float,
        overlap_seconds: float,
        now: Callable[[], float],
    ) -> None:
        self._server = server
        self._fresh = fresh_seconds
        self._overlap = overlap_seconds
        self._now = now
        self._lock = RLock()
        self._held: dict[str, _Held] = {}
        self._second: dict[str, bool] = {}
        self._leaving: list[tuple[float, str]] = []

    def ready(self, reference: str) -> Secret | None:
        """See RemoteSource."""
        path, _, key = reference.partition("#")
        held, now = self._held.get(path), self._now()
        if held is None or now >= held.fresh_until:
            return None
        held.used = now
        return held.values.get(key)

    def resolve(self, reference: str) -> Secret:
        """See RemoteSource. Blocks."""
        path, _, key = reference.partition("#")
        if not path or not key:
            raise Problem("PC5007", "a reference to OpenBao is openbao:PATH#KEY")
        with self._lock:
            known = self.ready(reference)
            if known is not None:
                return known
            held = self._read(path)
            secret = held.values.get(key)
            if secret is None:
                raise Problem("PC5007", f"openbao:{path} has no text called {key}")
            return secret

    def forget(self, reference: str) -> None:
        """See RemoteSource: what was leased is given back when it is overlapped."""
        held = self._held.get(reference.partition("#")[0])
        if held is not None:
            held.fresh_until = 0.0

    def leased(self, reference: str) -> bool:
        """See RemoteSource."""
        held = self._held.get(reference.partition("#")[0])
        return held is not None and bool(held.lease)

    def tend(self) -> None:
        """See RemoteSource. Blocks."""
        fault: Problem | None = None
        with self._lock:
            now = self._now()
            for path, held in tuple(self._held.items()):
                idle = now - held.used >= self._fresh
                if idle and now >= min(held.fresh_until, held.due or held.fresh_until):
                    del self._held[path]
                    self._leave(held, 0.0)
                elif held.lease and now >= held.due:
                    try:
                        self._kept(path, held)
                    except Problem as problem:
                        fault = problem
                        held.due = now + max(_AGAIN_SECONDS, (held.ends - now) * _AGAIN_PART)
            due = [lease for at, lease in self._leaving if at <= now]
            self._leaving = [one for one in self._leaving if one[0] > now]
            for lease in due:
                self._revoke(lease)
        if fault is not None:
            raise fault

    def close(self) -> None:
        """See RemoteSource. Blocks."""
        with self._lock:
            leases = [lease for _, lease in self._leaving]
            leases += [held.lease for held in self._held.values() if held.lease]
            self._held.clear()
            self._leaving.clear()
            for lease in leases:
                self._revoke(lease)
            self._server.close()

    def _read(self, path: str) -> _Held:
        before = self._held.get(path)
        second = self._is_second(path)
        mount, _, rest = path.partition("/") if second is None else second
        asked = f"{mount}/data/{rest}" if second else path
        status, document = self._server.ask("GET", quote(asked, safe="/"))
        if status != _OK:
            raise _refused(path, status)
        data = document.get("data")
        values = data.get("data") if second and isinstance(data, dict) else data
        if not isinstance(values, dict):
            raise Problem("PC5007", f"openbao:{path} holds no secret")
        now = self._now()
        lease = document.get("lease_id")
        seconds = document.get("lease_duration")
        held = _Held(
            values=sendable(f"openbao:{path}", values),
            fresh_until=now + self._fresh,
            used=now,
        )
        if isinstance(lease, str) and lease:
            held.lease = lease
            held.renewable = document.get("renewable") is True
            self._lasts(held, float(seconds) if isinstance(seconds, int) else 0.0)
        elif before is not None and before.values.keys() == held.values.keys():
            for key, value in before.values.items():  # the same object while it is unchanged
                if held.values[key] == value:
                    held.values[key] = value
        if len(self._held) >= _MOST and path not in self._held:
            oldest = min(self._held, key=lambda one: self._held[one].used)
            self._leave(self._held.pop(oldest), 0.0)
        self._held[path] = held
        if before is not None:
            self._leave(before, self._overlap)
        return held

    def _lasts(self, held: _Held, seconds: float) -> None:
        """Set when something is due about a lease that lasts so long from now."""
        now = self._now()
        held.seconds = seconds
        held.ends = now + seconds
        held.due = now + seconds * (_RENEW_AT if held.renewable else _REPLACE_AT)
        held.fresh_until = now + seconds * (1.0 if held.renewable else _REPLACE_AT)

    def _kept(self, path: str, held: _Held) -> None:
        """Renew a lease, or replace what it is of when it cannot be renewed for as long."""
        if held.renewable:
            body = {"lease_id": held.lease, "increment": int(held.seconds)}
            status, document = self._server.ask("PUT", "sys/leases/renew", body)
            seconds = document.get("lease_duration")
            if status == _OK and isinstance(seconds, int):
                asked = held.seconds
                held.renewable = document.get("renewable") is True and seconds >= asked * _RENEW_AT
                self._lasts(held, float(seconds))
                return
        self._read(path)

    def _leave(self, held: _Held, seconds: float) -> None:
        if held.lease:
            self._leaving.append((self._now() + seconds, held.lease))

    def _revoke(self, lease: str) -> None:
        """Give a lease back; one that cannot be ends by itself."""
        with contextlib.suppress(Problem):
            self._server.ask("PUT", "sys/leases/revoke", {"lease_id": lease})

    def _is_second(self, path: str) -> tuple[str, str, str] | None:
        """The mount of a path and what is below it, if it is KV of version 2; else None."""
        for mount, second in self._second.items():
            if path.startswith(f"{mount}/"):
                return (mount, "/", path[len(mount) + 1 :]) if second else None
        status, document = self._server.ask(
            "GET", f"sys/internal/ui/mounts/{quote(path, safe='/')}"
        )
        data = document.get("data")
        if status != _OK or not isinstance(data, dict):
            if status in {403, 404}:  # an older server, or nothing that this token may know of
                return None
            raise _refused(path, status)
        mount = str(data.get("path", "")).strip("/")
        options: Any = data.get("options")
        version = options.get("version") if isinstance(options, dict) else None
        second = data.get("type") == "kv" and version == "2"
        if not mount or not path.startswith(f"{mount}/"):
            return None
        self._second[mount] = second
        return (mount, "/", path[len(mount) + 1 :]) if second else None


def _refused(path: str, status: int) -> Problem:
    if status == 404:  # noqa: PLR2004 - RFC 9110 section 15.5.5
        return Problem("PC5007", f"there is nothing at openbao:{path}")
    return Problem("PC5067", f"the server answered {status} for openbao:{path}")
