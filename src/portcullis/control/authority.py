"""The trust domain's authority, for operators: what there is, rotation, retirement, offline root.

The service stands behind the control plane's API and the command line alike.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
from typing import Annotated, Any, Final, Literal, TypeAlias

import msgspec
from fastapi import APIRouter, Request
from pydantic import BaseModel, ConfigDict, Field

from portcullis.control.edge import Edge
from portcullis.control.records import Records
from portcullis.control.shapes import BODY, CREDENTIAL, refusals
from portcullis.core.call import Context
from portcullis.core.errors import Problem
from portcullis.core.principal import PrincipalKind
from portcullis.core.rights import Right
from portcullis.identity.authority import Authority
from portcullis.identity.authority_files import State

What: TypeAlias = Literal["root", "signing", "jwt"]
Retirable: TypeAlias = Literal["root", "jwt"]
_BEARER: Final[dict[str, Any]] = {"security": [{"bearer": []}]}
_MAX_KEY: Final = 8192


class TrustDomain:
    """Changes the authority's keys, each time recorded durably before it is done.

    ``route`` names the face in the records. A refusal is the caller's to record. The work runs
    in a thread: keys are sealed and files are synchronised.
    """

    def __init__(self, authority: Authority, records: Records, route: str) -> None:
        self._authority = authority
        self._records = records
        self._route = route

    def state(self) -> State:
        """Which keys there are."""
        return self._authority.state()

    async def rotate(self, context: Context, what: What, root_key: bytes | None = None) -> State:
        """Put a new key in force; see ``Authority.rotate``."""
        await self._act(context, f"authority.rotate.{what}")
        await asyncio.to_thread(self._authority.rotate, what, root_key=root_key)
        return self.state()

    async def retire(self, context: Context, what: Retirable) -> State:
        """Trust the old keys no longer; see ``Authority.retire``."""
        await self._act(context, f"authority.retire.{what}")
        await asyncio.to_thread(self._authority.retire, what)
        return self.state()

    async def forget_root_keys(self, context: Context, digests: dict[str, str]) -> State:
        """Remove the root keys that somebody has copied; see ``Authority.forget_root_keys``."""
        await self._act(context, "authority.offline.root")
        await asyncio.to_thread(self._authority.forget_root_keys, digests)
        return self.state()

    async def _act(self, context: Context, method: str) -> None:
        name = self._authority.trust_domain
        parameters = {"sequence": self.state().sequence}
        await self._records.act(context, method, name, route=self._route, parameters=parameters)


class _Shape(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class RotateRequest(_Shape):
    """``root_key`` is the root's sealed key file in base64, while the root is offline."""

    root_key: Annotated[str, Field(max_length=_MAX_KEY)] | None = None


class OfflineRequest(_Shape):
    """The root key files that were copied away: name and SHA-256 in hex."""

    digests: Annotated[dict[str, str], Field(max_length=8)]


class KeyView(_Shape):
    """One of the authority's keys; times are seconds since the epoch."""

    kind: str
    id: str
    state: str
    created_at: float
    active_at: float
    not_after: float
    needed_until: float
    root: str


class AuthorityView(_Shape):
    """The authority: its keys and the sequence number of its bundle."""

    trust_domain: str
    sequence: int
    keys: tuple[KeyView, ...]

    @classmethod
    def of(cls, state: State) -> AuthorityView:
        """The view of a state."""
        return cls.model_validate(msgspec.to_builtins(state))


def routers(edge: Edge, domain: TrustDomain) -> tuple[APIRouter, APIRouter]:
    """The routes of the control plane: for viewers, and for administrators."""
    readers = APIRouter(route_class=edge.door(PrincipalKind.OPERATOR, Right.LOOK))
    writers = APIRouter(route_class=edge.door(PrincipalKind.OPERATOR, Right.AUTHORITY_ROTATE))
    changes = refusals(*CREDENTIAL, *BODY, "PC7008", "PC7010")

    @readers.get(
        "/api/v1/authority", responses=refusals(*CREDENTIAL, "PC1021"), openapi_extra=_BEARER
    )
    async def show_authority() -> AuthorityView:
        """The trust domain's keys."""
        return AuthorityView.of(domain.state())

    @writers.post("/api/v1/authority/{what}/rotate", responses=changes, openapi_extra=_BEARER)
    async def rotate_authority(request: Request, what: What, body: RotateRequest) -> AuthorityView:
        """Put a new key in force; the old one stays in the bundle while it is needed."""
        key = None if body.root_key is None else _decoded(body.root_key)
        return AuthorityView.of(await domain.rotate(request.state.context, what, key))

    @writers.post(
        "/api/v1/authority/{what}/retire",
        responses=refusals(*CREDENTIAL, "PC1007", "PC1012", "PC1020", "PC1021", "PC7008"),
        openapi_extra=_BEARER,
    )
    async def retire_authority(request: Request, what: Retirable) -> AuthorityView:
        """Take old keys out of the bundle at once: what they signed is no longer trusted."""
        return AuthorityView.of(await domain.retire(request.state.context, what))

    @writers.post("/api/v1/authority/root/offline", responses=changes, openapi_extra=_BEARER)
    async def take_root_offline(request: Request, body: OfflineRequest) -> AuthorityView:
        """Remove the sealed root keys that were copied to somewhere else."""
        state = await domain.forget_root_keys(request.state.context, body.digests)
        return AuthorityView.of(state)

    return readers, writers


def _decoded(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except binascii.Error:
        raise Problem("PC1020", "root_key is not base64") from None
