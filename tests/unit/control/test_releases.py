"""If these fail, one person alone puts a policy in force, or a release is not what was approved."""

import asyncio
import dataclasses
from datetime import UTC, datetime

import msgspec
import pytest
from sqlalchemy import update

from databases import each_kind, each_test, new_database  # noqa: F401 - fixtures
from domains import MemoryRecorder, WallClock
from policies import context
from portcullis.config import Approvals
from portcullis.control.records import Records
from portcullis.control.releases import ReleaseParts, Releasing
from portcullis.control.releases_approvers import ApproverSettings
from portcullis.core.errors import Problem
from portcullis.core.lifecycle import State
from portcullis.core.ports import PrincipalRecord
from portcullis.core.principal import PrincipalKind
from portcullis.core.release import (
    Arm,
    Difference,
    File,
    Release,
    Stage,
    Tallies,
    Verb,
    text_digest,
)
from portcullis.gateway.records import new_id
from portcullis.store.directory import SqlDirectory
from portcullis.store.policy_releases import SqlReleases
from portcullis.store.tables_releases import POLICY_RELEASES
from sealers import sealer_at

pytestmark = pytest.mark.anyio

FIRST, SECOND, THIRD = ((File(name="policy/a.yaml", text=text),) for text in ("1", "2", "3"))


class Book:
    def __init__(self, folder, needed=1, *, binding=True, **more):
        engine = new_database(folder / "portcullis.db")
        self.engine, self.recorder = engine, MemoryRecorder()
        self.book = SqlReleases(engine, sealer_at(folder))
        self.directory = SqlDirectory(engine)
        records = Records(gateway="g", recorder=self.recorder, clock=WallClock(), new_id=new_id)
        self.parts = ReleaseParts(
            book=self.book,
            needed=needed,
            binding=binding,
            compiled=lambda files: "sha256:x",
            **more,
        )
        self.records = records
        self.service = Releasing(self.parts, self.directory, records, WallClock(), "control")
        text = text_digest(FIRST)
        found = Release(
            number=0,
            digest="sha256:0",
            text=text,
            origin="folder",
            proposed_by="",
            proposed_at=1.0,
            stage=Stage.ACTIVE,
            active_at=1.0,
        )
        assert self.book.first(found, FIRST).number == 1
        assert self.book.first(found, FIRST) is None

    def another(self):
        """The same of another process."""
        parts = dataclasses.replace(self.parts, deciding=asyncio.Lock())
        return Releasing(parts, self.directory, self.records, WallClock(), "control")

    async def proposed(self, files=SECOND, by="ann"):
        return (await self.service.propose(operator(by), files, "why")).number

    async def approved(self, number, *by):
        for one in by:
            await self.service.approve(operator(one), number, "yes")

    def stages(self):
        return {one.number: one.stage.value for one in self.book.list(99)}


def operator(name):
    return context(name, kind=PrincipalKind.OPERATOR)


async def refused(work):
    with pytest.raises(Problem) as caught:
        await work
    return caught.value.code


async def test_nothing_takes_force_that_another_person_has_not_approved(tmp_path):
    at = Book(tmp_path)
    number = await at.proposed()
    for early in (
        at.service.activate(operator("bob"), number),
        at.service.canary(operator("bob"), number, 10),
    ):
        assert await refused(early) == "PC7032"
    assert await refused(at.service.approve(operator("ann"), number, "mine")) == "PC7033"
    assert at.book.standing().active.number == 1
    await at.approved(number, "bob")
    assert (await at.service.activate(operator("ann"), number)).stage is Stage.ACTIVE
    assert at.stages() == {1: "superseded", 2: "active"}
    said = [(one.method, one.principal) for one in at.recorder.events if one.verdict == "allow"]
    assert said == [
        ("policy.release.propose", "ann"),
        ("policy.release.approve", "bob"),
        ("policy.release.activate", "ann"),
    ]


async def test_two_names_of_one_person_are_one_person(tmp_path):
    at = Book(tmp_path, needed=2)
    at.directory.create(
        PrincipalRecord(
            kind=PrincipalKind.OPERATOR,
            id="bea",
            owner="o",
            state=State.ACTIVE,
            roles=("admin",),
            users=("ann@example.test",),
            created_at=1.0,
        )
    )
    number = await at.proposed(by="local-ann")
    for same in ("ann", "ANN", "bea"):
        assert await refused(at.service.approve(operator(same), number, "y")) == "PC7033"
    await at.approved(number, "bob")
    assert await refused(at.service.approve(operator("local-bob"), number, "y")) == "PC7033"
    assert await refused(at.service.activate(operator("bob"), number)) == "PC7032"
    await at.approved(number, "cid")
    assert (await at.service.activate(operator("bob"), number)).stage is Stage.ACTIVE


