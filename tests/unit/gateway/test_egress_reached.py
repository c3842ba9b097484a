"""If these fail, agents are told to go ahead where a host is gone, or learn whom others reached."""

from portcullis.core.egress import Destination
from portcullis.gateway import egress_reached
from portcullis.gateway.egress_reached import LATELY, Reached

HERE, THERE = Destination(host="a.test", port=443), Destination(host="a.test", port=8443)


def test_a_host_counts_as_reached_for_its_agent_for_a_while_and_until_it_fails():
    now = [100.0]
    reached = Reached(lambda: now[0])
    reached.note("coder", HERE)
    assert reached.lately("coder", HERE)
    assert not reached.lately("rival", HERE)
    assert not reached.lately("coder", THERE)
    now[0] += LATELY
    assert not reached.lately("coder", HERE)
    reached.note("coder", HERE)
    reached.forget("coder", HERE)
    assert not reached.lately("coder", HERE)


def test_so_many_are_remembered_the_newest(monkeypatch):
    monkeypatch.setattr(egress_reached, "_MOST", 2)
    reached = Reached(lambda: 0.0)
    for one in (HERE, THERE, HERE, Destination(host="b.test", port=443)):
        reached.note("coder", one)
    assert reached.lately("coder", HERE)
    assert not reached.lately("coder", THERE)
