"""A little of everything that stands against agents, so that no page of the console is empty."""

import time

import msgspec
import yaml

import standins
from e2e.approvals import desk as desks
from portcullis.bootstrap.keys import SystemClock
from portcullis.core.alert import Level, Raised, Silence, Words
from portcullis.core.behaviour import Kind, Phase, Reason, Standing
from portcullis.core.breaker import Breaker, Key, State
from portcullis.core.breaker_ports import BreakerBook
from portcullis.core.incident import (
    Access,
    Credential,
    Done,
    Finding,
    Incident,
    Judged,
    Note,
    Rotated,
    Step,
    Subject,
    Ticked,
)
from portcullis.core.incident import Phase as Phases
from portcullis.core.limits import Amount, Rate, Window, span
from portcullis.core.release import Arm, Difference, File, Release, Stage, Tallies, text_digest
from portcullis.oversight.incidents_playbook import playbooks
from portcullis.store.counters_sqlite import SharedCounter

LIMITS = """
shop-models: {cost: 20 USD/month, burn: 2}
shop-tools: {for: {tool: "*"}, per: [agent, user], requests: {rate: 6000/minute}, rows: 100000/hour}
"""


def policy() -> str:
    """The desk's policy with limits that nobody reaches."""
    return yaml.safe_dump(
        yaml.safe_load(desks.policy()) | {"limits": yaml.safe_load(LIMITS)}, sort_keys=False
    )


def standing(agent: str, score: float = 75.0, phase: Phase = Phase.LOCKED, **more) -> Standing:
    """An agent that behaves unusually, with two reasons."""
    now = time.time()
    reasons = (
        Reason(
            kind=Kind.TOOL,
            subject="crm.export",
            seen="never before",
            usual="crm.get_customer",
            weight=80.0,
            at=now - 60,
            count=3,
        ),
        Reason(
            kind=Kind.VOLUME,
            subject="rows",
            seen="90 000 an hour",
            usual="40 an hour",
            weight=50.0,
            at=now - 600,
        ),
    )
    fields = {
        "agent": agent,
        "role": "support_agent",
        "phase": phase,
        "score": score,
        "scored_at": now,
        "reasons": reasons if score else (),
        "first": now - 9e5,
        "last": now,
        "events": 4711,
        "days": 11,
    }
    return Standing(**(fields | more))


def incident(key: str, agent: str, **more) -> Incident:
    """One that is at the third step, with a note and a credential that could not be rotated."""
    now = time.time()
    who = {"by": "operator:ada", "reason": "mails customers' data to a stranger"}
    access = Access(
        reference="file:crm-key",
        source="file",
        upstream="crm",
        why="its role support_agent is granted crm",
        used=now - 400,
        hook=True,
    )
    failed = Rotated(
        reference="file:crm-key", rotated=True, verified=False, fault="PC7073", detail="unchanged"
    )
    steps = [
        Done(step=Step.CONTAIN, at=now - 500, ended_at=now - 499, facts={"how": "kill"}, **who),
        Done(step=Step.REVOKE, at=now - 400, ended_at=now - 399, facts={"sessions": 2}, **who),
        Done(step=Step.ROTATE, at=now - 300, **who),
    ]
    fields = {
        "id": key,
        "subject": Subject(agent=agent),
        "playbook": "hostile-agent",
        "plan": playbooks(None)["hostile-agent"],
        "opened_at": now - 600,
        "since": now - 9e5,
        "until": now - 399,
        "phase": Phases.REVOKED,
        "steps": tuple(steps),
        "notes": (Note(at=now - 200, by="operator:ada", text="Its owner was called.\nTwice."),),
        "ticked": (Ticked(id="contain.owner-told", at=now - 350, by="operator:ada", reason="ok"),),
        "credentials": (
            Credential(access=access, rotated=failed, by="operator:ada", at=now - 100),
        ),
    }
    return Incident(**(fields | who | more))


def alert(rule: str, agent: str, level: Level = Level.HIGH, **more) -> Raised:
    """What a rule raised about an agent."""
    words = Words(
        title="An agent behaves unusually",
        advice="Look at what it did last, and cut it off when that is nothing it was made for.",
        playbook="hostile-agent",
        threat="unusual",
    )
    fields = {
        "rule": rule,
        "level": level,
        "words": words,
        "group": {"parameters.agent": agent},
        "at": time.time() - 30,
        "events": ("01JABC", "01JABD"),
        "count": 7,
    }
    return Raised(**(fields | more))


async def furnish(desk: desks.Desk) -> tuple[str, str]:
    """Risk, breakers, alerts, silences, kills, budgets; the ids of an alert and an incident."""
    services = desk.stage.gate.services
    services.behaviour_parts.store.keep([standing(standins.AGENT), standing("shop-2", 40.0)])
    now = time.time()
    await opened(services.breakers, "shop-2")
    upstream = Key(scope="upstream", subject="orders", gateway="gate-1")
    await services.breakers.open(breaker(upstream))
    store = services.alert_parts.store
    raised = [
        alert("risk-high", standins.AGENT),
        alert("cut-off", "shop-9", Level.CRITICAL),
        alert("mint-burst", "shop-9", Level.LOW, group={"name": "agent:shop-9"}),
    ]
    made = store.put(raised, {})
    store.silence(
        Silence(
            id="quiet-1",
            rule="refused-*",
            matching={"principal": "shop-9"},
            made_at=now,
            until=now + 7200,
            by="ada",
            reason="a load test",
        )
    )
    await services.feed.cut("agent", "shop-9", "mails customers' data to a stranger", "bea")
    await services.feed.isolate("session", "s-77", "asks for others' orders", "operator:bea")
    await spent(desk.stage, 3)
    incidents = services.incident_parts.store
    incidents.open(incident("01stood", "shop-9", phase=Phases.STOOD_DOWN, credentials=None))
    return made[0].id, incidents.open(incident("01begun", standins.AGENT)).id