async def test_one_person_at_two_places_at_once_is_one_approval(tmp_path):
    at = Book(tmp_path, needed=2)
    number = await at.proposed()
    said = await asyncio.gather(
        *(one.approve(operator("bob"), number, "yes") for one in (at.service, at.another())),
        return_exceptions=True,
    )
    assert len([one for one in said if isinstance(one, Release)]) == 1
    assert {one.code for one in said if isinstance(one, Problem)} <= {"PC7031", "PC7033"}
    assert await refused(at.service.activate(operator("ann"), number)) == "PC7032"


async def test_going_back_restores_what_was_in_force_before(tmp_path):
    at = Book(tmp_path, needed=0)
    for files in (SECOND, THIRD):
        await at.service.activate(operator("ann"), await at.proposed(files))
    await at.service.rollback(operator("bob"), 3, "broken")
    assert at.stages() == {1: "superseded", 2: "active", 3: "rolled_back"}
    assert at.book.files(at.book.standing().active.number) == SECOND
    assert await refused(at.service.activate(operator("bob"), 3)) == "PC7031"


async def test_nobody_goes_back_step_by_step_to_what_nobody_wants_any_more(tmp_path):
    at = Book(tmp_path, needed=0)
    for files in (SECOND, THIRD):
        await at.service.activate(operator("ann"), await at.proposed(files))
    await at.service.rollback(operator("rae"), 3, "broken")
    assert await refused(at.service.rollback(operator("rae"), 2, "and further")) == "PC7025"
    with pytest.raises(Problem, match="PC7025"):  # whoever asks the book itself
        at.book.move(2, Verb.ROLL_BACK, by="rae", at=9.0, reason="and further")
    await at.service.activate(operator("ann"), await at.proposed(FIRST))
    await at.service.rollback(operator("rae"), 4, "no")
    assert at.stages() == {1: "superseded", 2: "active", 3: "rolled_back", 4: "rolled_back"}


async def test_one_candidate_at_a_time_and_its_shadow_needs_no_approval(tmp_path):
    at = Book(tmp_path)
    first, second = await at.proposed(), await at.proposed(THIRD)
    await at.service.shadow(operator("ann"), first)
    assert await refused(at.service.shadow(operator("ann"), second)) == "PC7031"
    await at.approved(first, "bob")
    assert at.book.standing().candidate.stage is Stage.SHADOW
    canary = await at.service.canary(operator("ann"), first, 5)
    assert (canary.stage, canary.share) == (Stage.CANARY, 5)
    assert await refused(at.service.canary(operator("ann"), first, 51)) == "PC7004"
    await at.service.rollback(operator("ann"), first, "no")
    assert at.book.standing().candidate is None
    await at.service.reject(operator("ann"), second, "no")
    assert at.stages() == {1: "active", 2: "rolled_back", 3: "rejected"}


async def test_where_the_folder_decides_no_release_takes_force_over_it(tmp_path):
    at = Book(tmp_path, needed=0, binding=False)
    number = await at.proposed()
    assert await refused(at.service.activate(operator("ann"), number)) == "PC7034"
    assert await refused(at.service.rollback(operator("ann"), 1, "back")) == "PC7034"
    assert (await at.service.shadow(operator("ann"), number)).stage is Stage.SHADOW


@pytest.mark.parametrize(("needed", "stage"), [(0, Stage.ACTIVE), (1, Stage.PROPOSED)])
async def test_a_bundle_takes_force_by_itself_only_where_nobody_has_to_agree(
    tmp_path, needed, stage
):
    at = Book(tmp_path, needed=needed)
    gate = context("gate", kind=PrincipalKind.GATEWAY)
    made = await at.service.arrived(gate, SECOND, "7-sha256:x")
    assert (made.stage, made.origin, made.revision) == (stage, "bundle", "7-sha256:x")
    assert at.book.standing().active.number == (2 if needed == 0 else 1)


async def test_nothing_is_moved_that_is_not_on_record(tmp_path):
    at = Book(tmp_path, needed=0)
    number = await at.proposed()

    def full(_):
        raise Problem("PC6001", "the log is full")

    at.recorder.before = full
    for work in (
        at.service.activate(operator("ann"), number),
        at.service.canary(operator("ann"), number, 5),
        at.service.shadow(operator("ann"), number),
        at.service.propose(operator("ann"), THIRD, "more"),
    ):
        assert await refused(work) == "PC6001"
    assert at.stages() == {1: "active", 2: "approved"}


async def test_what_is_in_force_is_not_proposed_again(tmp_path):
    assert await refused(Book(tmp_path).proposed(FIRST)) == "PC7035"


async def test_a_text_that_was_changed_in_the_store_is_not_taken(tmp_path):
    at = Book(tmp_path)
    number = await at.proposed()
    with at.engine.begin() as connection:
        row = update(POLICY_RELEASES).where(POLICY_RELEASES.c.number == number)
        connection.execute(row.values(text=text_digest(THIRD)))
    with pytest.raises(Problem, match="PC7038"):
        at.book.files(number)


