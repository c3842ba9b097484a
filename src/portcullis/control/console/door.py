"""The console's doors: who may look at a page, send a form, follow a stream.

Each request is authenticated anew by the cookie's token, as the API does by its Authorization
header, and held against the kill feed; a page takes no header for it and the API no cookie.
Refusals are recorded as the API's are, and answered with a page, or with a problem document when
a module asks for JSON.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from typing import Final, TypeAlias
from urllib.parse import urlencode

import structlog
from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response, StreamingResponse
from starlette.routing import Match, Route
from starlette.types import Scope

from portcullis.control.console import cookie
from portcullis.control.console.guard import Csrf, Hosts, fields, led_here, own_page
from portcullis.control.console.headers import HEADERS
from portcullis.control.console.render import Pages, here
from portcullis.control.console.streams import Streams
from portcullis.control.console.visitor import Visitor
from portcullis.control.edge import Edge, known_query, single_headers
from portcullis.core.break_glass import BrokenGlass
from portcullis.core.errors import Problem
from portcullis.core.ports import Clock
from portcullis.core.principal import PrincipalKind
from portcullis.core.rights import Right
from portcullis.identity.tokens import CONSOLE, TokenAuthority

__all__ = ["Doors", "FormHandler", "PageHandler", "Visitor"]

PageHandler: TypeAlias = Callable[[Request, Visitor], Awaitable[Response]]
FormHandler: TypeAlias = Callable[[Request, Visitor, Mapping[str, str]], Awaitable[Response]]
OpenHandler: TypeAlias = Callable[[Request, Mapping[str, str]], Awaitable[Response]]

log = structlog.get_logger(__name__)

_NONE: Final[frozenset[str]] = frozenset()
_UNAUTHORIZED: Final = 401
_SEE_OTHER: Final = 303


class _Nobody(Exception):  # noqa: N818 - nothing is wrong: who comes has yet to log in
    """No login came with the request."""


class _Pages(Route):
    """A route for browsers that ask for a page, and for nothing below the API."""

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        """Match what asks for HTML (``Route``'s method)."""
        found = super().matches(scope)
        if found[0] is not Match.FULL or scope["path"].startswith("/api/"):
            return Match.NONE, {}
        wanted = Headers(scope=scope).get("accept", "")
        return found if "text/html" in wanted else (Match.NONE, {})


class Doors:
    """Makes the console's routes.

    ``waiting`` says how many calls wait for a human, ``glass`` who broke the glass and was not
    reviewed yet.
    """

    def __init__(
        self,
        *,
        edge: Edge,
        authority: TokenAuthority,
        hosts: Hosts,
        csrf: Csrf,
        pages: Pages,
        streams: Streams,
        clock: Clock,
        waiting: Callable[[], Awaitable[int]],
        glass: Callable[[], Awaitable[tuple[BrokenGlass, ...]]],
    ) -> None:
        self._edge = edge
        self._authority = authority
        self._hosts = hosts
        self._csrf = csrf
        self._pages = pages
        self._streams = streams
        self._clock = clock
        self._waiting = waiting
        self._glass = glass

    def page(
        self,
        path: str,
        handler: PageHandler,
        *,
        right: Right | None = Right.LOOK,
        query: frozenset[str] = _NONE,
    ) -> Route:
        """A page for those who have the right; None is everybody who is logged in."""

        async def answered(request: Request) -> Response:
            if led_here(request):
                return self._continued(request)
            visitor = await self._visitor(request, right)
            known_query(request, query)
            return await handler(request, visitor)

        return self._route(path, "GET", answered)

    def form(self, path: str, handler: FormHandler, *, right: Right | None) -> Route:
        """What a form of ours is sent to."""

        async def answered(request: Request) -> Response:
            own_page(request, self._hosts.asked(request))
            visitor = await self._visitor(request, right)
            known_query(request, _NONE)
            form = await self._form(request)
            self._csrf.check(visitor.context.principal.credential, request, form)
            return await handler(request, visitor, form)

        return self._route(path, "POST", answered)

    def stream(
        self,
        path: str,
        handler: PageHandler,
        *,
        right: Right | None = Right.LOOK,
        query: frozenset[str] = _NONE,
    ) -> Route:
        """Server-sent events; the handler's StreamingResponse ends when the login does."""

        async def answered(request: Request) -> Response:
            if led_here(request):
                raise Problem("PC2081", "Sec-Fetch-Site says that another site sent it")
            visitor = await self._visitor(request, right)
            known_query(request, query)
            response = await handler(request, visitor)
            if isinstance(response, StreamingResponse):
                principal = visitor.context.principal
                response.body_iterator = self._streams.guarded(principal, response.body_iterator)
            return response

        return self._route(path, "GET", answered, pages=False)

    def unknown(self) -> Route:
        """What people get whose address is no page's; for programs there is the API's answer."""

        async def handler(request: Request, visitor: Visitor) -> Response:
            del request, visitor
            raise Problem("PC1010", "the console has no such page")

        page = self.page("/{path:path}", handler, right=None)
        return _Pages(page.path, page.endpoint, methods=["GET"], include_in_schema=False)

    def open_page(
        self,
        path: str,
        handler: Callable[[Request], Awaitable[Response]],
        query: frozenset[str] | None,
    ) -> Route:
        """A page for anybody: the login. ``None`` is a query of which the handler reads some."""

        async def answered(request: Request) -> Response:
            known_query(request, query)
            return await handler(request)

        return self._route(path, "GET", answered)

    def open_form(self, path: str, handler: OpenHandler) -> Route:
        """A form for anybody, from a page of ours: nobody logs a browser in from elsewhere."""

        async def answered(request: Request) -> Response:
            own_page(request, self._hosts.asked(request))
            known_query(request, _NONE)
            return await handler(request, await self._form(request))

        return self._route(path, "POST", answered)

    def origin(self, request: Request) -> str:
        """The origin that the browser asked. Raises Problem PC2080 when it is none of ours."""
        return self._hosts.asked(request)

    def record(self, request: Request, problem: Problem) -> Problem:
        """Record a refusal that a handler's own page answers; returns the problem to show."""
        return self._edge.record(request, problem)

    def known(self, request: Request) -> bool:
        """Whether a request comes from somebody who is logged in."""
        try:
            self._admitted(request)
        except (Problem, _Nobody):
            return False
        return True

    def _route(
        self,
        path: str,
        method: str,
        answered: Callable[[Request], Awaitable[Response]],
        *,
        pages: bool = True,
    ) -> Route:
        async def endpoint(request: Request) -> Response:
            request.scope["route"] = route  # as FastAPI does: refusals are recorded under its path
            try:
                self._hosts.asked(request)
                single_headers(request)
                response = await answered(request)
            except _Nobody:
                response = self._nobody(request, pages=pages)
            except Problem as problem:
                response = self._refused(request, problem)
            except Exception:
                log.exception("page_failed", path=path)
                response = self._refused(request, Problem("PC9002", "the page could not be made"))
            response.headers.update(HEADERS)
            return response

        route = Route(path, endpoint, methods=[method], include_in_schema=False)
        return route

    async def _visitor(self, request: Request, right: Right | None) -> Visitor:
        """Who asks. Raises Problem PC2004, PC2086 and those of ``_admitted``."""
        visitor = self._admitted(request)
        if right and not visitor.roles:
            hint = "Add a passkey under Account, then log in with it."
            raise Problem("PC2086", "this login reaches nothing but the account", hint=hint)
        if right:
            self._edge.roles.expect(visitor.roles, right)
        if not visitor.rights:
            return visitor
        waiting, glass = await self._waiting(), await self._glass()
        request.state.visitor = visitor = replace(visitor, waiting=waiting, glass=glass)
        return visitor

    def _admitted(self, request: Request) -> Visitor:
        """A live, uncut operator, also left in ``request.state.visitor``.

        Raises _Nobody, Problem PC4001, PC4002, PC2004 and those of the authenticator.
        """
        token = cookie.token(request, self._hosts.asked(request))
        if not token:
            raise _Nobody
        principal = self._authority.authenticate(self._edge.presented(request, token), CONSOLE)
        context = self._edge.admit_as(request, principal)
        if principal.kind is not PrincipalKind.OPERATOR:
            raise Problem("PC2004", "the console is for operators")
        request.state.visitor = visitor = Visitor(
            context=context,
            csrf=self._csrf.token(principal.credential),
            expires_at=principal.expires_at,
            since=self._authority.verify(token, CONSOLE).auth_time,
            rights=self._edge.roles.rights(principal.roles),
        )
        return visitor

    async def _form(self, request: Request) -> Mapping[str, str]:
        return fields(request, await self._edge.read(request))

    def _nobody(self, request: Request, *, pages: bool) -> Response:
        """To the login, and back."""
        if not pages or _wants_json(request) or request.method != "GET":
            return self._refused(request, Problem("PC2001", "you are not logged in"))
        return RedirectResponse(_login(request), status_code=_SEE_OTHER)

    def _continued(self, request: Request) -> Response:
        """A page that leads on to the one that was asked for from elsewhere.

        Browsers keep a strict cookie back when another site led here, and show it to what a page
        of ours leads to. And what another site does in a browser does not count as a look.
        """
        if _wants_json(request):
            raise Problem("PC2081", "Sec-Fetch-Site says that another site sent it")
        return self._pages.render(request, None, "continue.html", login=_login(request))

    def _refused(self, request: Request, refused: Problem) -> Response:
        problem = self._edge.record(request, refused)
        if _wants_json(request):
            return self._edge.answer(request, problem)
        visitor: Visitor | None = getattr(request.state, "visitor", None)
        if problem.status == _UNAUTHORIZED and visitor is None:
            return self._nobody_any_more(request, problem)
        return self._pages.problem(request, visitor, problem)

    def _nobody_any_more(self, request: Request, problem: Problem) -> Response:
        """What was a login has ended: forget it, and say so on the way to the next."""
        response = self._pages.problem(request, None, problem)
        cookie.take(response, self._hosts.asked(request))
        return response


def _login(request: Request) -> str:
    return "/login?" + urlencode({"next": here(request)})


def _wants_json(request: Request) -> bool:
    return "application/json" in request.headers.get("accept", "")
