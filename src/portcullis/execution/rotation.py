"""Rotating secrets: by a program of the operator's, and seen to be another value afterwards."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import hmac
import os
import secrets as random
import signal
import subprocess
from collections.abc import Callable, Mapping, Sequence
from typing import Final, TypeAlias
from weakref import WeakValueDictionary

from portcullis.core.errors import Problem
from portcullis.core.incident import Access, Rotated, Subject
from portcullis.core.rotation import RotationHook
from portcullis.core.secret import Secret

IDENTITY: Final = "identity"
"""The source of what a subject itself proves who it is with; it is rotated by revoking it."""
_ENVIRONMENT: Final = {"PATH": "/usr/local/bin:/usr/bin:/bin", "LANG": "C.UTF-8"}
_KEY: Final = 32

Known: TypeAlias = Callable[[Subject, float], Sequence[Access]]
"""What a subject had access to since a time, without ``hook``. Blocks."""
Outdated: TypeAlias = Callable[[str], str]
"""What is wrong with taking a subject's own credentials for worthless; empty when they are.

It is asked by what follows ``identity:`` in their reference, and blocks.
"""


class CommandHook:
    """A program that rotates one secret, whose reference is its last argument.

    It runs without a shell, in a session of its own and with next to no environment; the same
    reference is in ``PORTCULLIS_REFERENCE``. What it says is thrown away, since that may be the
    secret. It and its process group are ended when it is done or late.
    """

    def __init__(self, command: Sequence[str], seconds: float) -> None:
        self._command = tuple(command)
        self._seconds = seconds

    async def rotate(self, reference: str) -> None:
        """See RotationHook."""
        try:
            process = await asyncio.create_subprocess_exec(
                *self._command,
                reference,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                env={**_ENVIRONMENT, "PORTCULLIS_REFERENCE": reference},
                cwd="/",
                start_new_session=True,
            )
        except (OSError, ValueError) as error:
            said = getattr(error, "strerror", None) or type(error).__name__
            raise Problem("PC7071", f"the program cannot be started: {said}") from None
        try:
            async with asyncio.timeout(self._seconds):
                code = await process.wait()
        except TimeoutError:
            raise Problem("PC7072", f"it did not end within {self._seconds:g} seconds") from None
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            await asyncio.shield(process.wait())
        if code != 0:
            raise Problem("PC7071", f"the program ended with {code}")


class RotatingSecrets:
    """An adapter of ``core.incident_ports.Rotations``.

    ``known`` says what there is, ``anew`` reads it past any memory, ``hooks`` are by the scheme of
    references, ``outdated`` looks after a subject's own credentials. Only the references in
    ``configured`` are ever handed to a hook. ``told`` is told what came of each, and blocks.
    """

    def __init__(
        self,
        *,
        known: Known,
        anew: Callable[[str], Secret],
        hooks: Mapping[str, RotationHook],
        configured: Sequence[str],
        outdated: Outdated,
        told: Callable[[Rotated], None] = lambda _: None,
    ) -> None:
        self._known = known
        self._anew = anew
        self._told = told
        self._hooks = dict(hooks)
        self._configured = frozenset(configured)
        self._outdated = outdated
        self._turns: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    async def access(self, subject: Subject, since: float) -> Sequence[Access]:
        """What the subject could have learned or used; see Rotations."""
        found = await asyncio.to_thread(self._known, subject, since)
        return [_hooked(one, one.source == IDENTITY or one.source in self._hooks) for one in found]

    async def rotate(self, reference: str) -> Rotated:
        """Have a secret rotated and read it again; see Rotations."""
        lock = self._turns.setdefault(reference, asyncio.Lock())
        async with lock:
            try:
                done = await self._rotate(reference)
                if not reference.startswith(f"{IDENTITY}:"):
                    await asyncio.to_thread(self._told, done)
            except Problem as problem:
                return _failed(reference, problem.code, problem.detail)
            except Exception as error:  # noqa: BLE001 - whoever asks is to hear of it, and go on
                return _failed(reference, "PC9002", type(error).__name__)
            return done

    async def _rotate(self, reference: str) -> Rotated:
        source, _, name = reference.partition(":")
        if source == IDENTITY:
            wrong = await asyncio.to_thread(self._outdated, name)
            if wrong:
                return _failed(reference, "PC7073", wrong)
            return Rotated(reference=reference, rotated=True, verified=True)
        if reference not in self._configured:
            raise Problem("PC7070", "no upstream is configured with it")
        hook = self._hooks.get(source)
        if hook is None:
            raise Problem("PC7070", f"nothing under incidents.rotation rotates {source}:")
        key = random.token_bytes(_KEY)
        before = await self._digest(reference, key)
        await hook.rotate(reference)
        after = await self._digest(reference, key)
        if after is None:
            return _failed(reference, "PC7074", "it cannot be read after it was rotated", done=True)
        if before is None:
            detail = "it could not be read before, so there is nothing to compare it with"
            return _failed(reference, "PC7074", detail, done=True)
        if hmac.compare_digest(before, after):
            return _failed(reference, "PC7073", "the program said so, and it is as it was before")
        return Rotated(reference=reference, rotated=True, verified=True)

    async def _digest(self, reference: str, key: bytes) -> bytes | None:
        """What a secret is recognised by for a moment; None when it cannot be read."""
        try:
            value = await asyncio.to_thread(self._anew, reference)
        except Problem:
            return None
        return hmac.digest(key, value.reveal().encode(), hashlib.sha256)


def _hooked(one: Access, hook: bool) -> Access:  # noqa: FBT001 - it is the field
    return Access(
        reference=one.reference,
        source=one.source,
        upstream=one.upstream,
        why=one.why,
        used=one.used,
        hook=hook,
    )


def _failed(reference: str, code: str, detail: str, *, done: bool = False) -> Rotated:
    return Rotated(reference=reference, rotated=done, verified=False, fault=code, detail=detail)
