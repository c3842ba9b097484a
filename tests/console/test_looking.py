"""The pages as they are seen: by screen readers, at night, on a phone, and under attack."""

import statistics
import time

import pytest
from mcp import MCPError
from playwright.async_api import Error as Refused

import standins
from console import scenes
from console.windows import PHONE, SCREEN, chromium, waits, window
from e2e.approvals.desk import MAIL, furnished
from needs import needs_node
from portcullis.core.principal import PrincipalKind, Session

pytestmark = [pytest.mark.anyio, needs_node]  # axe-core comes with the packages for Node.js

EVIL = [
    "<script>document.title='owned'</script>",
    '"><img src=x onerror="document.title=\'owned\'">',
    "'-alert(1)-'",
    "{{7*7}}${7*7}",
    "javascript:alert(1)",
    "</textarea></pre><svg onload=alert(1)>",
    "\u202edlrow\u202c \u200bzero",
]
ALL = " ".join(EVIL)
FOREIGN = "main svg:not(.spark), main img, main script"


@pytest.fixture(scope="module")
def anyio_backend():
    return "asyncio"


@pytest.fixture(scope="module")
async def desk(tmp_path_factory, anyio_backend):
    folder, settings = tmp_path_factory.mktemp("house"), {"approvals": {"refusals": 1000}}
    async with standins.staged(folder, policy=scenes.policy(), settings=settings) as stage:
        yield await furnished(stage)


@pytest.fixture(scope="module")
async def browser(anyio_backend):
    async with chromium() as made:
        yield made


@pytest.fixture(scope="module")
async def scene(desk):
    """A little of everything, so that no page is empty; the paths of the pages."""
    approved = (await desk.send()).meta["portcullis/approval"]
    await desk.decide("bea", approved, "approve")
    await desk.send()
    again = MAIL | {"body": "Your parcel is late. It comes tomorrow.\n" * 60}
    waiting = (await desk.send(again)).meta["portcullis/approval"]
    deletes = waits(desk)
    await desk.refused(MAIL | {"to": "mallory@outside.example"})
    await desk.stage.create(PrincipalKind.AGENT, "shop-2", owner="the shop")
    desk.stage.gate.services.approval_parts.store.freeze("shop-2", 1e9)
    await standins.eventually(desk.stage, lambda event: event.code == "PC3004")
    alert, incident = await scenes.furnish(desk)
    return {
        "inbox": "/",
        "approval": f"/approvals/{waiting}",
        "delete": f"/approvals/{deletes.id}",
        "settled": f"/approvals/{approved}",
        "live": "/live",
        "decisions": "/decisions",
        "agents": "/agents?sort=risk",
        "agent": f"/agents/{standins.AGENT}",
        "sessions": "/sessions",
        "alerts": "/alerts",
        "alert": f"/alerts/{alert}",
        "silences": "/silences",
        "incidents": "/incidents",
        "incident_new": "/incidents/new?agent=shop-2",
        "incident": f"/incidents/{incident}",
        "timeline": f"/incidents/{incident}/timeline",
        "radius": f"/incidents/{incident}/radius",
        "containment": f"/containment?agent={standins.AGENT}",
        "limits": "/limits",
        "breakers": "/breakers",
        "tools": "/tools",
        "policy": "/policy",
        "threats": "/policy/threats",
        "policy_agent": f"/policy/agents/{standins.AGENT}",
        "releases": "/policy/releases",
        "release": scenes.proposed(desk),
    }


async def test_no_page_shuts_anybody_out_or_scrolls_sideways(desk, browser, scene):
    """Axe-core's serious and critical rules; PORTCULLIS_SHOTS=FOLDER keeps pictures.

    By day on a screen and by night on a phone; the next page opens as the last one was left.
    """
    views = [("light", SCREEN), ("dark", PHONE)]
    async with window(browser, desk, "ada") as mine:
        for name, path in scene.items():
            await mine.open(path)
            for scheme, size in views:
                await mine.page.emulate_media(color_scheme=scheme)
                await mine.page.set_viewport_size(size)
                assert await mine.faults(by_colour=size is PHONE) == [], (name, scheme)
                assert size is SCREEN or await mine.overflow() <= 0, name
                await mine.picture(f"{name}-{scheme}")
            views.reverse()


