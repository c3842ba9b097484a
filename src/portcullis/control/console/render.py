"""Pages: Jinja2 templates of the package, always escaped, with the headers of every answer."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, Final
from urllib.parse import urlsplit

from jinja2 import Environment, PackageLoader, StrictUndefined, pass_context
from jinja2.runtime import Context
from markupsafe import Markup
from starlette.requests import Request
from starlette.responses import Response

from portcullis.control.console.assets import Assets
from portcullis.control.console.facts import facts
from portcullis.control.console.guard import HOME, way_back
from portcullis.control.console.headers import HEADERS
from portcullis.control.console.text import Budget, marked
from portcullis.control.console.visitor import Visitor
from portcullis.core.errors import Problem
from portcullis.core.ports import Clock

NAVIGATION: Final = (
    ("/", "Inbox"),
    ("/live", "Live"),
    ("/decisions", "Decisions"),
    ("/alerts", "Alerts"),
    ("/incidents", "Incidents"),
    ("/agents", "Agents"),
    ("/tools", "Tools"),
    ("/policy", "Policy"),
    ("/sessions", "Sessions"),
    ("/containment", "Containment"),
    ("/limits", "Budgets"),
    ("/breakers", "Breakers"),
    ("/account", "Account"),
)


class Pages:
    """Renders the templates. A value that a template names and nobody gave is an error.

    Every template finds ``visitor`` (None before the login), ``now``, ``path`` (of the request),
    ``here`` (the page to come back to), ``budget`` and ``asset(NAME)``; the
    filters are ``iso``, ``moment``, ``bytes``, ``score``, ``facts`` and ``marked``.
    """

    def __init__(self, assets: Assets, clock: Clock) -> None:
        self._clock = clock
        self._templates = Environment(
            loader=PackageLoader("portcullis.control.console"),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
            auto_reload=False,
        )
        self._templates.globals.update(asset=assets.url, navigation=NAVIGATION)
        self._templates.filters.update(
            iso=iso, moment=moment, bytes=size, score=score, facts=facts, marked=_marked
        )

    def render(
        self,
        request: Request,
        visitor: Visitor | None,
        template: str,
        /,
        *,
        status: int = 200,
        **values: Any,
    ) -> Response:
        """A page."""
        text = self._templates.get_template(template).render(
            values
            | {
                "visitor": visitor,
                "now": self._clock.now(),
                "path": request.url.path,
                "here": here(request),
                "budget": Budget(),
            }
        )
        return Response(
            text, status_code=status, media_type="text/html; charset=utf-8", headers=HEADERS
        )

    def problem(self, request: Request, visitor: Visitor | None, problem: Problem) -> Response:
        """The page that says what went wrong and what to do."""
        status = problem.status
        return self.render(request, visitor, "error.html", status=status, problem=problem)


def here(request: Request) -> str:
    """The page that was asked for, with its query, as a place to come back to.

    Of a form, the page that it is on, where the browser says so.
    """
    if request.method == "POST":
        page = urlsplit(request.headers.get("referer", ""))
        ours = page.netloc == request.headers.get("host", "")
        path, query = (page.path, page.query) if ours else (HOME, "")
    else:
        path, query = request.url.path, request.url.query
    return way_back(path + (f"?{query}" if query else ""))


@pass_context
def _marked(context: Context, text: str) -> Markup:
    """``text.marked`` within what is left for the page."""
    return marked(text, context["budget"])


def iso(at: float) -> str:
    """A time, seconds since the epoch, as RFC 3339 says it, to the second."""
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def moment(at: float) -> Markup:
    """A time as an element that a module may turn into "5 min ago"."""
    return Markup('<time data-at="{0}" datetime="{1}" title="{1}">{1}</time>').format(at, iso(at))


def size(count: int) -> str:
    """A number of bytes for people."""
    amount, units = float(count), ("bytes", "KiB", "MiB", "GiB")
    for unit in units:
        if amount < 1024 or unit == units[-1]:  # noqa: PLR2004 - a KiB
            break
        amount /= 1024
    return f"{amount:.0f} {unit}" if unit == "bytes" else f"{amount:.1f} {unit}"


def score(said: float) -> str:
    """A score for people: no more digits than mean something."""
    return f"{said:.0f}"
