"""What operators do about agents at the console: it acts as at the API, and is on record."""

import asyncio
import re
import secrets

import pytest

import standins
from console import scenes
from portcullis.core.behaviour import Phase
from portcullis.core.principal import PrincipalKind

pytestmark = pytest.mark.anyio
KILLS = "/containment"
KILL = "/containment/kill"


@pytest.fixture
async def mallory(house):
    """An agent of this test alone."""
    name = f"mal-{secrets.token_hex(4)}"
    await house.desk.stage.create(PrincipalKind.AGENT, name, owner="the shop")
    return name


@pytest.fixture
async def rae(house):
    """A responder."""
    return house.person(await house.new(f"rae-{secrets.token_hex(4)}", "responder"))


def standing(house):
    return {(one.scope, one.value) for one in house.services.feed.standings() if one.reason}


async def undo(house, who, scope, value="", **fields):
    """Send the form that takes a kill back, as the page shows it now."""
    kept = [one for one in await house.services.feed.kept() if not one.isolation]
    whom = (scope, value or "*")
    since = next((str(one.made_at) for one in kept if (one.scope, one.value) == whom), "")
    said = {"scope": scope, "since": since, "reason": "a drill"} | (
        {"value": value} if value else {}
    )
    return await who.act("/containment/undo", **said | fields)


async def recorded(house, method, name):
    event = await standins.eventually(
        house.desk.stage, lambda one: (one.method, one.name) == (method, name)
    )
    return event.principal, event.route, event.parameters["reason"]


async def test_an_agent_is_cut_off_and_the_page_says_which_gateway_obeyed_and_when(
    house, rae, mallory
):
    fields = {"scope": "agent", "value": mallory, "reason": "mails data to a stranger"}
    done = await rae.act(KILL, **fields)
    assert done.status == 303
    shown = (await rae.get(done.place)).text
    assert "Killed" in shown
    assert re.search(r"acted after \d+\.\d ms: 0 calls and 0 connections ended", shown)
    assert re.search(r"1 gateway, all by \d+\.\d ms", shown)
    assert "mails data to a stranger" in shown
    assert 'action="/containment/undo"' not in shown  # that is an administrator's
    assert ("agent", mallory) in standing(house)
    name = house.services.authority.verify(rae.token, "portcullis-console").sub.partition(":")[2]
    assert await recorded(house, "kills.kill", f"agent:{mallory}") == (
        name,
        "console",
        fields["reason"],
    )
    assert "state-killed" in (await rae.get(f"/agents/{mallory}")).text
    ada = house.person("ada")
    undone = await undo(house, ada, "agent", mallory)
    assert "Taken back" in (await ada.get(undone.place)).text
    assert "it is so no longer" in (await ada.get(done.place)).text  # whoever has that page still
    assert ("agent", mallory) not in standing(house)
    again = await undo(house, ada, "agent", mallory)
    assert (again.code, again.status) == ("PC4004", 404)


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"scope": "role", "value": "support_agent"}, "PC3054"),
        ({"scope": "role", "value": "support_agent", "typed": "support"}, "PC3054"),
        ({"scope": "role", "value": "nobody", "typed": "nobody"}, "PC2010"),
        ({"scope": "all"}, "PC3054"),
        ({"scope": "all", "typed": "everyone"}, "PC3054"),
        ({"scope": "all", "value": "x", "typed": "everybody"}, "PC1020"),
        ({"scope": "agent"}, "PC1020"),
        ({"scope": "agent", "value": "nobody-at-all"}, "PC2010"),
        ({"scope": "agent", "value": "a b"}, "PC1020"),
        ({"scope": "operator", "value": "ada"}, "PC1020"),
        ({"scope": "agent", "value": standins.AGENT, "reason": "two\nlines"}, "PC1020"),
        ({"scope": "agent", "value": standins.AGENT, "all": "yes"}, "PC1021"),
    ],
)
async def test_who_means_somebody_else_or_everybody_by_accident_cuts_nobody_off(
    house, rae, fields, code
):
    before = standing(house)
    answer = await rae.act(KILL, **fields)
    assert answer.code == code
    assert standing(house) == before


