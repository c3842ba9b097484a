"""Browser windows of operators: Debian's chromium, and what it complains about."""

import contextlib
import os
import shutil
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from playwright.async_api import Browser, BrowserContext, Page, async_playwright

from e2e.approvals.desk import Desk
from needs import NODE
from portcullis.core.approval import Approval, Shown, State, Step
from portcullis.core.principal import PrincipalKind
from portcullis.identity.tokens import CONSOLE
from portcullis.oversight.sealing import seal

PHONE = {"width": 360, "height": 740}
SCREEN = {"width": 1280, "height": 900}
_AXE = NODE / "axe-core/axe.min.js"
_GRAVE = ("serious", "critical")


@dataclass
class Window:
    """A page in a context of its own; ``complaints`` are what the browser logged as errors."""

    page: Page
    base: str
    complaints: list[str] = field(default_factory=list)

    async def open(self, path: str) -> None:
        """Go to a path of the console."""
        await self.page.goto(self.base + path)

    async def key(self, *keys: str) -> None:
        """Press keys, one after the other."""
        for key in keys:
            await self.page.keyboard.press(key)

    def path(self) -> str:
        """Where the window is now, with the query and the fragment."""
        return self.page.url.removeprefix(self.base)

    async def focus(self, on: str) -> None:
        """Wait until what has the keyboard's focus has this name or this text."""
        await self.page.wait_for_function(
            "(on) => [document.activeElement.name, document.activeElement.textContent]"
            ".includes(on)",
            arg=on,
        )

    async def faults(self, *, by_colour: bool = False) -> list[str]:
        """Serious and critical faults that axe-core finds; ``by_colour``: only those of colours."""
        colours = {"runOnly": {"type": "tag", "values": ["cat.color"]}}
        rules = {"resultTypes": ["violations"], "preload": False} | (colours if by_colour else {})
        run = "(rules) => globalThis.axe?.run(document, rules)"
        found = await self.page.evaluate(run, rules)
        if found is None:
            await self.page.evaluate(_AXE.read_text(encoding="utf-8"))
            found = await self.page.evaluate(run, rules)
        return [
            f"{one['id']}: {node['html'][:160]} {node['failureSummary'][:200]}"
            for one in found["violations"]
            if one["impact"] in _GRAVE
            for node in one["nodes"]
        ]

    async def picture(self, name: str) -> None:
        """Keep a picture of the page where PORTCULLIS_SHOTS says, if it does."""
        if folder := os.environ.get("PORTCULLIS_SHOTS"):
            await self.page.screenshot(path=Path(folder) / f"{name}.png", full_page=True)

    async def overflow(self) -> int:
        """By how many pixels the page is wider than the window."""
        return await self.page.evaluate(
            "() => document.documentElement.scrollWidth - document.documentElement.clientWidth"
        )


@contextlib.asynccontextmanager
async def chromium() -> AsyncIterator[Browser]:
    """A browser for a module's tests."""
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--no-sandbox"]
        )
        try:
            yield browser
        finally:
            await browser.close()


@contextlib.asynccontextmanager
async def window(
    browser: Browser, desk: Desk, who: str = "bea", **options: Any
) -> AsyncIterator[Window]:
    """A window in which ``who`` is logged in; it must have nothing to complain about."""
    base = desk.stage.gate.control_url
    context = await _context(browser, desk, who, options)
    made = Window(await context.new_page(), base)
    made.page.set_default_timeout(30_000)
    made.page.on(
        "console",
        lambda said: made.complaints.append(said.text) if said.type == "error" else None,
    )
    made.page.on("pageerror", lambda error: made.complaints.append(str(error)))
    try:
        yield made
    finally:
        await made.page.close()
    assert made.complaints == []


async def _context(
    browser: Browser, desk: Desk, who: str, options: dict[str, Any]
) -> BrowserContext:
    """The context of a login, with its cache: the one it has, but for other options."""
    authority, base = desk.stage.gate.services.authority, desk.stage.gate.control_url
    known = authority.verify(desk.operators[who]["authorization"].removeprefix("Bearer "))
    for context in () if options else browser.contexts:
        for one in await context.cookies():
            if authority.verify(one["value"], CONSOLE).sub == known.sub:
                return context
    kind = PrincipalKind.OPERATOR
    minted = authority.mint(kind, who, ttl=600, roles=known.roles, audience=CONSOLE)
    cookie = {"name": "portcullis", "value": minted.token, "url": base}
    made = await browser.new_context(**({"viewport": SCREEN} | options))
    await made.add_cookies([cookie])
    return made


def waits(desk: Desk, **fields: Any) -> Approval:
    """Put a call before the operators, with any content: ``fields`` of the approval or the call."""
    now = time.time()
    made = Approval(
        id=fields.pop("id", desk.stage.gate.services.new_id()),
        state=State.PENDING,
        binding=f"{now:.6f}".replace(".", "").ljust(64, "0"),
        agent=fields.pop("agent", "support-agent-prod-001"),
        session=fields.pop("session", desk.session),
        action="tool",
        server=fields.pop("server", "crm"),
        name=fields.pop("name", "delete_customer"),
        risk=fields.pop("risk", "delete"),
        why=fields.pop("why", "policy wants a human"),
        created_at=fields.pop("created_at", now),
        expires_at=fields.pop("expires_at", now + 3600),
    )
    shown = Shown(
        **{
            "agents": (made.agent,),
            "application": "helpdesk",
            "user": "ada",
            "prompts": ("Please forget me.",),
            "subject": {"customer_id": "C-1001"},
            "grant": None,
            "bounds": {},
            "called": made.name,
            "method": "tools/call",
            "arguments": {"customer_id": "C-1001"},
            "request": {"name": made.name, "arguments": {"customer_id": "C-1001"}},
            "reason": "policy wants a human",
            "rule": "roles.support_agent",
            "questions": ("May C-1001 be deleted?",),
            "recent": (
                Step(at=now, what="tools/call crm.get_customer", risk="read", verdict="allow"),
            ),
            "labels": {"session": "internal", "arguments.customer_id": "selector: no source"},
        }
        | fields
    )
    services = desk.stage.gate.services
    sealed = seal(services.sealer, made.id, shown)
    claimed = services.approval_parts.store.claim(made, sealed, most=1_000_000, now=now)
    assert claimed.outcome == "asked"
    return made
