import itertools
import os
import random
import threading
from concurrent.futures import ThreadPoolExecutor

import jwt
import pytest

from authorities import AGENT, leaf_key, root_of
from portcullis.core.errors import Problem
from portcullis.identity.authority_files import Files
from portcullis.identity.in_force import attention, digest, root_keys

DAY = 86_400
KEY = leaf_key().public_key()
SHORT = {
    "svid_ttl_seconds": 100,
    "jwt_svid_ttl_seconds": 50,
    "signing_ttl_seconds": 4000,
    "root_ttl_seconds": 20_000,
}


def ids(authority, kind, state):
    return {key.id for key in authority.state().keys if (key.kind, key.state) == (kind, state)}


def test_what_is_issued_is_known_to_everybody_beforehand_and_good_until_it_ends(world):
    """Years of time steps: no consumer that looks as often as it is told ever meets a stranger."""
    ours, random_ = world.open(**SHORT), random.Random(7)
    sequence, bundles, living, tokens = 0, [], [], []
    end = world.clock.at + 2 * SHORT["root_ttl_seconds"]
    while world.clock.at < end:
        world.clock.at += random_.uniform(2, 30)
        if ours.maintain() and random_.random() < 0.3:
            ours = world.open(**SHORT)
        now, bundle = world.clock.at, ours.bundle()
        assert bundle.sequence >= sequence
        sequence = bundle.sequence
        bundles = [each for each in bundles if each[0] >= now - 2 * bundle.refresh_hint]
        bundles.append((now, bundle))
        svid = ours.issue(AGENT, KEY)
        anchor = root_of(bundle, svid)
        assert svid.expires_at >= now + 99, "cut short by its authority"
        assert all(anchor in each.x509 for _, each in bundles), "signed before it was published"
        living = [each for each in living if each[0] > now] + [(svid.expires_at, anchor)]
        assert all(anchor in bundle.x509 for _, anchor in living), "taken out while needed"
        token = ours.sign_jwt(AGENT, ["x"])
        kid = ours.state().active("jwt").id
        assert all(kid in each.jwt for _, each in bundles)
        tokens = [each for each in tokens if each[0] > now] + [(token.expires_at, kid)]
        assert all(kid in bundle.jwt for _, kid in tokens)
        assert len(bundle.x509) <= 2
    assert sequence > 20


def test_an_authority_that_slept_for_years_comes_back_on_its_own(world):
    ours = world.open(**SHORT)
    world.clock.at += 30 * SHORT["root_ttl_seconds"]
    with pytest.raises(Problem):
        ours.issue(AGENT, KEY)
    assert ours.maintain()
    assert not ours.maintain()
    svid = ours.issue(AGENT, KEY)
    assert root_of(ours.bundle(), svid)
    assert len(ours.bundle().x509) == 1


def test_nothing_is_due_at_once(world):
    ours = world.open()
    assert not ours.maintain()
    world.clock.at += 14 * DAY
    assert ours.maintain(), "a JWT key is published before it signs"
    assert (len(ours.bundle().x509), len(ours.bundle().jwt)) == (1, 2)


def test_a_signing_authority_is_renewed_at_half_of_its_life_and_its_key_is_destroyed(world):
    ours = world.open(**SHORT)
    first = ours.issue(AGENT, KEY)
    old = next(world.directory.glob("signing-*.key"))
    world.clock.at += 1999
    ours.maintain()
    assert ours.issue(AGENT, KEY).chain[1] == first.chain[1]
    world.clock.at += 2
    assert ours.maintain()
    second = ours.issue(AGENT, KEY)
    assert second.chain[1] != first.chain[1]
    assert root_of(ours.bundle(), first) == root_of(ours.bundle(), second)
    assert not old.exists()


STEPS = ("signing", "root", "jwt", "maintain", "restart")


@pytest.mark.parametrize("order", list(itertools.permutations(STEPS)))
def test_whatever_the_order_of_rotations_and_restarts_all_that_was_issued_stays_good(world, order):
    ours = world.open(**SHORT)
    issued = [ours.issue(AGENT, KEY)]
    kids = {ours.state().active("jwt").id}
    for step in order:
        sequence = ours.bundle().sequence
        world.clock.at += 10
        if step == "restart":
            ours = world.open(**SHORT)
        elif step == "maintain":
            ours.maintain()
        else:
            ours.rotate(step)
            assert ours.bundle().sequence == sequence + 1
        issued.append(ours.issue(AGENT, KEY))
        kids.add(ours.state().active("jwt").id)
        assert all(root_of(ours.bundle(), svid) for svid in issued)
        assert kids == set(ours.bundle().jwt)


