"""The control plane's API: how operators log in, and what they log in with."""

from __future__ import annotations

from typing import Any, Final

from fastapi import APIRouter, Request, Response

from portcullis.control.edge import Edge
from portcullis.control.login import Locked, Logins
from portcullis.control.principals import Principals
from portcullis.control.shapes import (
    BODY,
    CREDENTIAL,
    PROBLEM_JSON,
    IdTokenLogin,
    PasswordLogin,
    PasswordRequest,
    PasswordView,
    PrincipalName,
    PrincipalView,
    RolesRequest,
    TokenView,
    UsersRequest,
    refusals,
)
from portcullis.core.errors import Problem
from portcullis.core.principal import PrincipalKind
from portcullis.core.rights import Right
from portcullis.wire.json import encode

_BEARER: Final[dict[str, Any]] = {"security": [{"bearer": []}]}
_OPERATOR: Final = "/api/v1/principals/operator/{id}"


def routers(edge: Edge, principals: Principals, logins: Logins) -> tuple[APIRouter, APIRouter]:
    """The login, which is the way in itself, and what is done to operators."""
    return _login(edge, logins), _writers(edge, principals, logins)


def _login(edge: Edge, logins: Logins) -> APIRouter:
    router = APIRouter(route_class=edge.door())

    @router.post(
        "/api/v1/login",
        status_code=201,
        responses=refusals(*BODY, "PC2070", "PC2071", "PC2072", "PC2086"),
        response_model=TokenView,
        openapi_extra={"security": []},  # the body is the credential
    )
    async def login(request: Request, body: PasswordLogin | IdTokenLogin) -> Response:
        """Log in with password and one-time code, or with an ID token; the operator's token."""
        client = request.client
        source = "unix" if client is None else f"{client.host}:{client.port}"
        try:
            if isinstance(body, PasswordLogin):
                minted = await logins.password(body.name, body.password, body.code, source=source)
            else:
                minted = await logins.id_token(body.id_token, source=source)
        except Problem as problem:  # recorded where it was raised
            return _refused(problem)
        view = TokenView.of(minted)
        return Response(encode(view.model_dump()), 201, media_type="application/json")

    return router


def _writers(edge: Edge, principals: Principals, logins: Logins) -> APIRouter:
    router = APIRouter(route_class=edge.door(PrincipalKind.OPERATOR, Right.OPERATORS_MANAGE))
    changes = refusals(
        *CREDENTIAL, *BODY, "PC2010", "PC2073", "PC3086", "PC7043", "PC7044", "PC7046"
    )

    @router.post(f"{_OPERATOR}/password", status_code=201, responses=changes, openapi_extra=_BEARER)
    async def set_password(
        request: Request,
        id: PrincipalName,  # noqa: A002 - the API's name
        body: PasswordRequest,
    ) -> PasswordView:
        """Set a local operator's password and a new authenticator secret, which is shown once."""
        return PasswordView(otpauth=await logins.enrol(request.state.context, id, body.password))

    @router.post(f"{_OPERATOR}/roles", responses=changes, openapi_extra=_BEARER)
    async def set_roles(
        request: Request,
        id: PrincipalName,  # noqa: A002 - the API's name
        body: RolesRequest,
    ) -> PrincipalView:
        """Give an operator other roles; its tokens are worthless from then on."""
        roles = tuple(body.roles)
        return PrincipalView.of(await principals.set_roles(request.state.context, id, roles))

    @router.post(f"{_OPERATOR}/users", responses=changes, openapi_extra=_BEARER)
    async def set_users(
        request: Request,
        id: PrincipalName,  # noqa: A002 - the API's name
        body: UsersRequest,
    ) -> PrincipalView:
        """Say by which names an operator is known as a user: nobody approves his own."""
        users = tuple(body.users)
        return PrincipalView.of(await principals.set_users(request.state.context, id, users))

    return router


def _refused(problem: Problem) -> Response:
    headers = {"retry-after": str(problem.seconds)} if isinstance(problem, Locked) else {}
    return Response(
        encode(problem.document()), problem.status, media_type=PROBLEM_JSON, headers=headers
    )
