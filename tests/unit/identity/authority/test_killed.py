"""Killed while it rotates, the authority starts again with all of it or nothing."""

import itertools
from functools import partial
from pathlib import Path

import pytest

from authorities import AGENT, World, leaf_key, root_of

KEY = leaf_key().public_key()


class Killed(BaseException):
    """The process is gone."""


def killed(monkeypatch, survives, work):
    """Whether ``work`` is killed at the rename or removal after so many."""
    left = itertools.count(survives, -1)

    def dying(real):
        def call(self, *arguments, **options):
            if next(left) <= 0:
                raise Killed
            return real(self, *arguments, **options)

        return call

    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", dying(Path.replace))
        patch.setattr(Path, "unlink", dying(Path.unlink))
        try:
            work()
        except Killed:
            return True
    return False


def left_over(world, state):
    named = {f"{key.name}.pem" for key in state.keys} | {"state.json", "state.json.new"}
    named |= {f"{key.name}.key" for key in state.keys if key.state != "retired"}
    return {each.name for each in world.directory.iterdir()} - named


@pytest.mark.parametrize("what", ["signing", "root", "jwt", "retire"])
def test_killed_between_any_two_writes_the_next_start_finds_all_before_or_all_after(
    tmp_path, monkeypatch, what
):
    outcomes = set()
    for survives in itertools.count():
        world = World(tmp_path, 1_900_000_000.0 + survives)
        ours = world.open()
        if what == "retire":
            ours.rotate("root")
        before, svid = ours.bundle(), ours.issue(AGENT, KEY)
        work = partial(ours.retire, "root") if what == "retire" else partial(ours.rotate, what)
        again = killed(monkeypatch, survives, work)
        restarted = world.open()
        assert root_of(restarted.bundle(), restarted.issue(AGENT, KEY))
        assert restarted.sign_jwt(AGENT, ["x"]).token
        assert root_of(restarted.bundle(), svid), "what was issued before is good after"
        assert not left_over(world, restarted.state())
        outcomes.add(restarted.bundle().sequence - before.sequence)
        if not again:
            break
    assert survives >= 3
    assert outcomes == {0, 1}


def test_killed_while_the_trust_domain_is_founded_the_next_start_founds_it(tmp_path, monkeypatch):
    for survives in itertools.count():
        folder = tmp_path / str(survives)
        folder.mkdir()
        world = World(folder, 1_900_000_000.0)
        again = killed(monkeypatch, survives, world.open)
        ours = world.open()
        assert root_of(ours.bundle(), ours.issue(AGENT, KEY))
        assert not left_over(world, ours.state())
        if not again:
            break
    assert survives >= 8