def test_a_forced_rotation_takes_a_fresh_key_not_one_that_may_have_leaked_with_the_old(world):
    ours = world.open(**SHORT)
    world.clock.at += 7600
    ours.maintain()
    prepared = ids(ours, "root", "prepared")
    assert prepared
    ours.rotate("root")
    assert not prepared & (ids(ours, "root", "active") | ids(ours, "root", "prepared"))


def test_retiring_ends_the_trust_in_old_roots_and_old_jwt_keys_at_once(world):
    ours = world.open()
    told = []
    ours.subscribe(lambda: told.append(ours.bundle()))
    root, kid = ours.bundle().x509[0], ours.state().active("jwt").id
    for what in ("root", "jwt"):
        with pytest.raises(Problem) as nothing:
            ours.retire(what)
        assert nothing.value.code == "PC7008"
        assert "rotate" in nothing.value.hint
        ours.rotate(what)
        ours.retire(what)
    assert root not in ours.bundle().x509
    assert kid not in ours.bundle().jwt
    assert [(len(each.x509), len(each.jwt)) for each in told] == [(2, 1), (1, 1), (1, 2), (1, 1)]
    assert len({each.sequence for each in told}) == 4


def test_the_bundle_is_the_same_object_until_it_changes(world):
    ours = world.open()
    assert ours.bundle() is ours.bundle()
    before = ours.bundle()
    ours.rotate("jwt")
    assert ours.bundle() is not before


def test_private_keys_lie_sealed_and_for_their_owner_only(world):
    world.open()
    found = sorted(world.directory.iterdir())
    assert {path.name.partition("-")[0] for path in found} == {
        "root",
        "signing",
        "jwt",
        "state.json",
    }
    for path in found:
        assert path.stat().st_mode & 0o077 == 0
        assert b"PRIVATE KEY" not in path.read_bytes()


def test_a_sealed_key_in_another_ones_place_does_not_open(world):
    world.open()
    signing = next(world.directory.glob("signing-*.key"))
    jwt = next(world.directory.glob("jwt-*.key"))
    signing.write_bytes(jwt.read_bytes())
    with pytest.raises(Problem) as refused:
        world.open()
    assert refused.value.code == "PC7010"


def test_the_keys_of_another_trust_domain_are_not_taken_for_ours(world):
    world.open()
    with pytest.raises(Problem) as refused:
        world.open(trust_domain="elsewhere.org")
    assert refused.value.code == "PC7008"


@pytest.mark.parametrize("content", [b"", b"{}", b"[]", b"\x00", b'{"trust_domain":1}'])
def test_a_damaged_state_is_a_problem_and_not_a_new_trust_domain(world, content):
    world.open()
    (world.directory / "state.json").write_bytes(content)
    with pytest.raises(Problem) as refused:
        world.open()
    assert refused.value.code == "PC7008"


def test_a_lost_state_is_a_problem_and_not_a_new_trust_domain(world):
    world.open()
    (world.directory / "state.json").unlink()
    with pytest.raises(Problem, match="missing") as refused:
        world.open()
    assert refused.value.code == "PC7008"
    assert list(world.directory.glob("root-*.key"))


@pytest.mark.parametrize("pattern", ["root-*.pem", "signing-*.pem", "signing-*.key", "jwt-*.pem"])
@pytest.mark.parametrize("damage", [None, b"", b"rubbish"])
def test_a_missing_or_damaged_file_is_a_problem_that_says_so(world, pattern, damage):
    world.open()
    path = next(world.directory.glob(pattern))
    path.unlink() if damage is None else path.write_bytes(damage)
    with pytest.raises(Problem) as refused:
        world.open()
    assert refused.value.code in {"PC7008", "PC7010"}


def test_keys_are_sealed_again_under_the_newest_key_encryption_key(world):
    ours = world.open()
    before = {path: path.read_bytes() for path in world.directory.glob("*.key")}
    root = ours.bundle()
    world.keys.rotate()
    again = world.open()
    assert again.bundle().x509 == root.x509
    assert all(path.read_bytes() != content for path, content in before.items())
    assert again.reseal() == 0


def test_two_processes_do_not_undo_each_others_changes(world):
    one, other = world.open(), world.open()
    one.rotate("root")
    other.rotate("jwt")
    assert len(other.bundle().x509) == 2
    assert other.bundle().sequence == one.bundle().sequence + 1