async def test_a_kill_that_was_not_shown_is_not_taken_back(house, rae, mallory):
    ada, kill = house.person("ada"), {"scope": "agent", "value": mallory}
    assert (await rae.act(KILL, **kill, reason="a drill")).status == 303
    place = f"/agents/{mallory}"
    since = re.search(r'name="since" value="([0-9.]+)"', (await ada.get(place)).text)[1]
    stale = {"since": since, "reason": "the drill is over"}
    assert (await undo(house, ada, "agent", mallory)).status == 303
    assert (await rae.act(KILL, **kill, reason="now it is real")).status == 303
    assert (await undo(house, ada, "agent", mallory, **stale)).code == "PC3055"
    assert (await ada.act(f"{place}/undo", **stale)).code == "PC3055"
    assert ("agent", mallory) in standing(house)
    assert (await ada.act(f"{place}/undo", since=since, reason="")).code == "PC1020"
    page = (await ada.get(place)).text
    assert "now it is real" in (await house.person("vic").get(place)).text
    since = re.search(r'name="since" value="([0-9.]+)"', page)[1]
    assert (await ada.act(f"{place}/undo", since=since, reason="a drill")).status == 303
    assert ("agent", mallory) not in standing(house)


async def test_who_obeyed_is_known_of_kills_that_were_not_made_here(house, rae, mallory):
    body = {"scope": "agent", "value": mallory, "reason": "by command"}
    answer = await house.api("POST", "/api/v1/kills", body, **house.bearer("ada"))
    assert answer.status == 200
    row = re.search(
        rf'<a href="/agents/{mallory}">.*?</tr>', (await rae.get(KILLS)).text, re.DOTALL
    )
    assert re.search(r"1 gateway, all by \d+\.\d ms", row[0])
    assert (await undo(house, house.person("ada"), "agent", mallory)).status == 303


async def test_a_session_that_there_is_not_is_said_to_be_none(house, rae):
    wrong = house.desk.session.upper()
    done = await rae.act(KILL, scope="session", value=wrong)
    assert "No session of this id is open" in (await rae.get(done.place)).text
    assert (await undo(house, house.person("ada"), "session", wrong)).status == 303


async def test_a_form_that_was_refused_comes_back_as_itself_and_not_as_a_kill(house, rae, mallory):
    said = {"csrf": await rae.csrf(), "scope": "agent", "value": mallory, "reason": ""}
    page = (await rae.send("/containment/quarantine", said)).text
    kill, isolate = page.split('id="isolate"')
    assert "PC1020" in kill
    assert mallory not in kill
    assert f'value="{mallory}"' in isolate


async def test_an_agent_is_suspended_at_its_page_by_who_may_and_let_go_on(house, rae, mallory):
    place = f"/agents/{mallory}"
    assert f'action="{place}/suspend"' in (await rae.get(place)).text
    assert f'action="{place}/suspend"' not in (await house.person("vic").get(place)).text
    assert (await rae.act(f"{place}/suspend")).status == 303
    assert "state-suspended" in (await rae.get(place)).text
    assert (await house.person("ada").act(f"{place}/resume")).status == 303


async def test_no_alert_offers_to_cut_off_somebody_whom_an_agent_named(house, rae, mallory):
    store = house.services.alert_parts.store
    groups = (
        {"name": f"agent:{mallory}", "server": "crm"},  # that is a tool
        {"principal": mallory, "principal_kind": "application"},
    )
    some = [scenes.alert(f"r-{mallory}", "", group=one) for one in groups]
    hidden = scenes.alert(f"h-{mallory}", "", group={"principal": mallory}, hidden=("principal",))
    for alert in store.put([*some, hidden], {}):
        page = (await rae.get(f"/alerts/{alert.id}")).text
        assert "Cut off or isolate" not in page
        assert "Open an incident" not in page


async def test_a_role_is_cut_off_by_typing_it_twice_and_let_go_again(house, rae):
    done = await rae.act(KILL, scope="role", value="support_agent", typed="support_agent")
    try:
        assert done.status == 303
        assert ("role", "support_agent") in standing(house)
        page = (await house.person("vic").get(f"/agents/{standins.AGENT}")).text
        assert "as all agents of its role are: <bdi>killed by an operator</bdi>" in page
        assert "state-killed" in (await rae.get("/agents")).text
        assert "role <bdi>support_agent</bdi>" in (await rae.get("/containment")).text
    finally:
        ada = house.person("ada")
        assert (await undo(house, ada, "role", "support_agent")).status == 303


