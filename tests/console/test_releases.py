"""Pages of releases without a browser: who may see and move what, and what is held against what."""

import asyncio
import html

import pytest

import standins
from console import scenes

pytestmark = pytest.mark.anyio


@pytest.fixture(scope="module")
def place(house):
    """The page of a release that was proposed."""
    return scenes.proposed(house.desk)


def text(answer):
    return html.unescape(answer.text)


async def test_who_may_only_look_sees_what_changes_and_replays_it_but_has_no_form_for_more(
    house, place
):
    vic = house.person("vic")
    page = await vic.get(place)
    assert "kb.spare" in page.text
    assert "2 of 19" in text(page)
    assert f'action="{place}/replay#replay"' in page.text
    for verb in ("approve", "reject", "shadow", "canary", "activate", "rollback"):
        assert f'action="{place}/{verb}"' not in page.text
    listed = await vic.get("/policy/releases")
    assert f'href="{place}"' in listed.text
    told = await vic.act(f"{place}/replay", against="1", days="", agent="")
    assert told.status == 200
    assert "decisions of the log replayed" in told.text
    wrong = await vic.act(f"{place}/replay", against="1", days="soon", agent="")
    assert wrong.code == "PC1020"


async def test_a_release_is_held_against_any_other_and_one_that_there_is_not_is_said_so(
    house, place
):
    vic = house.person("vic")
    own = (await vic.get(f"/policy/agents/{standins.AGENT}")).text
    assert f'href="{place}?agent={standins.AGENT}"' in own
    shown = (await vic.get(f"{place}?agent={standins.AGENT}")).text
    assert f'name="agent" value="{standins.AGENT}"' in shown
    assert (
        "No agent may more or less by it." in (await vic.get(f"{place}?against={place[17:]}")).text
    )
    assert "There was none before it." in (await vic.get("/policy/releases/1")).text
    assert (await vic.get("/policy/releases/999")).code == "PC7030"
    assert (await vic.get(f"{place}?against=999")).code == "PC7030"
    assert (await vic.get("/policy/releases/first")).code == "PC1020"


async def test_what_the_folder_rules_is_not_activated_and_what_was_not_shown_is_not_approved(
    house, place
):
    ada = house.person("ada")
    page = await ada.get(place)
    assert f'action="{place}/canary"' in page.text
    assert f'action="{place}/activate"' not in page.text
    number = place.rpartition("/")[2]
    refused = await ada.act(f"{place}/activate", active="1", typed=number)
    assert refused.code == "PC7034"
    for verb, fields in (("approve", {"reason": "read it"}), ("canary", {"share": "5"})):
        assert (await ada.act(f"{place}/{verb}", active="99", **fields)).code == "PC3055"
    assert (await ada.act(f"{place}/canary", active="1", share="51")).code == "PC7004"
    assert (await ada.act(f"{place}/approve", active="1", reason=" ")).code == "PC1020"
    assert house.services.release_parts.book.get(int(number)).approvals == ()


async def test_a_responder_ends_what_an_administrator_tries_and_both_are_on_record(house, place):
    ada = house.person("ada")
    ren = house.person(await house.new("ren-releases", "responder"))
    number = place.rpartition("/")[2]
    shadowed = await ada.act(f"{place}/shadow")
    assert (shadowed.status, shadowed.place) == (303, place)
    page = await ren.get(place)
    assert "End the shadow" in page.text
    assert f'action="{place}/reject"' not in page.text
    assert (await ren.act(f"{place}/rollback", reason="seen enough")).status == 303
    assert "Rolled back by" in (await ren.get(place)).text
    assert (await ren.act(f"{place}/rollback", reason="again")).code == "PC7031"

    def moves():
        return [
            (one.method, one.principal, one.route)
            for one in house.desk.stage.events()
            if one.method.startswith("policy.release.") and one.name == number
        ]

    for _ in range(600):
        if len(moves()) >= 2:
            break
        await asyncio.sleep(0.05)
    assert moves() == [
        ("policy.release.shadow", "ada", "console"),
        ("policy.release.rollback", "ren-releases", "console"),
    ]
