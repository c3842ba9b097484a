"""An incident at the console: what is out of order, or half said, changes nothing."""

import re
import secrets

import pytest

import standins
from console import scenes
from portcullis.core.incident import Phase, Step, Subject
from portcullis.core.principal import PrincipalKind

pytestmark = pytest.mark.anyio
WHY = {"reason": "mails customers' data to a stranger"}


@pytest.fixture
async def mallory(house):
    """An agent of this test alone."""
    name = f"mal-{secrets.token_hex(4)}"
    await house.desk.stage.create(PrincipalKind.AGENT, name, owner="the shop")
    return name


@pytest.fixture
def store(house):
    return house.services.incident_parts.store


@pytest.fixture
async def incident(house, store, mallory):
    """One that was just opened; it is stood down when the test is over."""
    ada = house.person("ada")
    answer = await ada.act("/incidents", agent=mallory, **WHY)
    assert answer.status == 303
    made = answer.place.rpartition("/")[2]
    yield made
    if store.get(made).phase in {Phase.OPEN, Phase.CONTAINED}:
        assert (await ada.act(f"/incidents/{made}/stand-down", **WHY)).status == 303


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({}, "PC1020"),
        ({"agent": "{agent}", "session": "s-1"}, "PC1020"),
        ({"agent": "{agent}", "reason": ""}, "PC1020"),
        ({"agent": "{agent}", "since_days": "x"}, "PC1020"),
        ({"agent": "{agent}", "since_days": "0"}, "PC1020"),
        ({"agent": "{agent}", "containing": "nothing"}, "PC1020"),
        ({"agent": "{agent}", "playbook": "no-such-book"}, "PC7066"),
        ({"agent": "nobody-at-all"}, "PC2010"),
        ({"session": "none"}, "PC2006"),
        ({"agent": "{agent}", "phase": "audited"}, "PC1021"),
    ],
)
async def test_what_is_half_said_opens_no_incident(house, store, mallory, fields, code):
    said = WHY | {name: text.format(agent=mallory) for name, text in fields.items()}
    answer = await house.person("ada").act("/incidents", **said)
    assert answer.code == code
    assert store.of(Subject(agent=mallory).name) is None


async def test_there_is_one_incident_about_an_agent_and_its_page_leads_there(
    house, mallory, incident
):
    ada = house.person("ada")
    again = await ada.act("/incidents", agent=mallory, **WHY)
    assert (again.code, again.status) == ("PC7062", 409)
    assert incident in again.text
    assert f'href="/incidents/{incident}"' in (await ada.get(f"/agents/{mallory}")).text
    listed = (await house.person("vic").get(f"/incidents?subject=agent:{mallory}")).text
    assert f'href="/incidents/{incident}"' in listed
    assert "contain" in listed
    assert (await ada.get("/incidents?state=odd")).code == "PC1020"
    assert (await ada.get("/incidents/none")).code == "PC7060"
    assert (await ada.act("/incidents/none/steps/contain", **WHY)).code == "PC7060"


@pytest.mark.parametrize(
    ("path", "fields"),
    [
        ("steps/revoke", {}),
        ("steps/rotate", {}),
        ("steps/reaudit", {}),
        ("credentials", {"reference": "file:key", "how": "by_hand"}),
        ("findings", {"finding": "1", "verdict": "benign"}),
        ("reinstate", {}),
        ("approve", {}),
        ("close", {"typed": "{agent}"}),
    ],
)
async def test_a_step_that_is_not_due_is_refused_and_the_page_says_which_is(
    house, store, mallory, incident, path, fields
):
    said = WHY | {name: text.format(agent=mallory) for name, text in fields.items()}
    answer = await house.person("ada").act(f"/incidents/{incident}/{path}", **said)
    assert (answer.code, answer.status) == ("PC7061", 409)
    assert "contain is due" in answer.text
    assert f"/incidents/{incident}/steps/contain" in answer.text
    assert store.get(incident).steps == ()
    await standins.eventually(
        house.desk.stage, lambda event: (event.principal, event.code) == ("ada", "PC7061")
    )


async def test_a_kill_at_the_page_opens_an_incident_that_holds_it(house, store, mallory):
    ada = house.person("ada")
    kill = {"scope": "agent", "value": mallory, "incident": "hostile-agent"}
    done = await ada.act("/containment/kill", **kill, **WHY)
    shown = (await ada.get(done.place)).text
    found = store.of(Subject(agent=mallory).name)
    assert f'href="/incidents/{found.id}"' in shown
    assert (found.phase, found.source.kind) == (Phase.CONTAINED, "kill")
    [kept] = [one for one in await house.services.feed.kept() if one.value == mallory]
    undo = {"scope": "agent", "value": mallory, "reason": "never mind", "since": str(kept.made_at)}
    assert (await ada.act("/containment/undo", **undo)).code == "PC7063"
    wrong = {"typed": "another", **WHY}
    assert (await ada.act(f"/incidents/{found.id}/close", **wrong)).code == "PC3054"
    assert (await ada.act(f"/incidents/{found.id}/stand-down", **WHY)).status == 303
    page = (await ada.get(f"/incidents/{found.id}")).text
    assert "stood down" in page
    assert 'id="due"' not in page
    assert (await ada.act("/containment/undo", **undo)).status == 303  # it was no incident's doing
    assert (await ada.act(f"/incidents/{found.id}/steps/revoke", **WHY)).code == "PC7061"


