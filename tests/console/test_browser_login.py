"""Logging in with a real browser: passkeys, links, without JavaScript, and what it looks like."""

import secrets
from urllib.parse import urlsplit

import pytest
from aiohttp import web

from console.windows import PHONE, SCREEN, Window, chromium
from needs import needs_node

pytestmark = [pytest.mark.anyio, needs_node]  # axe-core comes with the packages for Node.js


@pytest.fixture(scope="module")
async def browser(anyio_backend):
    async with chromium() as made:
        yield made


@pytest.fixture
async def window(browser, house):
    """A window in which nobody is logged in; it must have nothing to complain about."""
    context = await browser.new_context(viewport=SCREEN)
    made = Window(await context.new_page(), house.base)
    made.page.set_default_timeout(30_000)
    made.page.on(
        "console",
        lambda said: made.complaints.append(said.text) if said.type == "error" else None,
    )
    made.page.on("pageerror", lambda error: made.complaints.append(str(error)))
    yield made
    await context.close()
    assert [one for one in made.complaints if "status of 401" not in one] == []


async def authenticator(window):
    """A passkey device in the browser (WebDriver's virtual authenticator)."""
    devtools = await window.page.context.new_cdp_session(window.page)
    await devtools.send("WebAuthn.enable")
    await devtools.send(
        "WebAuthn.addVirtualAuthenticator",
        {
            "options": {
                "protocol": "ctap2",
                "transport": "internal",
                "hasResidentKey": True,
                "hasUserVerification": True,
                "isUserVerified": True,
                "automaticPresenceSimulation": True,
            }
        },
    )


async def enter(window, person):
    """Let the window have a login."""
    url = window.base
    await window.page.context.add_cookies(
        [{"name": "portcullis", "value": person.token, "url": url}]
    )


async def test_a_passkey_is_added_used_and_removed(house, window):
    page = window.page
    name = await house.new(f"kim-{secrets.token_hex(4)}", "approver")
    await enter(window, house.person(name))
    await authenticator(window)
    await window.open("/account")
    await page.get_by_label("What to call it").fill("Kim's phone")
    await page.get_by_role("button", name="Add a passkey").click()
    await page.get_by_role("cell", name="Kim's phone", exact=True).wait_for()
    assert await window.faults() == []

    await page.get_by_role("button", name="Log out").click()
    await page.wait_for_url("**/login")
    await window.open("/login?next=%2Faccount")
    await page.get_by_role("button", name="Log in with a passkey").click()
    await page.wait_for_url("**/account")
    assert await page.get_by_role("heading", level=1).text_content() == name
    cookies = await page.context.cookies()
    assert [(one["httpOnly"], one["sameSite"]) for one in cookies] == [(True, "Strict")]

    await page.get_by_role("button", name="Remove").click()
    await page.get_by_text("You have none.").wait_for()
    await page.get_by_role("button", name="Log out").click()
    await page.get_by_role("button", name="Log in with a passkey").click()
    await page.get_by_text("Passkey refused").wait_for()
    assert window.path() == "/login"


async def test_a_link_lets_in_and_leaves_the_address_at_once(house, window):
    page = window.page
    link = house.link()
    seen = []
    page.on("request", lambda request: seen.append(request.url))
    await page.goto(f"{window.base}/login?again=1&next=%2Faccount#once={link}")
    await page.wait_for_function("() => document.activeElement.textContent.includes('this link')")
    assert await page.context.cookies() == []  # nobody is logged in by an address alone
    assert "#" not in page.url
    await page.keyboard.press("Enter")
    await page.wait_for_url("**/account")
    assert await page.get_by_role("heading", level=1).text_content() == "local-tester"
    assert not any(link in url for url in seen)
    assert link not in await page.evaluate("() => document.documentElement.outerHTML")
    await page.go_back()
    assert link not in page.url


async def test_a_login_works_without_javascript(house, browser):
    known = await house.enrol(await house.new(f"joe-{secrets.token_hex(4)}", "approver"))
    context = await browser.new_context(viewport=PHONE, java_script_enabled=False)
    page = await context.new_page()
    page.set_default_timeout(30_000)
    await page.goto(f"{house.base}/account")
    fields = known.fields()
    for label in ("name", "password", "code"):
        await page.locator(f"#{label}").fill(fields[label])
    await page.get_by_role("button", name="Log in", exact=True).click()
    await page.wait_for_url("**/account")
    assert await page.get_by_role("heading", level=1).text_content() == known.name
    await page.get_by_role("button", name="Log out").click()
    await page.wait_for_url("**/login")
    await page.get_by_text("I have a link").click()
    await page.locator("#once").fill(house.link())
    await page.locator("#link-login button").click()
    await page.wait_for_url(f"{house.base}/")
    await context.close()


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
async def test_a_link_in_a_chat_opens_the_page_for_who_is_logged_in(house, window, host):
    async def chat(request):
        del request
        text = f'<link rel="icon" href="data:,"><a href="{window.base}/account">Look</a>'
        return web.Response(text=text, content_type="text/html")

    app = web.Application()
    app.router.add_get("/", chat)
    runner = web.AppRunner(app)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        port = runner.addresses[0][1]
        await enter(window, house.person("bea"))
        await window.page.goto(f"http://{host}:{port}/")
        await window.page.get_by_text("Look").click()
        await window.page.wait_for_url("**/account")
        assert await window.page.get_by_role("heading", level=1).text_content() == "bea"
    finally:
        await runner.cleanup()


@pytest.mark.parametrize(("scheme", "viewport"), [("light", SCREEN), ("dark", PHONE)])
async def test_everybody_can_read_the_pages(house, browser, scheme, viewport):
    context = await browser.new_context(color_scheme=scheme, viewport=viewport)
    window = Window(await context.new_page(), house.base)
    await window.open("/login")
    assert await window.faults() == []
    assert await window.overflow() <= 0
    await enter(window, house.person("bea"))
    for path in ("/account", "/account?what=1"):
        await window.open(path)
        assert await window.faults() == []
        assert await window.overflow() <= 0
    await context.close()


async def test_a_page_of_anybody_else_cannot_frame_the_console(house, window):
    page = window.page

    async def framing(route):
        await route.fulfill(
            body=f'<iframe src="{window.base}/login"></iframe>', content_type="text/html"
        )

    await page.route("https://evil.example/", framing)
    await page.goto("https://evil.example/")
    frame = page.frames[-1]
    assert "Password" not in await frame.content()
    assert urlsplit(frame.url).path != "/login"
    window.complaints.clear()  # the browser says that it refused


async def test_what_an_agent_serves_under_localhost_gets_no_login(house, window):
    asked = []

    async def preview(request):
        asked.append(request.headers.get("cookie", ""))
        return web.Response(text="hi", content_type="text/html")

    app = web.Application()
    app.router.add_get("/{path:.*}", preview)
    runner = web.AppRunner(app)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        base = window.base.replace("localhost", "portcullis.localhost")
        await window.page.goto(f"{base}/login?again=1&next=%2Faccount#once={house.link()}")
        await window.page.get_by_role("button", name="Log in with this link").click()
        await window.page.wait_for_url(f"{base}/account")
        await window.page.get_by_role("heading", name="local-tester").wait_for()
        for host in ("localhost", "127.0.0.1"):
            await window.page.goto(f"http://{host}:{runner.addresses[0][1]}/")
    finally:
        await window.page.goto("about:blank")  # it asks for an icon, too
        await runner.cleanup()
    window.complaints[:] = [one for one in window.complaints if "REFUSED" not in one]
    assert set(asked) == {""}
