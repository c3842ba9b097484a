"""If these fail, an agent is let in again that should not be, or what was done is lost."""

import asyncio
import dataclasses
import hashlib

import msgspec
import pytest

from portcullis.config import Approvals
from portcullis.control.incidents_approving import binding_of
from portcullis.core.alert import Alert, Level, Words
from portcullis.core.errors import Problem
from portcullis.core.incident import Phase, Source, Step, Subject
from portcullis.core.lifecycle import Verb
from portcullis.core.principal import PrincipalKind, Session

pytestmark = pytest.mark.anyio
AGENT = Subject(agent="shop-1")
WAY = ("contain", "revoke", "rotate", "reaudit", "reinstate", "close", "stand_down")


@pytest.fixture
def anyio_backend():
    return "asyncio"


class Led:
    """Incidents of ``world``; ``ada`` and ``bob`` are operators, ``shop-1`` is the agent."""

    def __init__(self, world):
        self.world = world
        for name in ("shop-1", "shop-2"):
            world.register("agent", name)
        world.register("operator", "ada", ["admin"])
        world.register("operator", "bob", ["approver"])
        self.ada, self.bob = world.context("ada", "admin"), world.context("bob", "approver")
        self.again()

    def again(self, **parts):
        """As after a restart, or with other settings."""
        known = self.world.services.incident_parts
        self.parts = dataclasses.replace(known, turns=type(known.turns)(), **parts)
        self.world.services = dataclasses.replace(self.world.services, incident_parts=self.parts)
        self.incidents = self.world.services.incidents("control")

    async def opened(self, subject=AGENT, **more):
        self.one = await self.incidents.open(self.ada, subject, "odd", **more)
        return self.one

    async def take(self, step, **more):
        done = await getattr(self.incidents, step)(self.ada, self.one.id, "because", **more)
        self.one = done[0] if isinstance(done, tuple) else done
        return done

    async def until(self, phase):
        """Lead it up to a phase, by the shortest way."""
        while self.one.phase != phase:
            step = self.one.due
            await self.take(step)
            for credential in self.one.unsettled if self.one.due is Step.ROTATE else ():
                self.one = await self.incidents.settle(
                    self.ada, self.one.id, credential.access.reference, "changed there"
                )
            for judged in self.one.unjudged if self.one.due is Step.REAUDIT else ():
                self.one = await self.incidents.judge(
                    self.ada, self.one.id, judged.finding.id, "benign", "a test"
                )
            if step is Step.REVOKE:
                for item in self.incidents.unticked(self.one, Step.REINSTATE):
                    self.one = await self.incidents.tick(self.ada, self.one.id, item, "done")

    async def refused(self, work):
        with pytest.raises(Problem) as found:
            await work
        return found.value

    def cut_off(self, name="shop-1", **fields):
        return self.world.services.feed.reason(self.world.principal("agent", name, **fields), None)

    def methods(self):
        return [event.method for event in self.world.recorder.events]


@pytest.fixture
async def led(world):
    return Led(world)


async def test_every_step_out_of_its_order_is_refused_by_name_and_does_nothing(led):
    await led.opened()
    for phase, due in zip(
        ("open", "contained", "revoked", "rotated", "audited"), WAY, strict=False
    ):
        await led.until(phase)
        assert (led.one.phase, led.one.due) == (phase, due)
        before, events = led.one, len(led.world.recorder.events)
        allowed = {due} | {"open": {"stand_down"}, "contained": {"stand_down"}}.get(phase, set())
        allowed |= {"close"} if phase == "audited" else set()
        for step in WAY:
            if step in allowed:
                continue
            problem = await led.refused(getattr(led.incidents, step)(led.ada, led.one.id, "skip"))
            assert (problem.code, f"{due} is due" in problem.detail) == ("PC7061", True)
        assert await led.incidents.show(led.one.id) == before
        assert len(led.world.recorder.events) == events


