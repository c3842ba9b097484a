"""If these fail, what is promised once is given twice when several processes ask at once.

Each thread has an engine of its own, as a process would.
"""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from portcullis.core.approval import Approval, State, Verb
from portcullis.core.call import RiskClass
from portcullis.core.containment import Confidentiality
from portcullis.core.errors import Problem
from portcullis.core.incident import Incident, Subject
from portcullis.core.ports import Entry, OperatorCredential
from portcullis.core.principal import PrincipalKind, Session
from portcullis.core.release import File, Release
from portcullis.provenance.labels import reading
from portcullis.store.approvals import SqlApprovals
from portcullis.store.incidents import SqlIncidents
from portcullis.store.killfeed_rows import kept, write
from portcullis.store.labels import SqlLabels
from portcullis.store.operators import SqlOperators
from portcullis.store.policy_releases import SqlReleases
from portcullis.store.registrations import SqlRegistrations
from portcullis.store.sessions import SharedSessionState
from portcullis.store.tables import CUTS

pytestmark = pytest.mark.anyio
MANY = 6


@pytest.fixture
def at_once(reopen):
    """Do a thing on several engines in the same moment; what each said, or why it did not."""
    engines = [reopen() for _ in range(MANY)]

    def run(work):
        gate = threading.Barrier(MANY)

        def one(number):
            gate.wait(30)
            try:
                return work(engines[number], number)
            except Problem as problem:
                return problem.code

        with ThreadPoolExecutor(MANY) as pool:
            return list(pool.map(one, range(MANY), timeout=60))

    return run


def approval(name, **fields):
    return Approval(
        id=name,
        state=State.PENDING,
        binding=fields.pop("binding", "b" * 64),
        agent="shop-1",
        session="s1",
        action="tool",
        server="mail",
        name="send",
        risk=RiskClass.EXTERNAL,
        created_at=100.0,
        expires_at=300.0,
    )


def test_an_approval_is_consumed_once(engine, at_once):
    store = SqlApprovals(engine)
    for turn in range(4):
        binding = f"{turn:064d}"
        store.claim(approval(f"a{turn}", binding=binding), b"", most=9, now=100.0)
        store.move(f"a{turn}", Verb.APPROVE, now=101.0, by="bea", reason="yes")

        def claim(engine, number, turn=turn, binding=binding):
            wanted = approval(f"again-{turn}-{number}", binding=binding)
            return SqlApprovals(engine).claim(wanted, b"", most=9, now=102.0).outcome

        said = at_once(claim)
        assert sorted(said) == ["asked", "consumed", *["waits"] * (MANY - 2)]


def test_an_agent_never_has_more_waiting_than_it_may(engine, at_once):
    def claim(engine, number):
        wanted = approval(f"a{number}", binding=f"{number:064d}")
        return SqlApprovals(engine).claim(wanted, b"", most=2, now=100.0).outcome

    assert sorted(at_once(claim)) == ["asked"] * 2 + ["full"] * (MANY - 2)
    assert SqlApprovals(engine).waiting(100.0) == 2


def test_a_call_is_asked_about_once(engine, at_once):
    def claim(engine, number):
        return SqlApprovals(engine).claim(approval(f"a{number}"), b"", most=9, now=100.0).outcome

    assert sorted(at_once(claim)) == ["asked"] + ["waits"] * (MANY - 1)


def test_what_decides_it_is_decided_once(engine, at_once):
    SqlApprovals(engine).claim(approval("a"), b"", most=9, now=100.0)

    def decide(engine, number):
        verb = Verb.APPROVE if number % 2 else Verb.DENY
        return SqlApprovals(engine).move("a", verb, now=101.0, by=f"op-{number}", reason="")

    decided = [one for one in at_once(decide) if one is not None]
    assert len([one for one in decided if one.state is State.APPROVED]) <= 1
    assert SqlApprovals(engine).get("a") in decided


def test_a_join_token_and_a_one_time_code_are_good_once(engine, at_once):
    SqlRegistrations(engine).join(b"d" * 32, PrincipalKind.AGENT, "shop-1", 200.0)
    SqlOperators(engine).put(
        OperatorCredential(
            name="bea", password="", totp=b"", counter=1, failures=0, locked_until=0.0
        )
    )
    joined = at_once(lambda engine, _: SqlRegistrations(engine).joined(b"d" * 32, 100.0))
    assert sum(one is not None for one in joined) == 1
    assert sum(at_once(lambda engine, _: SqlOperators(engine).spend("bea", 2))) == 1


def test_every_change_is_counted(engine, at_once):
    def add(engine, number):
        entry = Entry(
            id=f"e{number}",
            kind=PrincipalKind.AGENT,
            principal="shop-1",
            selectors=("unix:uid:1",),
            ttl_seconds=60,
            created_at=1.0,
        )
        SqlRegistrations(engine).add(entry)

    at_once(add)
    assert SqlRegistrations(engine).version() == MANY


def test_the_same_cut_from_everywhere_is_one(engine, at_once):
    at_once(
        lambda engine, number: write(engine, CUTS, ("agent", "shop-1"), f"r{number}", 1.0, "bea")
    )
    (one,) = kept(engine)
    assert (one.value, one.by) == ("shop-1", "bea")


def test_a_subject_has_one_incident(engine, at_once):
    def begin(engine, number):
        new = Incident(
            id=f"i{number}",
            subject=Subject(agent="shop-1"),
            playbook="default",
            opened_at=1.0,
            by="bea",
            reason="it sends mail",
            since=0.0,
        )
        return SqlIncidents(engine).open(new).id

    assert len(set(at_once(begin))) == 1
    assert len(SqlIncidents(engine).unresolved()) == 1


def test_releases_have_numbers_of_their_own(engine, at_once, sealer):
    def propose(engine, number):
        files = (File(name="policy/main.yaml", text=f"# {number}"),)
        release = Release(
            number=0,
            digest=f"sha256:{number:064d}",
            text=f"sha256:{number:064d}",
            origin="proposed",
            proposed_by="bea",
            proposed_at=1.0,
        )
        return SqlReleases(engine, sealer).propose(release, files).number

    assert sorted(at_once(propose)) == list(range(1, MANY + 1))
    assert SqlReleases(engine, sealer).version() == MANY


async def test_no_label_and_no_turn_is_lost_between_gateways(reopen, clock, sealer):
    def gateway():
        engine = reopen()
        return SqlLabels(engine, sealer), SharedSessionState(engine, clock, sealer)

    gateways = [gateway() for _ in range(3)]
    one = Session(
        id="s1",
        agent="shop-1",
        application="web",
        user="ada",
        prompt="hello",
        subject={},
        grant=None,
        opened_at=clock.now(),
        expires_at=clock.now() + 600,
    )
    await gateways[0][1].open(one)
    every = [reading(Confidentiality.SECRET)]
    await asyncio.gather(
        *(labels.merge(one, every[0]) for labels, _ in gateways),
        *(gateways[number % 3][1].say("s1", f"turn {number}") for number in range(12)),
    )
    said = await gateways[1][1].get("s1")
    assert set(said.turns) == {f"turn {number}" for number in range(12)}
    for labels, _ in gateways:
        assert (await labels.read(one)).merge(every[0]) == await labels.read(one)
    await gateways[2][1].close("s1")
    assert await gateways[0][1].get("s1") is None, "closed anywhere is closed everywhere"
    for _, sessions in gateways:
        sessions.shut()
