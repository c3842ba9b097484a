"""One call that waits: all that is known about it, and the forms that decide."""

from __future__ import annotations

import hmac
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Any, Final

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from portcullis.control.approvals import Approving
from portcullis.control.console.door import Doors, Visitor
from portcullis.control.console.drawing import Drawing
from portcullis.control.console.guard import only
from portcullis.control.console.inbox import FILTERS, Filters, after, named
from portcullis.control.console.reasons import reason_of, typed
from portcullis.control.console.render import Pages
from portcullis.control.console.text import Value, plain, pretty
from portcullis.control.desk import Desk
from portcullis.core.approval import Approval, Shown, State
from portcullis.core.call import RiskClass
from portcullis.core.errors import Problem
from portcullis.core.names import HIDDEN
from portcullis.core.rights import Right
from portcullis.provenance.judge import NOWHERE
from portcullis.wire.json import decode, encode

MOST: Final = 200
"""How many arguments and questions stand on the page; it says how many more there are."""
_FEW: Final = 10
"""Of how many values of one argument the sources stand there."""
_TYPED: Final = 80
"""Longest name that somebody is asked to type."""
_ID_END: Final = 8
PART: Final = 250_000
"""How many characters of all that would be sent stand on one page of text, before some are said."""
_DIGITS: Final = 6


@dataclass(frozen=True, slots=True)
class Source:
    """Where what stands at ``path`` of an argument comes from; ``unknown``: from nowhere known.

    ``path`` is "" for the argument itself.
    """

    path: str
    said: str
    unknown: bool


@dataclass(frozen=True, slots=True)
class Argument:
    """An argument, where its values come from, and the value."""

    name: str
    sources: tuple[Source, ...]
    value: Value


@dataclass(frozen=True, slots=True)
class Wait:
    """What an approver does beside giving a reason, by the risk of the call.

    ``typed`` is what has to be typed, "" for nothing; ``confirmed``: that it cannot be called back
    has to be ticked.
    """

    typed: str
    confirmed: bool

    @classmethod
    def of(cls, approval: Approval) -> Wait:
        """What this call asks for: its name for what deletes, or the end of its id without one."""
        if approval.risk != RiskClass.DELETE:
            return cls("", approval.risk == RiskClass.EXTERNAL)
        name = named(approval)
        plain = approval.name != HIDDEN and len(name) <= _TYPED
        return cls(name if plain else approval.id[-_ID_END:], confirmed=False)

    def check(self, form: Mapping[str, str]) -> None:
        """Raise Problem PC3054 when the form lacks it, or that all of the call was seen."""
        if form.get("whole") != "yes":
            hint = "Open all that would be sent, read it, and tick that you have."
            raise Problem("PC3054", "the page did not show all of the call", hint=hint)
        if self.typed:
            typed(form, self.typed, "the name of what is called")
        if self.confirmed and form.get("confirmed") != "yes":
            hint = "Tick that you have seen where it goes."
            raise Problem("PC3054", "it leaves for outside, and that was not confirmed", hint=hint)


def arguments(shown: Shown) -> tuple[Argument, ...]:
    """The first ``MOST`` arguments with their sources (``Shown.labels``), in the call's order."""
    return tuple(
        Argument(name, _sources(name, shown.labels), Value.of(value))
        for name, value in islice(shown.arguments.items(), MOST)
    )


def _sources(name: str, labels: Mapping[str, str]) -> tuple[Source, ...]:
    whole = f"arguments.{name}"
    found = [
        Source(
            path="" if at == whole else at.removeprefix("arguments."),
            said=said,
            unknown=said.endswith(NOWHERE),
        )
        for at, said in labels.items()
        if at == whole or at.startswith(f"{whole}.")
    ]
    return tuple(sorted(found, key=lambda source: not source.unknown))  # those are never left out


def _content(shown: Shown) -> dict[str, Any]:
    """The call's values as the page shows them; ``rest`` is what goes with its arguments."""
    told, rest = arguments(shown), shown.request
    if shown.arguments and isinstance(rest, dict):
        known = {"name": shown.called, "arguments": shown.arguments}
        rest = {name: said for name, said in rest.items() if known.get(name, ...) != said}
    return {
        "arguments": told,
        "rest": Value.of(rest) if rest else None,
        "prompts": [Value.of(said) for said in shown.prompts[-MOST:]],
        "left_out": max(map(len, (shown.arguments, shown.questions, shown.prompts))) > MOST
        or any(len(argument.sources) > _FEW for argument in told),
        "subject": Value.of(shown.subject) if shown.subject else None,
    }


