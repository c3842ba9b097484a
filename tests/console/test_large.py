"""A call as large as an agent can make one: it holds nothing up, and nothing of it hides."""

import asyncio
import json
import re
import time

import pytest

from console.windows import chromium, waits, window

pytestmark = pytest.mark.anyio

BYTES = 2**20
PRIVATE = "".join(chr(0xF0000 + one % 0x4000) for one in range(BYTES // 4 - 100))
UNSEEN = "\u202e\u200b" * (BYTES // 6 - 100)
FOUR = 4_000_000


def large(house, text, **fields):
    note = {"note": text}
    return waits(house.desk, name="change", risk="modify", arguments=note, request=note, **fields)


@pytest.mark.parametrize("text", [PRIVATE, UNSEEN, '<&"' * (BYTES // 3), "\n" * BYTES])
async def test_a_page_is_small_whatever_the_agent_sends_and_says_what_it_leaves_out(house, text):
    made, bea = large(house, text), house.person("bea")
    page = await bea.get(f"/approvals/{made.id}")
    assert page.status == 200
    assert len(page.text.encode()) < FOUR // 2
    assert " more⟩" in page.text
    assert "support-agent-prod-001" in page.text[page.text.index("Who asks") :]
    whole = ""
    place = f"/approvals/{made.id}/whole"
    while place:
        answer = await bea.get(place)
        assert answer.headers["content-type"] == "text/plain; charset=utf-8"
        assert len(answer.text.encode()) < FOUR
        assert all(one.isprintable() for one in answer.text.replace("\n", ""))
        whole += answer.text.split("\n\n")[1].removeprefix("\u2026")
        following = re.search(r": it goes on at (\S+)\n\Z", answer.text)
        place = following and following[1]
    assert json.loads(whole)["arguments"] == {"note": text}
    refused = await bea.act(f"/approvals/{made.id}/approve", reason="r", binding=made.binding)
    assert refused.code == "PC3054"
    assert 'type="checkbox" name="whole"' in page.text


async def test_what_nobody_may_decide_nobody_reads_whole(house):
    made = large(house, "x")
    assert (await house.person("vic").get(f"/approvals/{made.id}/whole")).code == "PC2004"


async def test_very_many_values_make_no_large_page_either(house):
    many = {f"{one}\u202e": ["\u202e<" * 9] * 20 for one in range(2000)}
    labels = {f"arguments.{name}.{n}": "selector: no source" for name in many for n in range(20)}
    made = waits(house.desk, arguments=many, request=many, labels=labels)
    page = await house.person("bea").get(f"/approvals/{made.id}")
    assert page.status == 200
    assert len(page.text.encode()) < FOUR // 2


async def test_who_opens_many_large_calls_holds_nobody_else_up(house):
    calls = [large(house, PRIVATE) for _ in range(6)]
    bea = house.person("bea")
    pages = asyncio.gather(*(bea.get(f"/approvals/{one.id}/whole") for one in calls))
    await asyncio.sleep(0.1)
    began = time.monotonic()
    assert (await house.person("vic").get("/")).status == 200
    assert time.monotonic() - began < 2
    answers = await pages
    assert {one.code for one in answers if one.status != 200} <= {"PC3056"}
    assert any(one.status == 200 for one in answers)


async def test_a_large_call_opens_in_a_browser(house):
    made = large(house, UNSEEN)
    async with chromium() as browser, window(browser, house.desk) as mine:
        began = time.monotonic()
        await mine.open(f"/approvals/{made.id}")
        assert time.monotonic() - began < 5
        await mine.page.fill("#approve [name=reason]", "read it")
        await mine.page.check("[name=whole]")
        await mine.page.click("button.approve")
        await mine.page.wait_for_url("**/?done=*")