async def test_each_step_is_on_record_before_it_acts_and_again_when_all_of_it_has(led):
    seen = []

    def watch(event):
        cut = led.cut_off() is not None
        seen.append((event.method, cut, event.parameters.get("subject")))

    led.world.recorder.watch = watch
    await led.opened()
    await led.take("contain")
    assert seen == [
        ("incident.open", False, "agent:shop-1"),
        ("incident.contain", False, "agent:shop-1"),
        ("kills.kill", True, None),
        ("incident.done", True, "agent:shop-1"),
    ]
    facts = led.one.step(Step.CONTAIN).facts
    assert (facts["how"], facts["made"], facts["silent"]) == ("kill", True, [])
    led.world.recorder.full = True
    problem = await led.refused(led.take("revoke"))
    assert problem.code == "PC6001"
    led.world.recorder.full = False
    assert (await led.incidents.show(led.one.id)).phase is Phase.CONTAINED
    assert led.world.services.directory.get(PrincipalKind.AGENT, "shop-1").rotated_at == 0


async def test_revoking_leaves_nothing_of_the_agents_and_nothing_of_its_neighbours_is_touched(led):
    services = led.world.services
    entries = services.entries("control")
    entry = await entries.add(led.ada, PrincipalKind.AGENT, "shop-1", selectors=("unix:uid:1",))
    other = await entries.add(led.ada, PrincipalKind.AGENT, "shop-2", selectors=("unix:uid:2",))
    token = await entries.join(led.ada, PrincipalKind.AGENT, "shop-1")
    record = services.directory.get(PrincipalKind.AGENT, "shop-1")
    foreign = "spiffe://elsewhere.test/x"
    await services.feed.put(msgspec.structs.replace(record, spiffe_id=foreign))
    for name in ("shop-1", "shop-2"):
        await services.sessions.open(session(led, name))
    await led.opened()
    await led.until("revoked")
    facts = led.one.step(Step.REVOKE).facts
    assert (facts["sessions"], facts["registrations"], facts["foreign_identity"]) == (1, 1, True)
    assert facts["tried"]["old_credential"] == "PC4001"
    assert [one.id for one in await entries.list()] == [other.id] != [entry.id]
    digest = hashlib.sha256(token.token.encode()).digest()
    assert services.registrations.joined(digest, led.world.clock.now()) is None
    assert services.feed.named(foreign) is None
    assert [one.agent for one in services.sessions.opened()] == ["shop-2"]
    assert led.cut_off("shop-2") is None
    await services.feed.lift("agent", "shop-1")  # behind everybody's back
    assert led.cut_off(issued_at=led.world.clock.now()) is not None
    for mint in (
        services.principals("x").mint(led.ada, PrincipalKind.AGENT, "shop-2"),
        entries.join(led.ada, PrincipalKind.AGENT, "shop-2"),
    ):
        assert await mint


def session(led, agent):
    return Session(
        id=f"0{agent[-1]}",
        application="web",
        agent=agent,
        user="u",
        subject={},
        prompt="p",
        grant=None,
        opened_at=led.world.clock.now(),
        expires_at=led.world.clock.now() + 600,
    )


async def test_credentials_are_settled_one_by_one_and_the_step_ends_with_the_last(led):
    await led.opened()
    await led.until("revoked")
    await led.take("rotate")
    assert (led.one.phase, len(led.one.unsettled)) == ("revoked", 2)
    led.parts.rotations.broken = True
    one = await led.incidents.rotate_one(led.ada, led.one.id, "file:crm", "now")
    assert (one.credentials[0].settled, one.credentials[0].rotated.fault) == (False, "PC7071")
    led.again()  # a restart forgets nothing of it
    led.parts.rotations.broken = False
    assert (await led.refused(led.take("reaudit"))).code == "PC7061"
    again = await led.take("rotate")
    assert len(again.unsettled) == 2
    one = await led.incidents.rotate_one(led.ada, led.one.id, "file:crm", "now")
    assert [each.access.reference for each in one.unsettled] == ["env:MAIL"]
    unknown = led.incidents.settle(led.ada, led.one.id, "env:ELSE", "x")
    assert (await led.refused(unknown)).code == "PC7065"
    one = await led.incidents.settle(led.ada, led.one.id, "env:MAIL", "changed at the provider")
    assert (one.phase, one.step(Step.ROTATE).facts) == ("rotated", {"credentials": 2, "rotated": 1})
    assert led.parts.rotations.asked == ["file:crm", "file:crm"]