async def test_what_gateways_count_adds_up_and_begins_anew_at_another_stage(tmp_path):
    at = Book(tmp_path, needed=0)
    number = await at.proposed()
    await at.service.shadow(operator("ann"), number)
    kind = Difference(agent="a", name="s.t", was="allow read", now="PC3001")
    for gateway, times in (("g1", 2), ("g2", 3), ("g2", 4)):
        canary = Arm(decisions=times, denials=1, sessions=1, share=0.5)
        hit = frozenset({"both", gateway})
        one = Tallies(canary=canary, differences={kind: times}, hit=hit)
        at.book.tally(number, gateway, one)
    found = at.book.tallies(number)
    assert found.canary == Arm(decisions=6, denials=2, sessions=2, share=1.0)
    assert (found.differences, found.hit) == ({kind: 6}, {"both", "g1", "g2"})
    await at.service.canary(operator("ann"), number, 5)
    assert at.book.tallies(number) == Tallies()


def ruled(*rules, **touched):
    """Rules about releases; a release is about what the last line of its text names."""
    approvals = Approvals.model_validate(
        {"rules": [{"name": f"rule-{n}", "releases": True, **one} for n, one in enumerate(rules)]}
    )

    def about(old, new):
        return {name: (owner,) for name, owner in touched.items() if old != new}

    return {"approvers": ApproverSettings(approvals, "production", about)}


async def test_whom_a_rule_about_the_release_does_not_name_approves_nothing(tmp_path):
    rules = (
        {"operators": ["bob", "cid"]},
        {"agents": ["pay-*"], "operators": ["cid"]},
        {"owners": ["shop"], "operators": []},
    )
    at = Book(tmp_path, **ruled(*rules, **{"pay-1": "finance"}))
    number = await at.proposed()
    for name, rule in (("dan", "rule-0"), ("bob", "rule-1")):
        with pytest.raises(Problem) as caught:
            await at.service.approve(operator(name), number, "yes")
        assert (caught.value.code, f"the rule {rule}" in caught.value.detail) == ("PC3080", True)
        assert (await at.service.hindrance(operator(name), number)).code == "PC3080"
    assert [one.you for one in await at.service.rules(operator("bob"), number)] == [True, False]
    assert await at.service.hindrance(operator("cid"), number) is None
    await at.approved(number, "cid")
    assert (await at.service.activate(operator("ann"), number)).stage is Stage.ACTIVE
    assert await at.service.rules(operator("bob"), number) == (), "there is nothing to approve"


async def test_an_approval_counts_only_while_the_rules_name_who_gave_it(tmp_path):
    at = Book(tmp_path, **ruled({"operators": ["bob", "cid"]}))
    number = await at.proposed()
    await at.approved(number, "bob")
    stricter = ruled({"agents": ["pay-*"], "operators": ["cid"]}, **{"pay-1": "finance"})
    at.parts = dataclasses.replace(at.parts, **stricter)
    at.service = at.another()
    with pytest.raises(Problem) as caught:
        await at.service.activate(operator("ann"), number)
    assert (caught.value.code, "0 of 1" in caught.value.detail) == ("PC7032", True)
    assert await refused(at.service.canary(operator("ann"), number, 10)) == "PC7032"
    await at.approved(number, "cid")
    assert (await at.service.activate(operator("ann"), number)).stage is Stage.ACTIVE


async def test_what_somebody_approved_who_was_cut_off_since_counts_no_more(tmp_path):
    at = Book(tmp_path)
    record = PrincipalRecord(
        kind=PrincipalKind.OPERATOR,
        id="bob",
        owner="ops",
        state=State.ACTIVE,
        roles=("admin",),
        created_at=1.0,
    )
    at.directory.create(record)
    number = await at.proposed()
    await at.approved(number, "bob")
    at.directory.put(msgspec.structs.replace(record, state=State.SUSPENDED))
    assert await refused(at.service.activate(operator("ann"), number)) == "PC7032"
    await at.approved(number, "cid")
    assert (await at.service.activate(operator("ann"), number)).stage is Stage.ACTIVE


async def test_hours_of_a_rule_are_those_of_the_approval(tmp_path):
    now = datetime.now(UTC)
    days = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
    day, hour = days[now.weekday()], {"from": "00:00", "to": "24:00"}
    at = Book(tmp_path, **ruled({"operators": ["bob"], "during": {"days": [day], **hour}}))
    first = await at.proposed()
    assert await refused(at.service.approve(operator("cid"), first, "yes")) == "PC3080"
    other = days[(now.weekday() + 3) % 7]
    closed = ruled({"operators": [], "during": {"days": [other], **hour}})
    at.parts = dataclasses.replace(at.parts, **closed)
    at.service = at.another()
    await at.approved(first, "cid")
    assert (await at.service.activate(operator("ann"), first)).stage is Stage.ACTIVE
