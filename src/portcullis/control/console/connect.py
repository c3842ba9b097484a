"""The pages on which a user, who has no login here, connects an account at an upstream.

The link's code lets whoever has it connect *his own* account, and nothing else; so the page says
for whom, and asks. A cookie of this browser alone joins what was begun with what comes back.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from portcullis.control.connecting import LINK_SECONDS, Connecting
from portcullis.control.console.door import Doors
from portcullis.control.console.guard import only
from portcullis.control.console.render import Pages
from portcullis.core.errors import Problem

_QUERY: Final = frozenset({"once"})
_ANSWER: Final = frozenset({"code", "state", "iss", "error"})
"""What is read of an authorization server's answer (RFC 9207); what else it says, and many say
more, is passed over (RFC 6749 section 4.1.2)."""
_COOKIE: Final = "portcullis-connect"


@dataclass(frozen=True, slots=True)
class ConnectPages:
    """The link's page, the step to the authorization server, and the way back."""

    doors: Doors
    pages: Pages
    connecting: Connecting

    def routes(self) -> list[Route]:
        """For each upstream where users connect accounts, its own addresses."""
        found: list[Route] = []
        for upstream in self.connecting.upstreams():
            place = f"/connect/{upstream}"
            found += [
                self.doors.open_page(place, functools.partial(self._page, upstream), _QUERY),
                self.doors.open_form(place, functools.partial(self._begin, upstream)),
                self.doors.open_page(
                    f"{place}/callback", functools.partial(self._finish, upstream), None
                ),
            ]
        return found

    async def _page(self, upstream: str, request: Request) -> Response:
        once = request.query_params.get("once", "")
        link = await self.connecting.look(upstream, once) if once else None
        return self.pages.render(
            request, None, "connect.html", upstream=upstream, link=link, once=once, to="", host=""
        )

    async def _begin(self, upstream: str, request: Request, form: Mapping[str, str]) -> Response:
        only(form, "once")
        origin = self.doors.origin(request)
        redirect = f"{origin}/connect/{upstream}/callback"
        link = await self.connecting.look(upstream, form.get("once", ""))
        begun = await self.connecting.begin(upstream, form.get("once", ""), redirect)
        response = self.pages.render(
            request,
            None,
            "connect.html",
            upstream=upstream,
            link=link,
            once="",
            to=begun.url,
            host=urlsplit(begun.url).netloc,
        )
        _give(response, origin, begun.browser, LINK_SECONDS)
        return response

    async def _finish(self, upstream: str, request: Request) -> Response:
        origin = self.doors.origin(request)
        browser = request.cookies.get(_name(origin), "")
        if not browser:
            raise Problem("PC5084", "this is not the browser that the connection was begun in")
        said = {name: one for name, one in request.query_params.items() if name in _ANSWER}
        grant = await self.connecting.finish(upstream, said, browser)
        response = self.pages.render(
            request, None, "connected.html", upstream=upstream, grant=grant
        )
        _give(response, origin, "", 0)
        return response


def _name(origin: str) -> str:
    return f"__Host-{_COOKIE}" if origin.startswith("https://") else _COOKIE


def _give(response: Response, origin: str, value: str, seconds: float) -> None:
    """``Lax``: the way back is a navigation that another site began."""
    response.set_cookie(
        _name(origin),
        value,
        max_age=int(seconds),
        path="/",
        secure=origin.startswith("https://"),
        httponly=True,
        samesite="lax",
    )