async def test_each_finding_of_a_fixed_list_is_judged_before_the_audit_ends(led):
    await led.opened(since_days=2)
    await led.until("rotated")
    await led.take("reaudit")
    asked = led.parts.findings.asked
    assert asked == [("agent:shop-1", led.one.since, led.one.until)]
    assert led.one.until - led.one.since == pytest.approx(2 * 86_400)
    digest = led.one.digest
    led.parts.findings.found = led.parts.findings.found[:1]
    await led.take("reaudit")
    assert (led.one.digest, len(led.one.findings), len(asked)) == (digest, 2, 1)
    one = await led.incidents.judge(led.ada, led.one.id, "f1", "unknown", "no idea")
    one = await led.incidents.judge(led.ada, led.one.id, "f1", "harm", "it did")
    assert (one.phase, len(one.unjudged)) == ("rotated", 1)
    missing = led.incidents.judge(led.ada, led.one.id, "f3", "benign", "x")
    assert (await led.refused(missing)).code == "PC7065"
    one = await led.incidents.judge(led.bob, led.one.id, "f2", "benign", "a retry")
    assert one.phase == "audited"
    assert one.step(Step.REAUDIT).facts == {
        "findings": 2,
        "digest": digest,
        "harm": 1,
        "benign": 1,
    }


async def test_a_second_person_approves_by_whatever_name_the_first_goes(led):
    led.world.register("operator", "al", ["admin"])
    led.world.register("operator", "sue", ["approver"])
    await led.world.services.principals("x").set_users(led.ada, "al", ("ada", "x"))
    await led.opened()
    await led.until("audited")
    approve = led.incidents.approve
    nothing = await led.refused(approve(led.bob, led.one.id, "fine"))
    assert nothing.code == "PC7065"
    proposed, token = await led.take("reinstate")
    assert (token, proposed.asked.days, proposed.asked.factor) == (None, 14, 0.5)
    assert (await led.refused(led.take("reinstate"))).code == "PC7067"
    for name in ("ada", "local-ada", "ADA@shop.example", "al", "shop"):
        context = led.world.context(name, "admin")
        assert (await led.refused(approve(context, led.one.id, "me too"))).code == "PC3046"
    await led.take("reinstate", days=3, factor=0.25)
    await approve(led.world.context("sue", "approver"), led.one.id, "looked at it")
    found, token = await led.take("reinstate", days=3)
    assert found.phase == "reinstated"
    assert found.asked.days == 3
    assert found.probation_until == pytest.approx(led.world.clock.now() + 3 * 86_400)
    assert token is not None
    assert led.cut_off(issued_at=led.world.clock.now() + 1) is None
    assert led.cut_off(issued_at=led.world.clock.now()) is not None
    assert (await led.refused(led.take("reinstate"))).code == "PC7061"


async def test_what_an_incident_holds_is_let_go_by_the_incident_alone(led):
    services = led.world.services
    for how, plain in (("kill", "kills"), ("quarantine", "quarantining")):
        service = getattr(services, plain)("control")
        await led.opened(containing=how)
        await led.take("contain")
        undo = service.undo if how == "kill" else service.end
        problem = await led.refused(undo(led.ada, "agent", "shop-1", "free it"))
        assert (problem.code, led.one.id in problem.detail) == ("PC7063", True)
        await led.take("stand_down")
        assert (led.one.phase, led.one.step(Step.STAND_DOWN).facts) == (
            "stood_down",
            {"lifted": [how]},
        )
        assert led.cut_off() is None
        assert services.feed.isolated(led.world.principal("agent", "shop-1"), None) is None
    await services.kills("control").kill(led.ada, "agent", "shop-1", "by hand")
    await led.opened()
    await led.take("contain")
    assert led.one.made is False
    await led.take("stand_down")
    assert led.cut_off() == "by hand"  # it was not the incident's
    await services.kills("control").undo(led.ada, "agent", "shop-1", "free it")
    await led.opened()
    await led.take("contain")
    await services.kills("control").kill(led.ada, "agent", "shop-1", "by hand")
    await led.take("stand_down")
    assert led.cut_off() == "by hand"  # nor is it now
    await services.kills("control").undo(led.ada, "agent", "shop-1", "free it")
    assert led.cut_off() is None


