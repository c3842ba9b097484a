"""The account: who is logged in, until when, with which passkeys; the way out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from portcullis.control.console.door import Doors, Visitor
from portcullis.control.console.guard import only
from portcullis.control.console.login import ACCOUNT
from portcullis.control.console.passkeys import LONGEST_NAME, PasskeyKeeping
from portcullis.control.console.relying import RelyingParty
from portcullis.control.console.render import Pages
from portcullis.wire.json import encode


@dataclass(frozen=True, slots=True)
class AccountPages:
    """Open to every login, also to one that is good for adding a passkey alone."""

    doors: Doors
    pages: Pages
    keeping: PasskeyKeeping

    def routes(self) -> list[Route]:
        """The page, and what its forms are sent to."""
        doors = self.doors
        return [
            doors.page(ACCOUNT, self._page, right=None),
            doors.form("/account/passkeys/begin", self._begin, right=None),
            doors.form("/account/passkeys", self._add, right=None),
            doors.form("/account/passkeys/remove", self._remove, right=None),
        ]

    async def _page(self, request: Request, visitor: Visitor) -> Response:
        origin = self.doors.origin(request)
        return self.pages.render(
            request,
            visitor,
            "account.html",
            passkeys=await self.keeping.of(visitor),
            allowed=self.keeping.allowed(visitor),
            fresh=self.keeping.fresh(visitor),
            full=bool(visitor.roles),
            possible=RelyingParty(origin).possible,
            longest=LONGEST_NAME,
        )

    async def _begin(self, request: Request, visitor: Visitor, form: Mapping[str, str]) -> Response:
        only(form)
        options = await self.keeping.begin(visitor, self.doors.origin(request))
        return Response(encode(options), media_type="application/json")

    async def _add(self, request: Request, visitor: Visitor, form: Mapping[str, str]) -> Response:
        only(form, "ceremony", "credential", "name")
        await self.keeping.add(
            visitor,
            self.doors.origin(request),
            form.get("ceremony", ""),
            form.get("credential", ""),
            form.get("name", ""),
        )
        return Response(encode({"next": ACCOUNT}), media_type="application/json")

    async def _remove(
        self, request: Request, visitor: Visitor, form: Mapping[str, str]
    ) -> Response:
        del request
        only(form, "passkey")
        await self.keeping.remove(visitor, form.get("passkey", ""))
        return RedirectResponse(ACCOUNT, status_code=303)
