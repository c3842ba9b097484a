"""If these fail, whoever floods the log makes real alerts late, or has them left out."""

from portcullis.core.alert import EVIDENCE, Ended, Level, Raised, Words
from portcullis.oversight.alerts.gathering import CROWD
from portcullis.oversight.alerts.pending import Pending


def raised(name="a", at=0.0, **fields):
    made = {
        "rule": "odd",
        "level": Level.HIGH,
        "words": Words(title="Odd"),
        "group": {"principal": name},
        "at": at,
        "events": (f"e{at:.0f}",),
    }
    return Raised(**made | fields)


def over(name="a", at=0.0):
    return Ended(rule="odd", group={"principal": name}, at=at, event="x")


def shown(pending):
    return ["over" if isinstance(one, Ended) else one.count for one in pending]


def test_the_same_many_times_is_one_with_the_sum():
    pending = Pending()
    assert not pending
    for at in range(1000):
        pending.add(raised(at=at, count=3))
    (one,) = pending
    assert (one.count, one.at, len(one.events), one.events[-1]) == (3000, 999, EVIDENCE, "e999")
    pending.add(raised(rule="other"))
    assert [each.rule for each in pending] == ["odd", "other"]


def test_names_without_end_are_one_and_other_rules_are_not_touched():
    pending = Pending()
    for number in range(6_000):
        pending.add(raised(f"n{number}"))
    pending.add(raised("real", rule="cut-off"))
    for number in range(6_000):
        pending.add(over(f"m{number}"))
    found = [one for one in pending if isinstance(one, Raised)]
    assert len(found) == CROWD + 2
    (crowd,) = (one for one in found if not one.group)
    assert crowd.count == 6_000 - CROWD
    assert [one.group for one in found if one.rule == "cut-off"] == [{"principal": "real"}]
    assert len(list(pending)) < 5000


def test_back_and_forth_keeps_its_order_and_its_last_word():
    pending = Pending()
    for _ in range(100):
        pending.add(raised())
        pending.add(over())
    assert shown(pending)[-1] == "over"
    assert len(shown(pending)) <= 4
    assert sum(one for one in shown(pending) if one != "over") == 100
    pending.add(raised())
    assert shown(pending)[-1] != "over"
    backwards = Pending()
    for _ in range(10):
        backwards.add(over("b"))
        backwards.add(raised("b"))
    assert shown(backwards)[0] == "over"
    assert shown(backwards)[-1] != "over"
    assert sum(one for one in shown(backwards) if one != "over") == 10