def test_threads_that_issue_while_another_rotates_get_chains_that_verify(world):
    ours, stop = world.open(), threading.Event()

    def issuing():
        done = []
        while not stop.is_set():
            done.append(ours.issue(AGENT, KEY))
            assert jwt.get_unverified_header(ours.sign_jwt(AGENT, ["x"]).token)["kid"] in kids()
        return done

    def kids():
        return ours.bundle().jwt

    with ThreadPoolExecutor(3) as pool:
        work = [pool.submit(issuing) for _ in range(3)]
        for what in ("signing", "root", "jwt") * 5:
            ours.rotate(what)
        stop.set()
        issued = [svid for each in work for svid in each.result()]
    assert len({svid.serial for svid in issued}) == len(issued) > 0
    assert all(root_of(ours.bundle(), svid) for svid in issued)


def test_with_the_root_offline_renewal_needs_its_key_and_says_so(world, tmp_path):
    ours = world.open(**SHORT)
    kept = root_keys(Files(world.directory), ours.state())
    ours.forget_root_keys({name: digest(key) for name, key in kept.items()})
    assert not list(world.directory.glob("root-*.key"))
    first = ours.issue(AGENT, KEY)
    world.clock.at += 2001
    ours.maintain()
    assert ours.issue(AGENT, KEY).chain[1] == first.chain[1]
    with pytest.raises(Problem, match="offline") as refused:
        ours.rotate("signing")
    assert refused.value.code == "PC7008"
    assert "--root-key" in refused.value.hint
    ours = world.open(**SHORT)
    old = ours.issue(AGENT, KEY)
    assert "ends in 0.0 days" in attention(Files(world.directory), ours.state(), world.clock.at)
    assert "expired" in attention(Files(world.directory), ours.state(), world.clock.at + 9999)
    ours.rotate("signing", root_key=next(iter(kept.values())))
    new = ours.issue(AGENT, KEY)
    assert root_of(ours.bundle(), new) == root_of(ours.bundle(), old)
    assert new.chain[1] != old.chain[1]
    assert not attention(Files(world.directory), ours.state(), world.clock.at)
    assert not list(world.directory.glob("root-*.key"))


def test_when_the_signing_authority_was_not_renewed_in_time_the_error_says_so(world):
    ours = world.open(**SHORT)
    kept = root_keys(Files(world.directory), ours.state())
    ours.forget_root_keys({name: digest(key) for name, key in kept.items()})
    world.clock.at += 4001
    ours.maintain()
    with pytest.raises(Problem, match="not renewed in time") as refused:
        ours.issue(AGENT, KEY)
    assert refused.value.code == "PC7008"


@pytest.mark.parametrize("wrong", [b"", b"rubbish", "another"])
def test_a_wrong_root_key_signs_nothing(world, wrong):
    ours = world.open()
    first = root_keys(Files(world.directory), ours.state())
    if wrong == "another":
        ours.rotate("root")
        wrong = next(iter(first.values()))
    before = ours.bundle()
    with pytest.raises(Problem) as refused:
        ours.rotate("signing", root_key=wrong)
    assert refused.value.code in {"PC7008", "PC7010"}
    assert ours.bundle() is before


def test_root_keys_that_nobody_has_copied_are_not_removed(world):
    ours = world.open()
    name = next(iter(root_keys(Files(world.directory), ours.state())))
    for digests in ({}, {name: "00"}, {"state.json": "00"}, {"../x": "00"}):
        with pytest.raises(Problem):
            ours.forget_root_keys(digests)
    assert (world.directory / name).exists()


def test_a_new_root_needs_no_key_of_the_old_one(world):
    ours = world.open()
    kept = root_keys(Files(world.directory), ours.state())
    ours.forget_root_keys({name: digest(key) for name, key in kept.items()})
    ours.rotate("root")
    assert len(ours.bundle().x509) == 2
    assert root_of(ours.bundle(), ours.issue(AGENT, KEY))


def test_a_disk_that_refuses_changes_nothing_in_memory(world, monkeypatch):
    ours = world.open()
    before, real = ours.bundle(), os.fsync

    def full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(Problem) as refused:
        ours.rotate("root")
    monkeypatch.setattr(os, "fsync", real)
    assert refused.value.code == "PC7001"
    assert ours.bundle() is before
    ours.rotate("root")
    assert len(world.open().bundle().x509) == 2
