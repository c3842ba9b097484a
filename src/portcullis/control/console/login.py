"""Logging in and out."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Final

from pydantic import ValidationError
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from portcullis.control.console import cookie
from portcullis.control.console.door import Doors, Visitor
from portcullis.control.console.guard import HOME, only, way_back
from portcullis.control.console.links import Links
from portcullis.control.console.passkeys import PasskeyLogins
from portcullis.control.console.render import Pages
from portcullis.control.edge import source_of
from portcullis.control.login import Locked, Logins
from portcullis.control.principals import Principals
from portcullis.control.shapes import PasswordLogin
from portcullis.core.errors import Problem
from portcullis.core.ports import Clock
from portcullis.identity.tokens import CONSOLE, Minted
from portcullis.wire.json import encode

ACCOUNT: Final = "/account"

_QUERY: Final = frozenset({"next", "again"})
_SEE_OTHER: Final = 303


@dataclass(frozen=True, slots=True)
class LoginPages:
    """The ways in. What they refuse is recorded by the services behind them, not here.

    A login always gets a new token, so nobody can put one into a browser beforehand; whoever was
    logged in there before is logged out.
    """

    doors: Doors
    pages: Pages
    logins: Logins
    links: Links
    passkeys: PasskeyLogins
    principals: Principals
    clock: Clock
    passkeys_required: bool

    def routes(self) -> list[Route]:
        """The login page, what its forms are sent to, and the logout."""
        doors = self.doors
        return [
            doors.open_page("/login", self._page, _QUERY),
            doors.open_form("/login", self._password),
            doors.open_form("/login/link", self._link),
            doors.open_form("/login/passkey/begin", self._begin),
            doors.open_form("/login/passkey", self._passkey),
            doors.form("/logout", self._logout, right=None),
        ]

    async def _page(self, request: Request) -> Response:
        back = way_back(request.query_params.get("next", HOME))
        if "again" not in request.query_params and self.doors.known(request):
            return RedirectResponse(back, status_code=_SEE_OTHER)
        return self._form(request, back)

    def _form(
        self, request: Request, back: str, problem: Problem | None = None, name: str = ""
    ) -> Response:
        status = 200 if problem is None else problem.status
        return self.pages.render(
            request,
            None,
            "login.html",
            status=status,
            problem=problem,
            back=back,
            name=name,
            passkeys=self.passkeys.possible(self.doors.origin(request)),
            required=self.passkeys_required,
        )

    async def _password(self, request: Request, form: Mapping[str, str]) -> Response:
        only(form, "name", "password", "code", "next")
        back, name = way_back(form.get("next", HOME)), form.get("name", "").strip()
        try:
            shown = PasswordLogin(
                name=name,
                password=form.get("password", ""),
                code=form.get("code", "").replace(" ", ""),
            )
        except ValidationError:
            wrong = Problem("PC2070", "name, password or one-time code is wrong")
            return self._form(request, back, self.doors.record(request, wrong), name)
        try:
            minted = await self.logins.password(
                shown.name,
                shown.password,
                shown.code,
                source=source_of(request),
                adding=True,
                audience=CONSOLE,
            )
        except Problem as problem:
            return self._sorry(self._form(request, back, problem, name), problem)
        return self._in(request, minted, ACCOUNT if self.passkeys_required else back)

    async def _link(self, request: Request, form: Mapping[str, str]) -> Response:
        only(form, "once", "next")
        back = way_back(form.get("next", HOME))
        try:
            minted = await self.links.exchange(
                form.get("once", "").strip(), source=source_of(request)
            )
        except Problem as problem:
            return self._form(request, back, problem)
        return self._in(request, minted, back)

    async def _begin(self, request: Request, form: Mapping[str, str]) -> Response:
        only(form)
        options = self.passkeys.begin(self.doors.origin(request))
        return Response(encode(options), media_type="application/json")

    async def _passkey(self, request: Request, form: Mapping[str, str]) -> Response:
        only(form, "ceremony", "credential", "next")
        show = partial(
            self.passkeys.shown,
            self.doors.origin(request),
            form.get("ceremony", ""),
            form.get("credential", ""),
        )
        try:
            minted = await self.logins.passkey(show, source=source_of(request))
        except Problem as problem:
            answer = Response(
                encode(problem.document()), problem.status, media_type="application/problem+json"
            )
            return self._sorry(answer, problem)
        back = way_back(form.get("next", HOME))
        answer = Response(encode({"next": back}), media_type="application/json")
        return self._baked(request, answer, minted)

    async def _logout(
        self, request: Request, visitor: Visitor, form: Mapping[str, str]
    ) -> Response:
        only(form)
        await self.principals.cut(visitor.context, visitor.context.principal.credential)
        response = RedirectResponse("/login", status_code=_SEE_OTHER)
        cookie.take(response, self.doors.origin(request))
        return response

    def _in(self, request: Request, minted: Minted, back: str) -> Response:
        return self._baked(request, RedirectResponse(back, status_code=_SEE_OTHER), minted)

    def _baked(self, request: Request, response: Response, minted: Minted) -> Response:
        left = max(1, math.floor(minted.expires_at - self.clock.now()))
        cookie.give(response, self.doors.origin(request), minted.token, left)
        return response

    def _sorry(self, response: Response, problem: Problem) -> Response:
        if isinstance(problem, Locked):
            response.headers["retry-after"] = str(problem.seconds)
        return response