async def test_closing_lets_nobody_in_again(led):
    await led.opened()
    await led.until("audited")
    await led.take("close")
    assert led.one.phase == "closed"
    assert led.world.services.directory.get(PrincipalKind.AGENT, "shop-1").state == "revoked"
    await led.world.services.kills("control").undo(led.ada, "agent", "shop-1", "over")
    assert led.cut_off(issued_at=led.world.clock.now() + 9) is not None


async def test_two_who_open_one_at_once_have_the_same(led):
    found = await asyncio.gather(
        *(led.incidents.open(led.ada, AGENT, "odd") for _ in range(5)), return_exceptions=True
    )
    (made,) = [one for one in found if not isinstance(one, Problem)]
    others = [one for one in found if isinstance(one, Problem)]
    assert {(one.code, made.id in one.detail) for one in others} == {("PC7062", True)}
    await led.opened(Subject(agent="shop-2"))  # another's is another


async def test_a_step_that_a_crash_broke_off_is_taken_up_again_and_done_once(led):
    services = led.world.services
    for step, kill in (("contain", "contain"), ("revoke", "revoke")):
        if step == "contain":
            await led.opened()
        acts = led.incidents._acts
        broken = dataclasses.replace(acts)

        async def dies(context, incident):
            raise OSError("killed")

        led.incidents._acts = type("Dead", (), {})()
        for name in ("contained", "sessions"):
            setattr(led.incidents._acts, name, getattr(broken, name))
        setattr(led.incidents._acts, kill, dies)
        with pytest.raises(OSError, match="killed"):
            await led.take(step)
        led.again()
        found = await led.incidents.show(led.one.id)
        assert (found.phase, found.step(Step(step)).ended_at) == (led.one.phase, 0.0)
        later = "rotate" if step == "revoke" else "revoke"
        skip = getattr(led.incidents, later)(led.ada, found.id, "x")
        assert (await led.refused(skip)).code == "PC7061"
        await led.incidents.resume()
        led.one = await led.incidents.show(led.one.id)
        assert led.one.step(Step(step)).ended_at > 0
        assert led.one.made is True
    assert led.one.phase == "revoked"
    assert led.methods().count("incident.contain") == 1
    assert led.cut_off() is not None
    assert (await services.feed.kept())[0].value == "shop-1"


async def test_a_step_that_two_processes_take_at_once_stands_once(led):
    await led.opened()
    await led.take("contain")
    first = led.incidents
    led.again()
    both = (one.revoke(led.ada, led.one.id, "now") for one in (first, led.incidents))
    found = await asyncio.gather(*both, return_exceptions=True)
    assert {getattr(one, "code", "PC7061") for one in found} == {"PC7061"}
    one = await led.incidents.show(led.one.id)
    assert (one.phase, [each.step for each in one.steps]) == ("revoked", ["contain", "revoke"])


async def test_a_step_that_cannot_be_ended_does_not_keep_the_incident_from_its_end(led):
    await led.opened(containing="quarantine")
    led.world.recorder.watch = lambda event: full(led, event.method == "quarantine.begin")
    assert (await led.refused(led.take("contain"))).code == "PC6001"
    led.world.recorder.watch = led.world.recorder.full = None
    assert (await led.refused(led.take("revoke"))).code == "PC7061"
    await led.take("stand_down")  # it was isolated all the same
    assert led.world.services.feed.isolated(led.world.principal("agent", "shop-1"), None) is None
    await led.opened()
    await led.until("audited")
    await led.take("reinstate")
    await led.incidents.approve(led.bob, led.one.id, "fine")
    principals = led.world.services.principals("x")
    await principals.change(led.ada, PrincipalKind.AGENT, "shop-1", Verb.REVOKE)
    assert (await led.refused(led.take("reinstate"))).code == "PC7068"
    await led.take("close")
    assert led.one.phase == "closed"
    assert led.cut_off(issued_at=led.world.clock.now() + 9) is not None