async def test_everybody_is_cut_off_by_typing_that_and_operators_go_on(house, rae):
    done = await rae.act(KILL, scope="all", typed="everybody", reason="fire drill")
    try:
        assert done.status == 303
        shown = await rae.get(done.place)
        assert "everybody" in shown.text
        assert "fire drill" in shown.text
    finally:
        undone = await undo(house, house.person("ada"), "all")
        assert undone.status == 303
    assert ("all", "*") not in standing(house)


async def test_an_agent_is_isolated_and_let_out(house, rae, mallory):
    fields = {"scope": "agent", "value": mallory, "reason": "asks for others' orders"}
    assert (await rae.act("/containment/quarantine", **fields | {"reason": ""})).code == "PC1020"
    done = await rae.act("/containment/quarantine", **fields)
    assert "In quarantine" in (await rae.get(done.place)).text
    page = (await rae.get(f"/agents/{mallory}")).text
    assert "state-quarantined" in page
    assert "asks for others&#39; orders" in page
    assert (await recorded(house, "quarantine.begin", f"agent:{mallory}"))[1] == "console"
    ada = house.person("ada")
    stale = await ada.act("/containment/release", **fields, since="0.0")
    assert stale.code == "PC3055"
    [kept] = [one for one in await house.services.feed.kept() if one.value == mallory]
    out = await ada.act("/containment/release", **fields, since=str(kept.made_at))
    assert "Let out" in (await ada.get(out.place)).text
    assert (await ada.act("/containment/release", **fields)).code == "PC4011"
    assert (await rae.act("/containment/quarantine", **fields | {"value": "no-one"})).code == (
        "PC2010"
    )


async def test_a_long_list_of_who_is_cut_off_is_read_in_pages(house, rae):
    feed = house.services.feed
    names = [f"session-{number:03}" for number in range(60)]
    for name in names:
        await feed.cut("session", name, "a long list", "bea")
    try:
        first = (await rae.get("/containment")).text
        second = (await rae.get("/containment?page=1")).text
        both = re.findall(r"session-\d{3}", first), re.findall(r"session-\d{3}", second)
        assert [len(set(found)) for found in both] == [50, 10]
        assert not {*both[0]} & {*both[1]}
        assert 'href="/containment?page=1"' in first
        assert (await rae.get("/containment?page=x")).code == "PC1020"
    finally:
        for name in names:
            await feed.lift("session", name)


async def test_risk_stands_in_the_list_by_which_it_is_sorted_and_filtered(house, mallory):
    store = house.services.behaviour_parts.store
    calm, odd = f"calm-{mallory}", f"odd-{mallory}"
    for name in (calm, odd):
        await house.desk.stage.create(PrincipalKind.AGENT, name, owner="the shop")
    store.keep([scenes.standing(calm, 1.0), scenes.standing(odd, 42.0)])
    vic = house.person("vic")
    listed = re.findall(
        rf'data-row>\n<th scope="row"><a href="/agents/(\S*{mallory})"',
        (await vic.get("/agents?sort=risk")).text,
    )
    assert listed == [odd, calm]  # who was never seen has no risk
    page = (await vic.get(f"/agents?name=odd-{mallory}")).text
    assert 'level-elevated">elevated</span>' in page
    assert "42, 2 reasons" in page
    only = (await vic.get("/agents?level=elevated")).text
    assert odd in only
    assert calm not in only
    assert (await vic.get("/agents?level=odd")).code == "PC1020"
    assert (await vic.get("/agents?sort=name")).code == "PC1020"
    assert odd not in (await vic.get("/agents?level=elevated&state=revoked")).text


async def test_more_agents_by_risk_than_fit_on_a_page_are_all_there(house, mallory):
    store = house.services.behaviour_parts.store
    names = [f"p{number:02}-{mallory}" for number in range(53)]
    for name in names:
        await house.desk.stage.create(PrincipalKind.AGENT, name, owner="the shop")
    store.keep([scenes.standing(name, 31.0 + number / 2) for number, name in enumerate(names)])
    vic, found, place = house.person("vic"), [], "/agents?level=elevated&name=p"
    while place:
        page = (await vic.get(place)).text
        found += re.findall(rf'<th scope="row"><a href="/agents/(p\d\d-{mallory})"', page)
        more = re.search(r'href="(/agents[^"]*cursor[^"]*)">More', page)
        place = more and more[1].replace("&amp;", "&")
    assert found == names[::-1]


