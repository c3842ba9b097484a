"""Least privilege in the browser: if this fails, who owns an agent cannot see what a policy would
take from it, nor follow an alarm to what widened it."""

import asyncio
import contextlib
import dataclasses

import aiohttp
import pytest
import yaml

import standins
from console.people import housed
from console.windows import PHONE, chromium, window
from e2e.approvals.desk import Desk
from e2e.policy.test_drill import CUSTOMERS, NAME, Drill, generous, told, worked
from e2e.policy.test_observe import tried
from needs import needs_node
from portcullis import bootstrap
from portcullis.config import load

pytestmark = [pytest.mark.anyio, needs_node]

SETTINGS = {"policy_changes": {"approvals": 1}}
BYPASS = {"policy_changes": {"approvals": 0}}
GONE = "crm.delete_customer"
MINED = f"mined-{NAME}.yaml"


@dataclasses.dataclass
class Gate:
    """The gate of a stage, which somebody may end before the stage does."""

    stack: contextlib.AsyncExitStack = dataclasses.field(default_factory=contextlib.AsyncExitStack)

    @contextlib.asynccontextmanager
    async def running(self, config):
        async with self.stack:
            yield await self.stack.enter_async_context(bootstrap.running_gate(config))


async def proposed(desk, texts, who="ada", note="only what it needs"):
    """Somebody proposes a policy, as a build does: at the API."""
    files = [{"name": f"policy/{name}", "text": text} for name, text in texts.items()]
    url = f"{desk.stage.gate.control_url}/api/v1/policy/releases"
    async with (
        aiohttp.ClientSession(headers=desk.operators[who]) as http,
        http.post(url, json={"files": files, "note": note}) as answer,
    ):
        made = await answer.json()
    assert answer.status == 201, made
    return made["number"]


async def reads(ada, number):
    """Its owner sees what is taken away, what it stands on, and what it would have changed."""
    await ada.open("/policy")
    await ada.page.click(f"main a:text-is('{number}')")
    assert ada.path() == f"/policy/releases/{number}"
    [row] = await ada.page.locator("[aria-labelledby=changes] tbody tr").all()
    cells = await row.locator("td").all_inner_texts()
    assert cells[0] == "nothing"
    assert f"tool {GONE}" in cells[1]
    mined = await ada.page.inner_text("[aria-labelledby=mined]")
    assert "Mined for" in mined
    assert "3 of attacked sessions" in mined
    assert "arguments.customer_id == session.subject.customer_id" in mined
    added = await ada.page.inner_text("[aria-labelledby=text] .add >> nth=0")
    assert added.startswith(f"\t1\t+ # Mined for {NAME} from 9 calls")
    await ada.page.select_option("[name=days]", "")
    await ada.page.fill("[name=agent]", NAME)
    await ada.page.click("text='Replay the log'")
    status = ada.page.locator("[aria-labelledby=replay] [role=status]")
    assert "0 changed" in await status.inner_text(timeout=60_000)
    assert "late" not in await ada.page.inner_text("main")  # no argument of anybody's
    await ada.picture("release-light")
    assert await ada.faults() == []
    # She proposed it, so she has no form for it; and nothing can take force.
    assert "it was ada who said so before" in await ada.page.inner_text(".decide")
    assert await ada.page.locator("#approve, #activate").count() == 0


async def approves(eve, number):
    """A second operator, on a phone at night and without JavaScript."""
    await eve.open("/policy/releases")
    assert await eve.overflow() <= 0
    await eve.picture("releases-dark")
    await eve.page.click(f"main a:text-is('{number}')")
    assert await eve.overflow() <= 0
    await eve.picture("release-dark")
    await eve.page.fill("#approve-reason", "read what it takes away")
    await eve.page.click("text='Approve'")
    assert "read what it takes away" in await eve.page.inner_text("main > .facts")


async def activates(desk, ada, number, token):
    """It takes force everywhere, when the number is typed that the page is about."""
    await ada.open(f"/policy/releases/{number}")
    await ada.page.fill("#activate-typed", "1")
    await ada.page.click(f"text='Activate release {number}'")
    assert "PC3054" in await ada.page.inner_text("[role=alert]")
    ada.complaints.clear()  # the browser notes that the page was a refusal
    await ada.page.fill("#activate-typed", str(number))
    await ada.page.click(f"text='Activate release {number}'")
    await ada.page.wait_for_selector("h1 .state-active")
    asked = {"customer_id": CUSTOMERS[-1]}
    for _ in range(300):
        if await tried(desk.stage, token, "tickets.list", asked) == "PC3001":
            break
        await asyncio.sleep(0.1)
    assert await tried(desk.stage, token, "tickets.list", asked) == "PC3001"
    assert await tried(desk.stage, token, "orders.search", asked | {"limit": 5}) == ""


