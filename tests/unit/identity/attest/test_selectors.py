import pytest

from portcullis.core.errors import Problem
from portcullis.core.ports import Entry
from portcullis.core.principal import PrincipalKind
from portcullis.identity.attest.selectors import awaits_hash, checked, matching

HASH = f"unix:sha256:{'a' * 64}"


def entry(*selectors: str) -> Entry:
    return Entry(
        id="e1",
        kind=PrincipalKind.AGENT,
        principal="shop-1",
        selectors=selectors,
        ttl_seconds=0,
        created_at=0.0,
    )


def test_selectors_of_every_form_are_accepted_sorted_and_each_once():
    given = [
        "unix:uid:0",
        "unix:gid:1000",
        "unix:path:/usr/bin/shop agent",
        HASH,
        "unix:cgroup:/system.slice/shop.service",
        "k8s:ns:shop",
        "k8s:pod-label:app=shop",
        "unix:uid:0",
    ]
    assert checked(given) == tuple(sorted(set(given)))


@pytest.mark.parametrize(
    "selector",
    [
        "",
        "uid:0",
        "unix:uid:",
        "unix:uid:00",
        "unix:uid:-1",
        "unix:uid:1 ",
        "unix:uid:1\n",
        "unix:user:root",
        "unix:path:bin/shop",
        "unix:path:/bin/\0shop",
        "unix:path:/bin/shop\n",
        f"unix:path:/{'a' * 5000}",
        f"unix:sha256:{'A' * 64}",
        "unix:sha256:abc",
        "k8s:",
        "k8s:ns:",
        "docker:label:x",
    ],
)
def test_a_selector_that_nobody_could_have_is_refused(selector):
    with pytest.raises(Problem) as refused:
        checked([selector])
    assert refused.value.code == "PC1020"


def test_an_entry_has_at_least_one_selector_and_not_too_many():
    with pytest.raises(Problem):
        checked([])
    with pytest.raises(Problem):
        checked(f"unix:uid:{number}" for number in range(33))


def test_a_caller_must_have_all_selectors_of_an_entry():
    caller = frozenset({"unix:uid:1", "unix:gid:1"})
    right = entry("unix:uid:1"), entry("unix:uid:1", "unix:gid:1")
    wrong = entry("unix:uid:2"), entry("unix:uid:1", "unix:gid:2"), entry("unix:uid:10")
    assert matching((*right, *wrong), caller) == right


def test_an_entry_without_selectors_matches_nobody():
    assert matching((entry(),), frozenset({"unix:uid:1"})) == ()


def test_an_executable_is_hashed_only_for_an_entry_that_all_else_fits():
    caller = frozenset({"unix:uid:1"})
    assert awaits_hash((entry("unix:uid:1", HASH),), caller)
    assert awaits_hash((entry(HASH),), caller)
    assert not awaits_hash((entry("unix:uid:2", HASH),), caller)
    assert not awaits_hash((entry("unix:uid:1"), entry()), caller)