def full(led, full):
    led.world.recorder.full = full


async def test_a_kill_that_a_restart_would_forget_does_not_end_the_step(led):
    await led.opened()
    feed = led.world.services.feed

    async def locked(*args):
        raise OSError("locked")

    whole, feed.cut = feed.cut, locked
    assert (await led.refused(led.take("contain"))).code == "PC7068"
    assert led.cut_off() is not None
    feed.cut = whole
    await led.take("contain")
    assert (led.one.phase, led.one.made) == ("contained", True)
    assert [one.durable for one in await feed.kept()] == [True]


async def test_what_could_not_be_tried_does_not_count_as_refused(led):
    await led.opened()
    await led.take("contain")
    feed = led.world.services.feed
    feed.stale = lambda: True
    assert (await led.refused(led.take("revoke"))).code == "PC7068"
    del feed.stale
    feed.reason = lambda principal, session: None
    assert (await led.refused(led.take("revoke"))).code == "PC7069"
    del feed.reason
    await led.take("revoke")
    assert led.one.phase == "revoked"


async def test_a_session_is_closed_and_never_reinstated(led):
    services = led.world.services
    await services.sessions.open(session(led, "shop-1"))
    await led.opened(Subject(agent="", session="01"))
    assert led.one.subject == Subject(agent="shop-1", session="01")
    await led.until("audited")
    assert led.one.due is Step.CLOSE
    assert await services.sessions.get("01") is None
    assert led.cut_off() is None
    assert (await led.refused(led.take("reinstate"))).code == "PC7061"
    await led.take("close")
    assert led.cut_off() is None


async def test_what_the_playbook_wants_is_ticked_first_but_cutting_off_never_waits(led):
    await led.opened(playbook="prompt-injection")
    await led.take("contain")
    await led.take("revoke")
    problem = await led.refused(led.take("rotate"))
    assert (problem.code, "contain.document-removed" in problem.detail) == ("PC7064", True)
    no = led.incidents.tick(led.ada, led.one.id, "contain.other", "x")
    assert (await led.refused(no)).code == "PC7065"
    led.again(playbooks={})  # that its file is gone changes nothing
    assert (await led.refused(led.take("rotate"))).code == "PC7064"
    await led.incidents.tick(led.ada, led.one.id, "contain.document-removed", "deleted")
    await led.take("rotate")
    unknown = led.incidents.open(led.ada, Subject(agent="shop-2"), "odd", playbook="none")
    assert (await led.refused(unknown)).code == "PC7066"


async def test_a_kill_opens_one_where_it_is_asked_or_configured(led):
    services = led.world.services
    kills = services.kills("control")
    done = await kills.kill(led.ada, "agent", "shop-1", "odd", "leaked-credential")
    one = await led.incidents.show(done.incident)
    assert (one.phase, one.playbook, one.source.kind) == ("contained", "leaked-credential", "kill")
    assert (
        await kills.kill(led.ada, "agent", "shop-1", "again", "hostile-agent")
    ).incident == one.id
    assert (await kills.kill(led.ada, "agent", "shop-2", "odd")).incident == ""
    done = await kills.kill(led.ada, "agent", "shop-2", "odd", "no-such")
    assert [fault.code for fault in done.faults] == ["PC7066"]  # and it is killed all the same
    assert led.cut_off("shop-2") is not None
    settings = led.parts.settings.model_copy(update={"on_kill": "auto"})
    led.again(settings=settings)
    kills = led.world.services.kills("control")
    assert (await kills.kill(led.ada, "agent", "shop-2", "odd")).incident
    assert (await kills.kill(led.ada, "all", "", "drill")).incident == ""