async def confirms(ada):
    """Its owner confirms what it may now."""
    await ada.open(f"/policy/agents/{NAME}")
    await ada.page.fill("#confirm-reason", "read the release and the replay")
    await ada.page.click("text='Confirm'")
    assert "by ada, release 2" in await ada.page.inner_text("main > .facts")


def drafted(drill):
    """The files that were mined."""
    return {one.name: one.read_text() for one in drill.draft.iterdir()}


def wider(drill):
    """The same with a line more."""
    texts = drafted(drill)
    more = texts[MINED].replace("allowed_tools:", f"allowed_tools:\n      - {GONE}", 1)
    return texts | {MINED: more}


async def goes_back(desk, drill):
    """A widening that two people put in force is taken back by one of them, with a form."""
    async with housed(desk) as house:
        ada, eve = house.person("ada"), house.person("eve")
        number = await proposed(desk, wider(drill), "eve", "it deletes again")
        place = f"/policy/releases/{number}"
        assert (await eve.act(f"{place}/activate", active="2", typed="3")).code == "PC7032"
        assert (await ada.act(f"{place}/approve", active="2", reason="asked")).status == 303
        assert (await eve.act(f"{place}/activate", active="2", typed="3")).status == 303
        page = await ada.get(place)
        assert "Roll back to release 2" in page.text
        assert (await ada.act(f"{place}/rollback", reason="never mind")).status == 303
        assert "state-rolled_back" in (await ada.get(place)).text
        assert "In force again by" in (await ada.get("/policy/releases/2")).text


def widened(drill):
    """Who can write on the machine lets the folder rule, with a line more in it."""
    for name, text in wider(drill).items():
        (drill.policy / name).write_text(text)
    config = drill.stage.config
    config.write_text(yaml.safe_dump(yaml.safe_load(config.read_text()) | BYPASS))


async def follows(ada):
    """The alarm leads to the agent, and to what widened it."""
    alarm = "text='An agent may more than was confirmed, and nobody approved that'"
    for _ in range(120):
        await ada.open("/alerts")
        if await ada.page.locator(alarm).count():
            break
        await asyncio.sleep(0.5)
    await ada.page.click(alarm)
    await ada.picture("drift-alert")
    await ada.page.click(f"text=What {NAME} may")
    said = await ada.page.inner_text("main .notice.bad >> nth=0")
    assert said.startswith("Release 4 widened it, and nobody approved that")
    assert GONE in await ada.page.inner_text("main")
    await ada.picture("drift-agent")
    await ada.page.click("main .notice.bad >> text='Release 4'")
    [row] = await ada.page.locator("[aria-labelledby=changes] tbody tr").all()
    assert await row.locator("td").all_inner_texts() == [f"tool {GONE}", "nothing"]
    await ada.open("/policy")
    assert "from the folder, and nobody approved that" in await ada.page.inner_text("main")
    await ada.picture("drift-policy")
    assert await ada.faults() == []


async def taken_back(desk, drill, ada):
    """With what was confirmed in force again, the alarm is over."""
    (drill.policy / MINED).write_text(drafted(drill)[MINED])
    desk.stage.gate.reload_policy()
    ended = await standins.eventually(
        desk.stage, lambda one: one.method == "policy.drift.end", seconds=60
    )
    assert ended.parameters["agent"] == NAME
    for _ in range(120):
        await ada.open("/alerts?rule=policy-drift")
        if not await ada.page.locator("main [data-row]").count():
            break
        await asyncio.sleep(0.5)
    else:
        raise AssertionError("the alarm goes on")
    await ada.open("/policy")
    assert "nobody approved that" not in await ada.page.inner_text("main")


async def test_what_an_agent_needs_is_read_approved_and_guarded_in_the_console(tmp_path):
    gate = Gate()
    async with (
        chromium() as browser,
        standins.staged(
            tmp_path, policy=generous(), settings=SETTINGS, running=gate.running
        ) as stage,
    ):
        drill = Drill(stage, tmp_path, await worked(stage))
        desk = Desk(stage, "")
        for name in ("ada", "eve"):
            await desk.operator(name, "admin")
        await told("mine", "--agent", NAME, "-o", tmp_path / "draft", *drill.config)
        number = await proposed(desk, drafted(drill))
        async with (
            window(browser, desk, "ada") as ada,
            window(
                browser,
                desk,
                "eve",
                viewport=PHONE,
                color_scheme="dark",
                java_script_enabled=False,
            ) as eve,
        ):
            await reads(ada, number)
            await approves(eve, number)
            await activates(desk, ada, number, drill.token)
            await confirms(ada)
        await goes_back(desk, drill)
        await gate.stack.aclose()
        widened(drill)
        async with bootstrap.running_gate(load(stage.config)) as again:
            desk.stage = dataclasses.replace(stage, gate=again)
            async with window(browser, desk, "ada") as ada:
                await follows(ada)
                await taken_back(desk, drill, ada)