async def test_what_an_agent_writes_is_text_on_every_page(desk, browser):
    await desk.stage.gate.services.sessions.open(
        Session(
            id=EVIL[0],
            agent=standins.AGENT,
            application="helpdesk",
            user="ada",
            prompt=ALL,
            subject={},
            grant=None,
            opened_at=int(time.time()),
            expires_at=int(time.time()) + 600,
        )
    )
    evil = waits(
        desk,
        session=EVIL[0],
        server="crm",
        name=EVIL[1],
        agent="support-agent-prod-001",
        why=ALL,
        risk="delete",
        agents=(EVIL[4], EVIL[0]),
        application=ALL,
        user=ALL,
        prompts=(ALL, EVIL[0]),
        subject={EVIL[0]: EVIL[1]},
        grant=(ALL,),
        called=ALL,
        method=EVIL[5],
        arguments={**{one: one for one in EVIL}, "nested": {EVIL[1]: [EVIL[0]]}, "long": ALL * 50},
        request={ALL: ALL},
        reason=ALL,
        rule=ALL,
        questions=(ALL,),
        labels={"session": EVIL[0], f"arguments.{EVIL[0]}": EVIL[1]},
    )
    store = desk.stage.gate.services.approval_parts.store
    async with window(browser, desk, user_agent=EVIL[0]) as mine:
        for path in (
            "/",
            f"/approvals/{evil.id}",
            "/live",
            "/decisions",
            "/agents",
            "/sessions",
            f"/decisions?session={EVIL[0]}",
            f"/?agent={EVIL[1]}",
            f"/live?agent={EVIL[0]}",
        ):
            await mine.open(path)
            assert (
                await mine.page.locator("main svg:not(.spark), main img, main script").count() == 0
            )
            assert await mine.page.title() != "owned"
        await mine.open(f"/approvals/{evil.id}")
        text = await mine.page.inner_text("main")
        assert all(one in text for one in EVIL[:6])
        assert "U+202E" in text
        assert "\u202e" not in await mine.page.content()
        assert await mine.overflow() <= 0
        links = await mine.page.eval_on_selector_all("a", "all => all.map(a => a.protocol)")
        assert set(links) == {"http:"}
        await mine.page.fill("#deny [name=reason]", EVIL[0])
        await mine.page.click("#deny button")
        await mine.page.wait_for_url("**/?done=*")
        await mine.open(f"/approvals/{evil.id}")
        assert EVIL[0] in await mine.page.inner_text("main")
        assert await mine.page.title() != "owned"
    assert store.get(evil.id).reason == EVIL[0]


async def test_what_stands_against_an_agent_is_text_on_every_page(desk, browser, scene):
    del scene  # who is named is registered
    places = await scenes.poisoned(desk, ALL)
    async with window(browser, desk, "ada") as mine:
        for path in (*places, f"/containment?agent={EVIL[1]}", f"/incidents/new?agent={EVIL[0]}"):
            await mine.open(path)
            assert await mine.page.locator(FOREIGN).count() == 0
            assert await mine.page.title() != "owned"
            assert EVIL[0] in await mine.page.content() or "&lt;script&gt;" in (
                await mine.page.content()
            )
            assert "\u202d" not in await mine.page.inner_text("main")
            links = await mine.page.eval_on_selector_all("a", "all => all.map(a => a.protocol)")
            assert set(links) == {"http:"}
            assert await mine.overflow() <= 0


