"""If these fail, an agent in a framework does what the gate did not allow."""

import re

import pytest

from e2e.guard.drivers import DRIVERS
from e2e.guard.shop import AGENT, SECRET


@pytest.fixture(params=[False, True], ids=["sync", "async"])
def asynchronous(request):
    return request.param


@pytest.fixture(params=DRIVERS, ids=lambda driver: driver.toolset)
def driver(request):
    return request.param


@pytest.fixture
def run(shop, driver, asynchronous):
    """Have the framework make these calls, in a session that is this task's and not the guard's."""

    def made(*calls, agent=AGENT, session="", **options):
        functions = shop.functions(asynchronous=asynchronous)
        guard = shop.guard(driver.toolset, delegation="", **options)
        with guard, guard.session(session or shop.token(agent)):
            return driver.run(guard, functions, calls, asynchronous=asynchronous)

    return made


def refund(amount, note=""):
    """The arguments, all of them: some frameworks make models name each."""
    return "refund", {"order": "O-5001", "amount": amount, "note": note}


def test_what_is_allowed_runs_with_its_defaults(shop, run):
    assert run(refund(5.0)) == ["paid 5.0"]
    assert shop.done == [("refund", "O-5001", 5.0, "")]


def test_what_policy_denies_does_not_run_and_the_model_is_told_why(shop, run):
    [told, then] = run(("remove", {"order": "O-5001"}), refund(5.0))
    assert told.startswith("PC3001: the role shop does not grant this tool.")
    assert shop.done == [("refund", "O-5001", 5.0, "")]
    assert then == "paid 5.0"


def test_what_is_held_does_not_run_until_a_human_says_so(shop, run):
    call, session = ("refund", shop.held()), shop.token()
    for _ in range(2):
        [told] = run(call, session=session)
        assert told.startswith("PC3040: approval ")
        assert shop.done == []
    shop.approve(re.search("[0-9a-f]{32}", told)[0])
    assert shop.done == []
    again, more = run(call, call, session=session)
    assert again == f"paid {call[1]['amount']}"
    assert more.startswith("PC3040")
    assert shop.done == [("refund", *call[1].values())]


def test_what_was_masked_runs_masked(shop, run):
    assert run(refund(5.0, "mail ada@customer.example")) == ["paid 5.0"]
    assert shop.done == [("refund", "O-5001", 5.0, "mail [EMAIL_ADDRESS]")]


def test_what_comes_back_reaches_the_model_masked(shop, run):
    assert run(("lookup", {"order": "O-5001", "limit": 3})) == [
        "O-5001 was paid with [GITHUB_TOKEN]"
    ]
    assert shop.done == [("lookup", "O-5001", 3)]


def test_who_is_suspended_gets_nothing_back_and_does_nothing_more(shop, run, driver, asynchronous):
    agent = f"{AGENT}-{driver.toolset}-{'async' if asynchronous else 'sync'}"
    shop.during = lambda: shop.suspend(agent)
    first, second = run(("lookup", {"order": "O-1", "limit": 5}), refund(5.0), agent=agent)
    assert first.startswith("PC4")
    assert "The tool has run; its result is withheld." in first
    assert SECRET not in first
    assert second.startswith("PC4")
    assert shop.done == [("lookup", "O-1", 5)]


def test_without_a_gate_nothing_runs(shop, run):
    [told] = run(refund(5.0), url="http://127.0.0.1:9")
    assert told.startswith("PC7011")
    assert shop.done == []