def breaker(key: Key) -> Breaker:
    """One that is open."""
    why, now = "9 of its last 10 calls failed", time.time()
    return Breaker(key=key, state=State.OPEN, reason=why, since=now - 20, until=now + 400, times=2)


async def opened(book: BreakerBook, agent: str) -> None:
    """Open an agent's breaker."""
    await book.open(breaker(Key(scope="agent", subject=agent)))


async def spent(stage: standins.Stage, agents: int) -> None:
    """So many agents used up most of a month's money, much of it within the hour."""
    counter, now = (
        SharedCounter(stage.config.parent / "state/limits.db", SystemClock()),
        time.time(),
    )
    _, month = span(Window.MONTH, now)
    hour, end = span(Window.HOUR, now)
    wants = []
    for number in range(agents):
        owner = f"agent=shop-{number:04}"
        wants += [
            Amount(f"shop-models|cost.month|{owner}|1", 17_250_000, 20_000_000, month),
            Amount(f"shop-models|burn.hour|{owner}|{int(hour)}", 3_000_000, 2**53, end + 3600),
        ]
    wants.append(Rate("shop-tools|requests|agent=shop-0001&user=~1f|", 10_000, 6000))
    await counter.reserve("scene", wants, hold=60)
    await counter.close()


async def poisoned(desk: desks.Desk, evil: str) -> tuple[str, ...]:
    """Put a text where an agent, or who speaks of one, can put one; the pages that show it."""
    services, now = desk.stage.gate.services, time.time()
    reason = Reason(kind=Kind.TOOL, subject=evil, seen=evil, usual=evil, weight=9.0, at=now)
    odd = standing("shop-2", 40.0, reasons=(reason,), by=evil, why=evil)
    services.behaviour_parts.store.keep([odd])
    group = {"principal": evil, "name": evil}
    words = Words(title=evil, advice=evil, playbook=evil, threat=evil)
    raised = alert("evil", evil, group=group, words=words, hidden=("name",), events=(evil,))
    [made] = services.alert_parts.store.put([raised], {})
    await services.feed.cut("session", evil[:60], evil[:200], evil[:60])
    key = Key(scope="upstream", subject=evil[:60], gateway=evil[:60])
    await services.breakers.open(msgspec.structs.replace(breaker(key), reason=evil[:200]))
    finding = Finding(
        id="1",
        kind=evil,
        log=evil,
        first=1,
        last=1,
        first_at=now,
        last_at=now,
        text=evil,
        name=evil,
    )
    access = Access(reference=evil, source="file", upstream=evil, why=evil)
    ended = Done(
        step=Step.CONTAIN, at=now, by=evil, reason=evil, ended_at=now, facts={evil: {evil: [evil]}}
    )
    started = incident(
        "01evil",
        "shop-2",
        by=evil,
        reason=evil,
        steps=(ended,),
        notes=(Note(at=now, by=evil, text=evil),),
        credentials=(Credential(access=access, by=evil, reason=evil, at=now),),
        findings=(Judged(finding=finding, verdict="harm", by=evil, reason=evil, at=now),),
        digest=evil,
    )
    services.incident_parts.store.open(started)
    release = proposed(desk, evil[:200], "".join(f"# {line}\n" for line in evil.splitlines()))
    return (
        release,
        "/policy/releases",
        "/agents/shop-2",
        f"/alerts/{made.id}",
        "/alerts",
        "/containment",
        "/breakers",
        "/incidents",
        f"/incidents/{started.id}",
    )


def proposed(desk: desks.Desk, note: str = "no more mail", text: str = "") -> str:
    """A release that somebody proposed, with what was counted of it; the path of its page."""
    book = desk.stage.gate.services.release_parts.book
    [found] = book.files(1)
    less = yaml.safe_load(found.text)
    less["roles"]["support_agent"]["permissions"].pop()
    less["roles"]["support_agent"]["allowed_tools"].append("kb.spare")
    files = (File(name=found.name, text=yaml.safe_dump(less, sort_keys=False) + text),)
    made = book.propose(
        Release(
            number=0,
            digest="sha256:" + "0" * 64,
            text=text_digest(files),
            origin="operator",
            proposed_by="eve",
            proposed_at=time.time() - 500,
            note=note,
            stage=Stage.APPROVED,
        ),
        files,
    )
    seen = Difference(agent=standins.AGENT, name="mail.send", was="allow external", now="PC3001")
    canary, rest = (
        Arm(decisions=19, denials=2, sessions=4),
        Arm(decisions=180, denials=3, sessions=31),
    )
    counted = Tallies(canary=canary, rest=rest, compared=199, differences={seen: 2})
    book.tally(made.number, "gate", counted)
    return f"/policy/releases/{made.number}"


def judging(key: str, agent: str, count: int) -> Incident:
    """One whose history is judged: so many findings, none of which anybody has said a word of."""
    now = time.time()
    step = Done(step=Step.REAUDIT, at=now, by="operator:ada", reason="what did it do")
    findings = tuple(
        Judged(
            finding=Finding(
                id=str(number),
                kind="denied",
                log="gate",
                first=number,
                last=number,
                first_at=now,
                last_at=now,
                text="crm.export: was refused, once",
            )
        )
        for number in range(count)
    )
    return incident(
        key, agent, phase=Phases.ROTATED, steps=(step,), findings=findings, credentials=()
    )


def over(known: Incident) -> Incident:
    """The same, stood down: it is in nobody's way any more."""
    return msgspec.structs.replace(known, phase=Phases.STOOD_DOWN)
