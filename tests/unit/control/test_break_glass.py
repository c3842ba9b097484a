"""Rights for an emergency: they end by themselves, and people are told until somebody reviews."""

import asyncio

import msgspec
import pytest

from portcullis.core.credential import Presented
from portcullis.core.errors import Problem
from portcullis.core.principal import PrincipalKind

ID = "a" * 32
DAY = 86_400


def run(work):
    return asyncio.run(work)


@pytest.fixture
def breaking(world):
    for name, role in (("rex", "responder"), ("ann", "admin"), ("vic", "viewer")):
        world.register("operator", name, roles=(role,))
    return world.services.breaking_glass("control")


def begun(world, breaking, name="rex", minutes=10):
    context = world.context(name)
    return run(breaking.begin(context, "it burns", minutes, ID))


def test_the_rights_end_by_themselves_and_renewal_gives_only_the_own_ones(world, breaking):
    one, minted = begun(world, breaking)
    shown = world.services.authority.authenticate(Presented(token=minted.token))
    assert (shown.roles, shown.break_glass) == (("admin", "responder"), ID)
    assert one.ends_at == minted.expires_at == int(world.clock.now()) + 600
    assert one.active(world.clock.now())
    world.clock.time += 601
    assert not one.active(world.clock.now())
    with pytest.raises(Problem) as refused:
        world.services.authority.authenticate(Presented(token=minted.token))
    assert refused.value.code == "PC2003"
    anew = run(
        world.services.principals("api").mint(world.context("rex"), PrincipalKind.OPERATOR, "rex")
    )
    shown = world.services.authority.authenticate(Presented(token=anew.token))
    assert (shown.roles, shown.break_glass) == (("responder",), "")


def test_who_may_not_or_for_too_long_gets_nothing_and_nothing_is_begun(world, breaking):
    for name, minutes in [("vic", 5), ("ann", 5), ("rex", 11)]:
        with pytest.raises(Problem) as refused:
            begun(world, breaking, name, minutes)
        assert refused.value.code == "PC3081"
    assert run(breaking.list()) == ()
    assert not [event for event in world.recorder.events if event.method.startswith("break")]


def test_it_is_on_record_before_the_token_is_made(world, breaking):
    world.recorder.full = True
    with pytest.raises(Problem) as refused:
        begun(world, breaking)
    assert refused.value.code == "PC6001"
    assert run(breaking.list()) == ()


def test_what_waits_for_its_review_is_told_once_a_day_until_it_is_closed(world, breaking):
    begun(world, breaking)

    def told():
        run(breaking.remind())
        methods = [event.method for event in world.recorder.events]
        return methods.count("break_glass.unreviewed")

    assert told() == 0
    world.clock.time += DAY + 1
    world.recorder.full = True
    with pytest.raises(Problem):
        run(breaking.remind())
    world.recorder.full = False
    assert told() == 1, "what could not be recorded is told again"
    assert told() == 1, "once a day"
    world.clock.time += DAY + 1
    assert told() == 2
    run(breaking.close(world.context("ann"), ID, "justified", "it burned"))
    world.clock.time += 2 * DAY
    assert told() == 2


def test_nobody_reviews_himself_nor_with_such_rights_nor_before_the_end(world, breaking):
    begun(world, breaking)
    by = {name: world.context(name) for name in ("rex", "ann")}
    with pytest.raises(Problem) as refused:
        run(breaking.close(by["ann"], ID, "justified", "x"))
    assert refused.value.code == "PC3085"
    world.clock.time += 601
    with pytest.raises(Problem) as refused:
        run(breaking.close(by["rex"], ID, "justified", "x"))
    assert refused.value.code == "PC3083"
    principal = msgspec.structs.replace(by["ann"].principal, break_glass="b" * 32)
    raised = msgspec.structs.replace(by["ann"], principal=principal)
    with pytest.raises(Problem) as refused:
        run(breaking.close(raised, ID, "justified", "x"))
    assert refused.value.code == "PC3083"
    with pytest.raises(Problem) as refused:
        run(breaking.close(by["ann"], "c" * 32, "justified", "x"))
    assert refused.value.code == "PC3084"
    closed = run(breaking.close(by["ann"], ID, "unjustified", "no fire"))
    assert (closed.closed_by, closed.judgement) == ("ann", "unjustified")
    assert run(breaking.open()) == ()


def test_of_two_who_change_it_at_once_one_is_told_to_look_again(world, breaking):
    one, _ = begun(world, breaking)
    book = world.services.glass_parts.book
    assert book.get(ID) == one
    assert book.list(1) == (one,)
    assert book.replace(one, msgspec.structs.replace(one, ended_at=1.0))
    assert not book.replace(one, msgspec.structs.replace(one, ended_at=2.0))
    assert book.get(ID).ended_at == 1.0
    with pytest.raises(Problem) as refused:
        run(breaking.end(world.context("rex", "responder"), ID))
    assert refused.value.code == "PC3085"