async def test_what_is_usual_is_ratified_and_reset_with_a_reason(house, mallory):
    store = house.services.behaviour_parts.store
    store.keep([scenes.standing(mallory, 42.0, Phase.LEARNING, days=0)])
    ada = house.person("ada")
    page = (await ada.get(f"/agents/{mallory}")).text
    assert "crm.export" in page
    assert f"/agents/{mallory}/ratify" in page
    assert "/ratify" not in (await house.person("bea").get(f"/agents/{mallory}")).text
    early = await ada.act(f"/agents/{mallory}/ratify", reason="all is well")
    assert (early.code, early.status) == ("PC3092", 409)
    store.keep([scenes.standing(mallory, 42.0, Phase.LEARNING)])
    assert (await ada.act(f"/agents/{mallory}/ratify", reason=" ")).code == "PC1020"
    done = await ada.act(f"/agents/{mallory}/ratify", reason="all is well")
    assert (done.status, done.place) == (303, f"/agents/{mallory}#behaviour")
    assert store.get(mallory).phase is Phase.RATIFIED
    assert (await recorded(house, "behaviour.ratify", mallory))[1:] == ("console", "all is well")
    assert (await ada.act(f"/agents/{mallory}/reset", reason="anew")).status == 303
    assert store.get(mallory).phase is Phase.LEARNING


async def test_what_an_agent_asked_for_is_drawn_without_a_script_and_stands_in_words(house):
    desk = house.desk
    before = len(desk.stage.events())
    await desk.refused({"to": "mallory@outside.example", "subject": "x", "body": "y"})
    await standins.eventually(desk.stage, lambda _: len(desk.stage.events()) > before)
    vic = house.person("vic")
    for _ in range(600):  # the projection is a moment behind the log
        page = (await vic.get(f"/agents/{standins.AGENT}?span=24h")).text
        if 'class="refused"' in page:
            break
        await asyncio.sleep(0.05)
    drawing = re.search(r'<svg class="spark".*?</svg>', page, re.DOTALL)[0]
    assert 'role="img" aria-labelledby="spark-title spark-desc"' in drawing
    calls, refused = map(int, re.search(r">(\d+) calls, (\d+) of them", drawing).groups())
    assert calls >= refused > 0
    assert "style" not in drawing
    assert "<script" not in drawing
    assert page.count("<td>0</td>") >= 23  # the table has each of the 24 hours
    assert (await vic.get(f"/agents/{standins.AGENT}?span=7d")).status == 200
    assert (await vic.get(f"/agents/{standins.AGENT}?span=1y")).code == "PC1020"


