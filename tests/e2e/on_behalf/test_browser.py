"""A person with a real browser: from the link, to another site, and back."""

from __future__ import annotations

import re

import pytest

from console.windows import PHONE, Window, chromium
from needs import needs_node
from portcullis.control.console.guard import own_url

pytestmark = [pytest.mark.anyio, needs_node]


async def test_a_person_connects_an_account_and_no_page_on_the_way_complains(world) -> None:
    """The console is reached by a name of its own, so the server is another site."""
    nia = await world.session("nia")
    control = world.stage.gate.control_url
    link = (await world.link(nia)).replace(control, own_url(control))
    async with chromium() as browser:
        page = await browser.new_page(viewport=PHONE)
        page.set_default_timeout(15_000)
        window = Window(page, own_url(control))
        page.on(
            "console",
            lambda said: (
                window.complaints.append(said.text)
                if said.type == "error" and page.url.startswith(window.base)
                else None  # the provider's own pages
            ),
        )
        await page.goto(link)
        assert "Go on only if you are nia" in await page.inner_text("main")
        assert await window.faults() == []
        assert await window.overflow() <= 0
        await page.get_by_role("button", name="I am nia: go on").click()
        await page.get_by_role("link", name=re.compile("Go on to 127.0.0.1")).click()
        await page.locator("input[name=login]").fill("nia")
        await page.locator("input[name=password]").fill("any")
        await page.locator("button[type=submit]").click()
        await page.locator("button[type=submit]").click()  # yes
        await page.get_by_role("heading", name="Connected", exact=True).wait_for()
        assert await window.faults() == []
        assert window.complaints == []
    assert await world.call(nia) == "the mail of nia"
