"""Asking the control plane about principals: who there is, their credentials and entries."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlencode

from portcullis.cli.remote_call import Asking
from portcullis.control.entries import JoinToken
from portcullis.control.shapes import (
    EntryList,
    EntryView,
    JoinView,
    PasswordView,
    PrincipalList,
    PrincipalView,
    TokenView,
)
from portcullis.core.lifecycle import Verb
from portcullis.core.ports import Entry, PrincipalRecord
from portcullis.core.principal import PrincipalKind
from portcullis.identity.tokens import Minted


class RemotePrincipals(Asking):
    """What the commands do about principals."""

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
        body: dict[str, Any] = {"kind": kind.value, "id": name, "owner": owner}
        more = {
            "purpose": purpose,
            "review_at": review_at,
            "spiffe_id": spiffe_id,
            "roles": list(roles),
            "users": list(users),
        }
        body |= {field: value for field, value in more.items() if value}
        return self._principal("POST", "", body)

    def get(self, kind: PrincipalKind, name: str) -> PrincipalRecord:
        """One principal."""
        return self._principal("GET", f"/{kind}/{name}")

    def list(self, kind: PrincipalKind) -> tuple[PrincipalRecord, ...]:
        """All principals of a kind."""
        found = PrincipalList.model_validate(self._call("GET", f"/principals?kind={kind}"))
        return tuple(view.record() for view in found.principals)

    def change(
        self, kind: PrincipalKind, name: str, verb: Verb, *, review_at: float | None = None
    ) -> PrincipalRecord:
        """Suspend, resume, review or revoke a principal."""
        body = {"review_at": review_at} if verb is Verb.REVIEW else None
        return self._principal("POST", f"/{kind}/{name}/{verb}", body)

    def rotate(self, kind: PrincipalKind, name: str) -> PrincipalRecord:
        """Make a principal's credentials worthless."""
        return self._principal("POST", f"/{kind}/{name}/rotate")

    def bearer(self, kind: PrincipalKind, name: str, *, ttl: int | None = None) -> Minted:
        """A token that is bound to no key."""
        found = self._call("POST", f"/principals/{kind}/{name}/tokens", {"ttl_seconds": ttl})
        view = TokenView.model_validate(found)
        return Minted(token=view.token, id=view.credential, expires_at=view.expires_at)

    def cut(self, credential: str) -> None:
        """Cut one credential off."""
        self._call("POST", f"/credentials/{credential}/revoke")

    def entries(self, kind: PrincipalKind, name: str) -> tuple[Entry, ...]:
        """A principal's registration entries."""
        query = urlencode({"kind": kind.value, "principal": name})
        found = EntryList.model_validate(self._call("GET", f"/entries?{query}"))
        return tuple(view.entry() for view in found.entries)

    def register(
        self, kind: PrincipalKind, name: str, selectors: tuple[str, ...], ttl: int
    ) -> Entry:
        """Add a registration entry."""
        body = {
            "kind": kind.value,
            "principal": name,
            "selectors": list(selectors),
            "ttl_seconds": ttl,
        }
        return EntryView.model_validate(self._call("POST", "/entries", body)).entry()

    def unregister(self, entry: str) -> None:
        """Remove a registration entry."""
        self._call("DELETE", f"/entries/{entry}")

    def join(self, kind: PrincipalKind, name: str, ttl: int) -> JoinToken:
        """A one-time join token."""
        found = self._call("POST", f"/principals/{kind}/{name}/join", {"ttl_seconds": ttl})
        view = JoinView.model_validate(found)
        return JoinToken(token=view.join_token, expires_at=view.expires_at)

    def set_roles(self, name: str, roles: tuple[str, ...]) -> PrincipalRecord:
        """Give an operator other roles."""
        return self._principal("POST", f"/operator/{name}/roles", {"roles": list(roles)})

    def set_users(self, name: str, users: tuple[str, ...]) -> PrincipalRecord:
        """Say by which names an operator is known as a user."""
        return self._principal("POST", f"/operator/{name}/users", {"users": list(users)})

    def password(self, name: str, password: str) -> str:
        """Set an operator's password; the otpauth:// URI of its new authenticator secret."""
        found = self._call("POST", f"/principals/operator/{name}/password", {"password": password})
        return PasswordView.model_validate(found).otpauth

    def _principal(
        self, method: str, path: str, body: dict[str, Any] | None = None
    ) -> PrincipalRecord:
        found = self._call(method, f"/principals{path}", body)
        return PrincipalView.model_validate(found).record()