async def test_an_alert_opens_one_about_an_agent_from_its_level_on_and_contains_nothing(led):
    opening = led.world.services.alert_incidents("control")
    assert await opening.raised(led.ada, alert("high")) == ""  # never, by default
    settings = led.parts.settings.model_copy(update={"on_alert": "high"})
    led.again(settings=settings)
    opening = led.world.services.alert_incidents("control")
    assert await opening.raised(led.ada, alert("medium")) == ""
    assert await opening.raised(led.ada, alert("high", principal="nobody")) == ""
    assert await opening.raised(led.ada, alert("high", name="operator:ada")) == ""
    made = await opening.raised(led.ada, alert("high"))
    found = await led.incidents.show(made)
    assert (found.source, found.playbook) == (Source(kind="alert", id="a1"), "runaway-cost")
    assert (found.phase, led.cut_off()) == ("open", None)
    assert await opening.raised(led.ada, alert("critical", name="agent:shop-1")) == made
    led.one = found
    await led.take("stand_down")
    assert await opening.raised(led.ada, alert("high")) == made  # once for each alert
    own = msgspec.structs.replace(alert("high"), id="a2", first_at=led.world.clock.now() - 1)
    assert await opening.raised(led.ada, own) == made  # its own kill raised that
    assert await led.incidents.of(AGENT) is None
    later = msgspec.structs.replace(own, first_at=led.world.clock.now() + 1)
    assert await opening.raised(led.ada, later) not in {"", made}


def alert(level, **group):
    return Alert(
        id="a1",
        rule="spends",
        level=Level(level),
        words=Words(title="It spends", playbook="runaway-cost"),
        group=group or {"principal": "shop-1"},
        opened_at=1.0,
        first_at=1.0,
        last_at=1.0,
        events=(),
        count=1,
    )


async def test_notes_stay_with_the_incident_and_out_of_the_log(led):
    await led.opened()
    one = await led.incidents.note(led.ada, led.one.id, "ada@customer.example called")
    assert [note.text for note in one.notes] == ["ada@customer.example called"]
    assert "customer.example" not in str(led.world.recorder.events)
    assert led.world.recorder.last.parameters["characters"] == 27


async def test_whoever_is_suspended_besides_is_not_reinstated_over_that(led):
    await led.opened()
    await led.until("audited")
    await led.take("reinstate")
    await led.incidents.approve(led.bob, led.one.id, "fine")
    principals = led.world.services.principals("x")
    await principals.change(led.ada, PrincipalKind.AGENT, "shop-1", Verb.SUSPEND)
    assert (await led.refused(led.take("reinstate"))).code == "PC7068"
    assert led.cut_off(issued_at=led.world.clock.now() + 9) is not None
    await principals.change(led.ada, PrincipalKind.AGENT, "shop-1", Verb.RESUME)
    led.world.clock.time += 20 * 86_400
    found, token = await led.take("reinstate")
    assert (found.phase, token is not None) == ("reinstated", True)
    assert found.probation_until == led.world.clock.now() + 14 * 86_400  # all of it


async def test_whoever_is_kept_out_by_another_kill_is_not_let_in_by_halves(led):
    feed = led.world.services.feed
    await led.opened()
    await led.until("audited")
    await led.take("reinstate")
    await led.incidents.approve(led.bob, led.one.id, "fine")
    await feed.cut("role", "support", "off")
    led.world.clock.time += 1
    assert (await led.refused(led.take("reinstate"))).code == "PC4001"
    await feed.lift("role", "support")
    assert led.cut_off(issued_at=2e9) == f"incident {led.one.id}"
    assert (await led.refused(led.take("reinstate"))).code == "PC7067"  # so much changed
    led.world.clock.time += 1
    await led.incidents.approve(led.bob, led.one.id, "fine")
    assert (await led.take("reinstate"))[0].phase == "reinstated"