async def test_notes_are_kept_as_they_were_written_and_bounded(house, store, incident):
    ada = house.person("ada")
    place = f"/incidents/{incident}/notes"
    assert (await ada.act(place, text="Its owner was called.\r\nTwice.")).status == 303
    assert store.get(incident).notes[0].text == "Its owner was called.\nTwice."
    assert "Its owner was called.\nTwice." in (await ada.get(f"/incidents/{incident}")).text
    for text in ("", "x" * 2001, "a\0b"):
        assert (await ada.act(place, text=text)).code == "PC1020"
    assert len(store.get(incident).notes) == 1


@pytest.mark.parametrize("fields", [{"days": "x"}, {"days": "0"}, {"factor": "nan"}])
async def test_a_probation_that_is_none_is_refused(house, incident, fields):
    answer = await house.person("ada").act(f"/incidents/{incident}/reinstate", **WHY, **fields)
    assert answer.code == "PC1020"


async def test_what_was_shown_is_approved_and_done_and_nothing_else(house, store, mallory):
    """Forms that were made before another proposal took the place of the one that they show."""
    known = scenes.incident(
        f"i-{mallory}", mallory, phase=Phase.AUDITED, playbook="plain", plan=None, steps=()
    )
    store.open(known)
    ada, bea, place = house.person("ada"), house.person("bea"), f"/incidents/{known.id}"
    bare = {"days": "7", "factor": "0.25", "reason": "its prompt was hardened"}
    assert (await ada.act(f"{place}/reinstate", **bare)).status == 303
    form = r'name="binding" value="([0-9a-f]+)"'
    shown = re.search(form, (await bea.get(place)).text)[1]
    assert (
        await ada.act(f"{place}/reinstate", **bare | {"days": "1", "factor": "1"})
    ).status == 303
    for stale in ({"binding": shown}, {}):
        assert (await bea.act(f"{place}/approve", **WHY, **stale)).code == "PC7067"
    assert not store.get(known.id).asked.approved_by
    shown = re.search(form, (await bea.get(place)).text)[1]
    assert (await bea.act(f"{place}/approve", **WHY, binding=shown)).status == 303
    assert store.get(known.id).asked.days == 1
    for stale in (bare, WHY, WHY | {"binding": "0" * 64}):  # a proposal lets nobody in
        answer = await ada.act(f"{place}/reinstate", **stale)
        assert (answer.code, answer.status) == ("PC7067", 409)
    assert store.get(known.id).phase is Phase.AUDITED
    store.change(known.id, scenes.over)


async def test_a_long_list_of_findings_is_judged_page_by_page(house, store):
    agent = f"gone-{secrets.token_hex(4)}"
    known = scenes.judging(f"i-{agent}", agent, 120)
    store.open(known)
    ada = house.person("ada")
    first = await ada.get(f"/incidents/{known.id}")
    assert first.text.count('name="verdict"') == 50
    assert "120 of 120 are left" in first.text
    last = await ada.get(f"/incidents/{known.id}?findings=2")
    assert last.text.count('name="verdict"') == 20
    said = {"finding": "7", "verdict": "harm", **WHY}
    assert (await ada.act(f"/incidents/{known.id}/findings", **said)).status == 303
    assert "119 of 120 are left" in (await ada.get(f"/incidents/{known.id}")).text
    for wrong in ({"verdict": "fine"}, {"finding": ""}, {"reason": "two\nlines"}):
        refused = await ada.act(f"/incidents/{known.id}/findings", **said | wrong)
        assert refused.code == "PC1020"
    assert (await ada.get(f"/incidents/{known.id}?findings=x")).code == "PC1020"
    store.change(known.id, scenes.over)


async def test_the_report_is_a_file_that_no_browser_shows_under_our_name(house, incident):
    vic = house.person("vic")
    for form, begins in (("md", "#"), ("html", "<")):
        answer = await vic.get(f"/incidents/{incident}/report?format={form}")
        said = f'attachment; filename="incident-{incident}.{form}"'
        assert answer.headers["content-disposition"] == said
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.text.startswith(begins)
    assert (await vic.get(f"/incidents/{incident}/report?format=exe")).code == "PC1020"
    assert (await vic.get("/incidents/none/report")).code == "PC7060"
    for page in ("timeline", "radius"):
        assert (await vic.get(f"/incidents/{incident}/{page}")).status == 200
        assert (await vic.get(f"/incidents/none/{page}")).code == "PC7060"
    assert (await vic.get(f"/incidents/{incident}/timeline?kind=odd")).code == "PC1020"
    assert (await vic.get(f"/incidents/{incident}/timeline?cursor=x")).code == "PC3051"


async def test_the_steps_of_a_session_end_with_its_close(house, store):
    known = scenes.incident(
        "s-closing", "shop-1", subject=Subject(agent="shop-1", session="s-closing")
    )
    store.open(known)
    page = (await house.person("ada").get("/incidents/s-closing")).text
    assert known.due is Step.ROTATE
    assert "Close</strong>" in page
    assert "Reinstate</strong>" not in page
    store.change(known.id, scenes.over)
