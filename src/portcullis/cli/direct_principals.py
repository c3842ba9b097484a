"""Principals, on the store and the log themselves, while no gate runs."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Coroutine
from typing import Any, TypeVar

from portcullis.bootstrap import local_operator
from portcullis.cli.remote_call import TOKEN_SECONDS
from portcullis.control.entries import JoinToken
from portcullis.control.records import Caller
from portcullis.control.services import Services
from portcullis.core.call import Context
from portcullis.core.errors import Problem
from portcullis.core.lifecycle import Verb
from portcullis.core.ports import Entry, PrincipalRecord
from portcullis.core.principal import Principal, PrincipalKind
from portcullis.identity.tokens import Minted

_T = TypeVar("_T")


class DirectPrincipals:
    """What the commands do about principals. Refusals are recorded here."""

    def __init__(self, runner: asyncio.Runner, services: Services) -> None:
        self._runner = runner
        self._principals = services.principals("cli")
        self._entries = services.entries("cli")
        self._logins = services.logins("cli")
        self._records = services.records()
        now = services.clock.now()
        self._context = Context(
            principal=Principal(
                kind=PrincipalKind.OPERATOR,
                id=local_operator(),
                credential="issuer-key",
                expires_at=now + TOKEN_SECONDS,
                roles=("admin",),
            ),
            session=None,
            source="cli",
            trace_id=secrets.token_hex(16),
            received_at=now,
        )

    def create(
        self,
        kind: PrincipalKind,
        name: str,
        *,
        owner: str,
        purpose: str = "",
        review_at: float | None = None,
        spiffe_id: str = "",
        roles: tuple[str, ...] = (),
        users: tuple[str, ...] = (),
    ) -> PrincipalRecord:
        """Register a principal."""
        work = self._principals.create(
            self._context,
            kind,
            name,
            owner=owner,
            purpose=purpose,
            review_at=review_at,
            spiffe_id=spiffe_id,
            roles=roles,
            users=users,
        )
        return self._run(work, "principals.create", f"{kind}:{name}")

    def get(self, kind: PrincipalKind, name: str) -> PrincipalRecord:
        """One principal."""
        return self._run(self._principals.get(kind, name), "principals.show", f"{kind}:{name}")

    def list(self, kind: PrincipalKind) -> tuple[PrincipalRecord, ...]:
        """All principals of a kind."""
        return self._run(self._principals.list(kind), "principals.list", kind.value)

    def change(
        self, kind: PrincipalKind, name: str, verb: Verb, *, review_at: float | None = None
    ) -> PrincipalRecord:
        """Suspend, resume, review or revoke a principal."""
        work = self._principals.change(self._context, kind, name, verb, review_at=review_at)
        return self._run(work, f"principals.{verb}", f"{kind}:{name}")

    def rotate(self, kind: PrincipalKind, name: str) -> PrincipalRecord:
        """Make a principal's credentials worthless."""
        work = self._principals.rotate(self._context, kind, name)
        return self._run(work, "principals.rotate", f"{kind}:{name}")

    def bearer(self, kind: PrincipalKind, name: str, *, ttl: int | None = None) -> Minted:
        """A token that is bound to no key."""
        work = self._principals.bearer(self._context, kind, name, ttl=ttl)
        return self._run(work, "tokens.mint", f"{kind}:{name}")

    def cut(self, credential: str) -> None:
        """Cut one credential off."""
        work = self._principals.cut(self._context, credential)
        self._run(work, "credentials.revoke", credential)

    def entries(self, kind: PrincipalKind, name: str) -> tuple[Entry, ...]:
        """A principal's registration entries."""
        return self._run(self._entries.list(kind, name), "entries.list", f"{kind}:{name}")

    def register(
        self, kind: PrincipalKind, name: str, selectors: tuple[str, ...], ttl: int
    ) -> Entry:
        """Add a registration entry."""
        work = self._entries.add(self._context, kind, name, selectors=selectors, ttl=ttl)
        return self._run(work, "entries.add", f"{kind}:{name}")

    def unregister(self, entry: str) -> None:
        """Remove a registration entry."""
        self._run(self._entries.remove(self._context, entry), "entries.remove", entry)

    def join(self, kind: PrincipalKind, name: str, ttl: int) -> JoinToken:
        """A one-time join token."""
        work = self._entries.join(self._context, kind, name, ttl=ttl)
        return self._run(work, "join.create", f"{kind}:{name}")

    def set_roles(self, name: str, roles: tuple[str, ...]) -> PrincipalRecord:
        """Give an operator other roles."""
        work = self._principals.set_roles(self._context, name, roles)
        return self._run(work, "principals.roles", f"operator:{name}")

    def set_users(self, name: str, users: tuple[str, ...]) -> PrincipalRecord:
        """Say by which names an operator is known as a user."""
        work = self._principals.set_users(self._context, name, users)
        return self._run(work, "principals.users", f"operator:{name}")

    def password(self, name: str, password: str) -> str:
        """Set an operator's password; the otpauth:// URI of its new authenticator secret."""
        work = self._logins.enrol(self._context, name, password)
        return self._run(work, "principals.password", f"operator:{name}")

    def _run(self, work: Coroutine[Any, Any, _T], method: str, name: str) -> _T:
        try:
            return self._runner.run(work)
        except Problem as problem:
            caller = Caller(
                route="cli",
                source=self._context.source,
                trace_id=self._context.trace_id,
                principal=self._context.principal,
            )
            raise self._records.refused(problem, caller, method, name) from None