def routes(doors: Doors, pages: Pages, desk: Desk, approving: Approving) -> list[Route]:
    """An approval, and what is decided about it."""
    drawing = Drawing()

    async def show(request: Request, visitor: Visitor) -> Response:
        return await page(request, visitor, Filters.of(request.query_params))

    async def page(
        request: Request,
        visitor: Visitor,
        filters: Filters,
        problem: Problem | None = None,
        form: Mapping[str, str] | None = None,
    ) -> Response:
        context = visitor.context
        approval, shown = await approving.show(context, request.path_params["id"])
        rules = await approving.rules(context, approval, shown)
        hindrance = await approving.hindrance(context, approval, shown)
        similar = None if shown is None else await desk.similar(context, approval, shown)
        before, following = await _neighbours(desk, approval, filters)

        def drawn() -> Response:
            return pages.render(
                request,
                visitor,
                "approval.html",
                status=200 if problem is None else problem.status,
                approval=approval,
                shown=shown,
                wait=Wait.of(approval),
                name=named(approval),
                decidable=approval.state is State.PENDING and shown is not None,
                rules=rules,
                hindrance=hindrance,
                filters=filters,
                before=before,
                following=following,
                problem=problem,
                form=form or {},
                similar=similar,
                most=MOST,
                few=_FEW,
                **({} if shown is None else _content(shown)),
                radius=() if shown is None else desk.radius(approval, shown),
            )

        return await drawing.make(drawn)

    def decide(verb: str) -> Route:
        async def decided(request: Request, visitor: Visitor, form: Mapping[str, str]) -> Response:
            only(form, "binding", "list", "reason", "typed", "confirmed", "whole")
            filters = Filters.parsed(form.get("list", ""))
            try:
                reason = reason_of(form)
                approval = await _as_shown(approving, request.path_params["id"], form)
                if verb == "approve":
                    Wait.of(approval).check(form)
                    done = await approving.approve(visitor.context, approval.id, reason)
                else:
                    done = await approving.deny(visitor.context, approval.id, reason)
            except Problem as problem:
                if problem.code == "PC3047":
                    raise
                answered = doors.record(request, problem)
                return await page(request, visitor, filters, answered, form)
            return RedirectResponse(await after(desk, done, filters), status_code=303)

        return doors.form(f"/approvals/{{id}}/{verb}", decided, right=Right.APPROVALS_DECIDE)

    return [
        *_beside(doors, approving, drawing),
        doors.page("/approvals/{id}", show, right=Right.APPROVALS_DECIDE, query=FILTERS),
        decide("approve"),
        decide("deny"),
    ]


def _beside(doors: Doors, approving: Approving, drawing: Drawing) -> list[Route]:
    """All of a call as text, and the address of messages that leads to the list."""

    async def whole(request: Request, visitor: Visitor) -> Response:
        """All that is known of the call, as text: nothing of it is left out or hides."""
        number = _number(request.query_params.get("part", "1"))
        approval, shown = await approving.show(visitor.context, request.path_params["id"])
        if shown is None:
            raise Problem("PC3042", "it is settled: what would have been sent is kept no longer")
        text = await drawing.make(lambda: part(approval.id, shown, number))
        return Response(text, media_type="text/plain; charset=utf-8")

    async def listed(request: Request, visitor: Visitor) -> Response:
        del visitor
        query = request.url.query
        return RedirectResponse("/" + (f"?{query}" if query else ""), status_code=303)

    return [
        doors.page("/approvals", listed, query=FILTERS),
        doors.page(
            "/approvals/{id}/whole", whole, right=Right.APPROVALS_DECIDE, query=frozenset({"part"})
        ),
    ]


def part(approval: str, shown: Shown, number: int) -> str:
    """A part of all that is known of a call, which says what the others are if there are any.

    Lines of the call's own begin with a brace, a space, or an ellipsis where they go on from the
    part before: none speaks for us. Raises Problem PC1010 for a part that there is not.
    """
    text = pretty(decode(encode(shown)))
    parts = max(1, -(-len(text) // PART))
    if not 1 <= number <= parts:
        raise Problem("PC1010", f"there are {parts} parts of it")
    found = plain(text[(number - 1) * PART : number * PART])
    if parts == 1:
        return found
    found = found if number == 1 else f"\u2026{found}"
    place = f"part {number} of {parts} of /approvals/{approval}/whole"
    following = f"it goes on at /approvals/{approval}/whole?part={number + 1}"
    rest = following if number < parts else "this is the end"
    return (
        f"{place}; all in one: portcullis approval show {approval}\n\n{found}\n\n{place}: {rest}\n"
    )


def _number(said: str) -> int:
    """The number of a part. Raises Problem PC1020."""
    if not (said.isascii() and said.isdigit() and len(said) <= _DIGITS):
        raise Problem("PC1020", "part: it is no number")
    return int(said)


async def _as_shown(approving: Approving, approval_id: str, form: Mapping[str, str]) -> Approval:
    """The approval that the form is about. Raises Problem PC3047, PC3055.

    The form holds the binding of the call that was on the page: what is decided is that call.
    """
    approval = await approving.get(approval_id)
    if not hmac.compare_digest(form.get("binding", "").encode(), approval.binding.encode()):
        raise Problem("PC3055", "the form is not about the call that waits")
    return approval


async def _neighbours(desk: Desk, approval: Approval, filters: Filters) -> tuple[str, str]:
    """The ids of the approvals before and after in the first page of the list, "" for none."""
    page = await desk.approvals(filters.wanted())
    ids = ["", *(one.id for one in page.approvals), ""]
    if approval.id not in ids:
        return "", next((one for one in ids if one), "")
    here = ids.index(approval.id)
    return ids[here - 1], ids[here + 1]