async def test_an_approval_is_of_what_was_shown_and_no_better_than_what_it_stands_on(led):
    for name in ("sue", "tom"):
        led.world.register("operator", name, ["approver"])
    services, principals = led.world.services, led.world.services.principals("x")
    await led.opened()
    await led.until("audited")

    async def approve(name):
        led.world.clock.time += 1
        one, by = await led.incidents.show(led.one.id), led.world.context(name, "approver")
        await led.incidents.approve(by, one.id, "looked", binding_of(one.asked))

    async def lapsed(why):
        problem = await led.refused(led.take("reinstate"))
        assert (problem.code, why in problem.detail) == ("PC7067", True)
        assert led.methods()[-1] == "incident.lapse"
        assert not (await led.incidents.show(led.one.id)).asked.approved_by

    shown, _ = await led.take("reinstate", days=30, factor=0.25)
    await led.take("reinstate", days=1, factor=1.0)
    other = led.incidents.approve(led.bob, led.one.id, "fine", binding_of(shown.asked))
    assert (await led.refused(other)).code == "PC7067"
    await approve("bob")
    again, token = await led.take("reinstate", days=9)  # was never approved
    assert (again.asked.approved_by, again.asked.days, token) == ("", 9, None)
    await approve("bob")
    led.world.clock.time += 1
    await services.kills("x").kill(led.bob, "agent", "shop-1", "a backdoor")
    await lapsed("a backdoor")
    assert led.cut_off() == "a backdoor"
    await approve("bob")
    await principals.change(led.ada, PrincipalKind.OPERATOR, "bob", Verb.REVOKE)
    await lapsed("bob is revoked")
    await approve("sue")
    await principals.set_users(led.ada, "sue", ("ada",))
    await lapsed("proposed it")
    await approve("tom")
    found, token = await led.take("reinstate")
    assert (found.phase, token is not None, led.cut_off(issued_at=2e9)) == (
        "reinstated", True, None,
    )  # fmt: skip


async def test_the_owner_of_the_agent_approves_only_where_that_is_configured(led):
    led.world.register("operator", "shop", ["approver"])
    await led.opened()
    await led.until("audited")
    await led.take("reinstate")
    owner = led.world.context("shop", "approver")
    assert (await led.refused(led.incidents.approve(owner, led.one.id, "x"))).code == "PC3046"
    led.again(approvals=Approvals(owner_may_approve=True))
    assert (await led.incidents.approve(owner, led.one.id, "x")).asked.approved_by


async def test_whom_a_rule_about_the_incident_does_not_name_approves_nothing(led):
    for name in ("sue", "tom"):
        led.world.register("operator", name, ["approver"])
    rules = [
        {"name": "back", "incidents": True, "agents": ["shop-*"], "teams": ["sre"]},
        {"name": "elsewhere", "incidents": True, "agents": ["pay-*"], "operators": []},
        {"name": "calls", "operators": []},
    ]
    settings = {"rules": rules, "teams": {"sre": ["sue", "tom"]}}
    led.again(approvals=Approvals.model_validate(settings))
    await led.opened()
    await led.until("audited")
    assert await led.incidents.hindrance(led.bob, led.one) is None, "nothing is proposed yet"
    await led.take("reinstate")
    problem = await led.refused(led.incidents.approve(led.bob, led.one.id, "fine"))
    assert (problem.code, "the rule back" in problem.detail) == ("PC3080", True)
    (rule,) = await led.incidents.rules(led.bob, led.one)
    assert (rule.rule, str(rule), rule.you) == ("back", "the team sre", False)
    assert (await led.incidents.hindrance(led.bob, led.one)).code == "PC3080"
    sue = led.world.context("sue", "approver")
    assert await led.incidents.hindrance(sue, led.one) is None
    await led.incidents.approve(sue, led.one.id, "looked at it")
    settings["teams"]["sre"] = ["tom"]
    led.again(approvals=Approvals.model_validate(settings))
    lapsed = await led.refused(led.take("reinstate"))
    assert (lapsed.code, "the rule back" in lapsed.detail) == ("PC7067", True)
    await led.incidents.approve(led.world.context("tom", "approver"), led.one.id, "me too")
    found, _ = await led.take("reinstate")
    assert found.phase == "reinstated"
