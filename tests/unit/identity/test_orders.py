"""If these fail, a clock that went back keeps an operator from stopping everything, or whoever
has seen an order can have it obeyed a second time."""

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from portcullis.core.errors import Problem
from portcullis.identity.orders import OrderBook, sign

KEY = Ed25519PrivateKey.generate()


class Time:
    def __init__(self):
        self.at = 1_000_000.0

    def now(self):
        self.at += 0.01
        return self.at


@pytest.fixture
def time():
    return Time()


@pytest.fixture
def book(tmp_path, time):
    return OrderBook(tmp_path, KEY.public_key(), time)


def order(time, verb):
    return sign(KEY, verb, "a drill", "local-ops", time)


def test_an_order_is_obeyed_once_and_not_after_a_newer_one_nor_after_a_restart(
    book, time, tmp_path
):
    kill, undo = order(time, "kill"), order(time, "undo")
    book.accept(kill)
    book.keep(kill)
    with pytest.raises(Problem, match="PC4003"):
        book.accept(kill)
    book.accept(undo)
    book.keep(undo)
    for one in (book, OrderBook(tmp_path, KEY.public_key(), time)):
        for shown in (kill, undo):
            with pytest.raises(Problem, match="PC4003"):
                one.accept(shown)
        assert one.killed is None


def test_a_clock_that_went_back_keeps_nobody_from_killing_nor_from_taking_that_back(
    book, time, tmp_path
):
    time.at += 86_400  # ahead by a day, when there was a drill
    drill, over = order(time, "kill"), order(time, "undo")
    for one in (drill, over):
        book.accept(one)
        book.keep(one)
    time.at -= 86_400
    for again in (book, OrderBook(tmp_path, KEY.public_key(), time)):
        with pytest.raises(Problem, match="PC4003"):
            again.accept(drill)  # it is of no minute that is near
        with pytest.raises(Problem, match="PC4003"):
            again.accept(order(time, "undo"))
    kill = order(time, "kill")
    assert book.accept(kill).verb == "kill"
    book.keep(kill)
    with pytest.raises(Problem, match="PC4003"):
        book.accept(kill)
    assert OrderBook(tmp_path, KEY.public_key(), time).killed == "a drill"
    undo = order(time, "undo")
    assert book.accept(undo).verb == "undo"
    book.keep(undo)
    assert book.killed is None