async def test_what_an_agent_writes_is_text_also_when_it_comes_live(desk, browser):
    async with window(browser, desk) as mine:
        await mine.open("/live")
        await mine.page.wait_for_selector("body[data-live=on]")
        before = await mine.page.locator("[data-row]").count()
        async with standins.mcp_client(desk.stage, "kb", desk.token) as client:
            for evil in EVIL[:2]:
                with pytest.raises(MCPError):
                    await client.read_resource(f"kb://articles/{evil}")
            await client.call_tool("search_products", {"query": ALL})
        await mine.page.wait_for_function(
            "(before) => document.querySelectorAll('[data-row]').length > before", arg=before
        )
        assert await mine.page.locator("main img, main script, main svg").count() == 0
        assert await mine.page.title() != "owned"


async def test_the_live_view_can_be_halted_filtered_and_goes_on(desk, browser):
    async def search():
        async with standins.mcp_client(desk.stage, "crm", desk.token) as client:
            await client.call_tool("get_customer", {"customer_id": "C-1001"})

    async with window(browser, desk) as mine:
        await mine.open("/live?kind=decision")
        await mine.page.wait_for_selector("body[data-live=on]")
        rows = mine.page.locator("#rows [data-row]")
        before = await rows.count()
        await mine.page.click("text='Pause'")
        await search()
        await mine.page.wait_for_selector("text=/Go on .\\d+ new/")
        assert await rows.count() == before
        await mine.page.click("#pause")
        assert await rows.count() > before
        assert "crm.get_customer" in await mine.page.inner_text("#rows")
        await mine.open("/live?verdict=deny&risk=delete")
        await mine.page.wait_for_selector("body[data-live=on]")
        before = await rows.count()
        await search()
        await mine.open("/decisions?tool=crm.get_customer&verdict=allow")
        while not await rows.count():  # the projection is a moment behind the log
            await mine.page.reload()
        assert "deny" not in await mine.page.inner_text("#rows")
        await mine.open("/decisions?since=2001-01-01T00:00&until=2001-01-02T00:00")
        assert await rows.count() == 0


async def test_an_event_is_on_the_screen_at_once(desk, browser, record_property):
    """From the event's record to the row, by the clock of one machine: 50 events."""
    async with (
        window(browser, desk) as mine,
        standins.mcp_client(desk.stage, "crm", desk.token) as client,
    ):
        await mine.open("/live?kind=decision")
        await mine.page.wait_for_selector("body[data-live=on]")
        await mine.page.evaluate(
            """() => {
                window.seen = [];
                new MutationObserver((records) => {
                    const at = performance.timeOrigin + performance.now();
                    for (const record of records)
                        for (const row of record.addedNodes)
                            window.seen.push([
                                at / 1000,
                                Number(row.querySelector("time").dataset.at),
                            ]);
                }).observe(document.querySelector("#rows"), { childList: true });
            }"""
        )
        for _ in range(50):
            await client.call_tool("get_customer", {"customer_id": "C-1001"})
        await mine.page.wait_for_function("() => window.seen.length >= 50")
        delays = [shown - event for shown, event in await mine.page.evaluate("() => window.seen")]
    median = statistics.median(delays) * 1000
    record_property("live_median_ms", round(median, 1))
    print(f"event to screen: median {median:.1f} ms of {len(delays)}")  # noqa: T201 - the figure
    assert median < 250


MARKUP = {
    "TrustedHTML": "document.body.innerHTML = '<b>bold</b>'",
    "TrustedScript": "document.body.setAttribute('onclick', 'alert(1)')",
}


async def test_the_browser_itself_makes_no_markup_of_text_and_says_so(desk, browser):
    """What the other tests rely on: that a violation of the policy is among the complaints."""
    async with window(browser, desk) as mine:
        await mine.open("/")
        for kind, work in MARKUP.items():
            with pytest.raises(Refused, match=kind):
                await mine.page.evaluate(f"() => {work}")
        await mine.page.evaluate("() => document.body.setAttribute('style', 'color: red')")
        assert any("style-src 'self'" in one for one in mine.complaints), mine.complaints
        mine.complaints.clear()