async def test_an_alert_is_looked_after_and_silenced(house, rae):
    store, rule = house.services.alert_parts.store, f"r-{secrets.token_hex(4)}"
    [alert] = store.put([scenes.alert(rule, standins.AGENT)], {})
    listed = (await house.person("vic").get(f"/alerts?rule={rule}")).text
    assert f'href="/alerts/{alert.id}"' in listed
    place = f"/alerts/{alert.id}"
    assert "acknowledge" not in (await house.person("vic").get(place)).text
    assert f'href="/agents/{standins.AGENT}"' in (await rae.get(place)).text
    assert (await rae.act(f"{place}/acknowledge", reason="")).code == "PC1020"
    assert (await rae.act(f"{place}/acknowledge", reason="I look after it")).status == 303
    assert (await recorded(house, "alert.acknowledged", alert.id))[1] == "console"
    assert (await rae.act(f"{place}/acknowledge", reason="again")).code == "PC8021"
    assert (await rae.act(f"{place}/resolve", reason="a rehearsal")).status == 303
    assert alert.id not in (await rae.get(f"/alerts?rule={rule}")).text
    assert alert.id in (await rae.get(f"/alerts?rule={rule}&state=all")).text
    [other] = store.put([scenes.alert(rule, "", group={"name": f"agent:{standins.AGENT}"})], {})
    page = (await rae.get(f"/alerts/{other.id}")).text
    assert f"/incidents/new?agent={standins.AGENT}&amp;alert={other.id}" in page
    assert (await rae.get("/alerts/none")).code == "PC8020"
    assert (await rae.get("/alerts?level=loud")).code == "PC1020"

    ada = house.person("ada")
    place = re.search(
        r'href="(/silences\S+)#silence"', (await ada.get(f"/alerts/{other.id}")).text
    )[1]
    form = (await ada.get(place.replace("&amp;", "&"))).text
    assert f">name=agent:{standins.AGENT}</textarea>" in form  # nobody else's alerts, unless wanted
    wanted = {"rule": rule, "by": "principal=shop-1", "count": "2", "unit": "hours"}
    for wrong in ({"count": "0"}, {"count": "x"}, {"unit": "years"}, {"by": "principal"}):
        assert (await ada.act("/silences", **wanted | wrong, reason="r")).code == "PC1020"
    far = await ada.act("/silences", **wanted | {"by": "colour=red"}, reason="a load test")
    assert far.code == "PC8022"
    assert (await ada.act("/silences", **wanted, reason="a load test")).status == 303
    [silence] = store.silences()
    assert silence.matching == {"principal": "shop-1"}
    assert round(silence.until - silence.made_at) == 7200
    assert (await ada.act(f"/silences/{silence.id}/end", reason="it is over")).status == 303
    assert store.silences() == ()
    assert (await ada.act(f"/silences/{silence.id}/end", reason="again")).code == "PC8023"


async def test_a_breaker_is_shown_and_closed_by_an_administrator(house, mallory):
    await scenes.opened(house.services.breakers, mallory)
    ada, vic = house.person("ada"), house.person("vic")
    assert f"agent:{mallory}" in (await vic.get("/breakers")).text
    assert "/breakers/reset" not in (await vic.get("/breakers")).text
    wanted = {"breaker": f"agent:{mallory}", "reason": "its owner saw to it"}
    assert (await ada.act("/breakers/reset", **wanted | {"breaker": "all"})).code == "PC1020"
    assert (await ada.act("/breakers/reset", **wanted)).status == 303
    assert f"agent:{mallory}" not in (await vic.get("/breakers")).text
    assert (await recorded(house, "breaker.close", f"agent:{mallory}"))[1] == "console"
    assert (await ada.act("/breakers/reset", **wanted)).code == "PC4012"


async def test_what_runs_without_a_box_is_shown_first(house):
    page = (await house.person("vic").get("/tools")).text
    assert "1 without a box" in page
    rows = re.findall(r"<tr data-row>.*?</tr>", page, re.DOTALL)
    assert "free" in rows[0]
    assert "here, without a box" in rows[0]
    assert "sealed" in rows[1]
    assert all(word in rows[1] for word in ("here, in a box", "strict", "session"))
    assert all("elsewhere, over HTTP" in row for row in rows[2:])
    assert "--hidden" not in page


async def test_threats_name_what_is_here_and_say_what_covers_it(house):
    page = (await house.person("vic").get("/policy/threats")).text
    uncovered = page.partition('id="partly"')[0]
    assert "process mcp.free" in uncovered
    assert "process mcp.sealed" not in uncovered
    assert 'aria-labelledby="flows-title flows-desc"' in page
    assert "--hidden" not in page


async def test_budgets_say_whom_they_count_what_is_left_and_how_fast_it_goes(house):
    await scenes.spent(house.desk.stage, 1000)
    vic = house.person("vic")
    page = await vic.get("/limits?limit=shop-models&agent=shop-0007")
    assert "17.25 USD of 20.00 USD" in page.text
    assert "2.75 USD" in page.text
    assert re.search(r"level-high\">\d+\.\d of 2 times", page.text)
    found, place = [], "/limits?limit=shop-models"
    while place:
        page = await vic.get(place)
        assert len(page.text) < 120_000
        found += re.findall(r'href="/agents/(shop-\d{4})"', page.text)
        more = re.search(r'href="(/limits[^"]*cursor[^"]*)">More', page.text)
        place = more and more[1].replace("&amp;", "&")
    assert found == [f"shop-{number:04}" for number in range(1000)]
    assert (await vic.get("/limits?limit=none")).code == "PC3079"
    assert (await vic.get("/limits?cursor=none")).code == "PC3051"
