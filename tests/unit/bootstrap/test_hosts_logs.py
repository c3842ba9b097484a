"""If these fail, the control plane shows what another host did not do, or not what it did."""

import msgspec
import pytest

from audit_logs import event, shipper_to
from portcullis.audit.log import open_log
from portcullis.audit.query import records
from portcullis.audit.verify import own_verifier
from portcullis.bootstrap import SystemClock, hosts_logs
from portcullis.bootstrap.hosts_logs import Brought
from portcullis.bootstrap.hosts_retired import keep, retired_of
from portcullis.config import Config
from portcullis.config.places import audit_directory, gateway_figures
from portcullis.core.errors import Problem
from portcullis.core.hosts import Presence, Retired
from portcullis.store.objects import StoreSettings
from sealers import sealer_at


class Host:
    """A gateway ``edge`` with a log of its own, and the control plane's folder."""

    def __init__(self, folder):
        self.directory, self.shipped = folder / "edge" / "log", folder / "shipped"
        self._sealer, self._keys = sealer_at(folder), folder / "edge" / "keys"
        self.config = Config(trust_domain="example.org", state=folder / "control")
        self.runs, self.told, self.ages, self.there = True, [], {}, True
        self.closed = []
        self.grow(3)
        vkey = str(own_verifier(self.directory))
        self.said = Presence(
            name="edge", log="edge", host="h", at=1.0, apart=True, vkey=vkey, version="1"
        )
        self.brought = self.opened()

    def opened(self):
        def source(name):
            return StoreSettings(url=(self.shipped / name).as_uri())

        def told(name, problem):
            self.told.append((name, "" if problem is None else problem.code))

        def closed(one):
            self.closed.append((one.name, one.entries))

        brought = Brought(self.config, self, source, told, SystemClock(), closed)
        brought.show(self.ages.__setitem__, lambda name: self.ages.pop(name, None))
        return brought

    def grow(self, count, origin="example.org/edge"):
        place = self.directory, self._keys, origin
        with open_log(*place, sealer=self._sealer, queue=1000) as log:
            for _ in range(count):
                log.enqueue(event(str(log.size)))

    def ship(self):
        self.verifier = own_verifier(self.directory)
        shipper_to(self.shipped / "edge", self, lambda *_: None).step()

    def step(self):
        self.told.clear()
        self.brought.step()
        return self.told

    def here(self):
        place = audit_directory(self.config, "edge")
        return len(list(records(place, own_verifier(place))))

    def all(self):
        if self.said is None:
            raise Problem("PC9002", "away")
        return (self.said,) if self.there else ()

    def running(self):
        return self.all() if self.runs else ()

    def figures(self, name):
        return f"calls_of_{name} 1\n".encode()


@pytest.fixture
def host(tmp_path):
    made = Host(tmp_path)
    yield made
    made.brought.close()


def test_a_log_comes_when_it_was_shipped_and_goes_on_after_a_restart(host):
    assert host.step() == [("edge", "")], "nothing was shipped yet"
    host.ship()
    assert host.step() == [("edge", "")]
    assert host.here() == 3
    host.brought.close()
    host.grow(300)
    host.ship()
    host.brought = host.opened()
    assert host.step() == [("edge", "")]
    assert host.here() == 303


def test_figures_are_here_while_the_gateway_runs(host):
    place = gateway_figures(host.config, "edge")
    host.step()
    assert place.read_bytes() == b"calls_of_edge 1\n"
    host.runs = False
    host.step()
    assert place.exists(), "it broke off"
    host.said = msgspec.structs.replace(host.said, ended=True)
    host.step()
    assert not place.exists()


def test_the_log_of_a_retired_gateway_is_brought_to_its_end_and_kept(host, monkeypatch):
    host.ship()
    keep(host.config.state, Retired(name="edge", log="edge", at=1.0))
    host.step()
    assert (host.closed, host.here()) == ([], 3), "it runs"
    host.runs = False
    host.step()
    host.grow(2)
    host.ship()
    host.step()
    assert (host.closed, host.here()) == ([], 5), "its last entries may be on their way"
    monkeypatch.setattr(hosts_logs, "FRESH_SECONDS", 0.0)
    host.step()
    assert host.closed == [("edge", 5)]
    host.grow(1)
    host.ship()
    assert (host.step(), host.here(), "edge" in host.ages) == ([], 5, False)
    assert retired_of(host.config.state)["edge"].entries == 5


@pytest.mark.parametrize("how", ["altered", "another key", "another log's key", "control", ".."])
def test_what_does_not_verify_is_not_taken_over(how, host):
    host.ship()
    host.step()
    host.grow(5)
    host.ship()
    if how == "altered":
        (entries,) = (host.shipped / "edge" / "tile" / "entries").glob("000.p/8")
        entries.write_bytes(entries.read_bytes()[:-1] + b"]")
    elif how == "another key":
        other = host.said.vkey[:-4] + "AAA="
        host.said = msgspec.structs.replace(host.said, vkey=other)
    elif how == "another log's key":
        host.said = msgspec.structs.replace(host.said, log="other")
    else:
        host.said = msgspec.structs.replace(host.said, log=how)
    ((_, code),) = host.step()
    assert code in {"PC6005", "PC6009"}
    assert host.here() == 3


@pytest.mark.parametrize("how", ["the store", "the announcement", "the database"])
def test_a_log_that_was_here_and_is_taken_away_is_told_and_grows_old(how, host):
    host.ship()
    assert host.step() == [("edge", "")]
    assert host.ages["edge"] < 60
    host.brought._at["edge"] -= 1000
    host.brought.tell()
    assert host.ages["edge"] > 999, "while a step takes long"
    host.ages.clear()
    if how == "the store":
        (host.shipped / "edge" / "checkpoint").unlink()
        assert host.step() == [("edge", "PC6009")]
    elif how == "the announcement":
        host.there = False
        assert host.step() == [("edge", "PC6009")]
    else:
        host.said = None
        with pytest.raises(Problem):
            host.step()
    assert host.ages["edge"] > 999


def test_a_log_that_is_never_shipped_grows_old(host):
    host.step()
    host.brought._at["edge"] -= 1000
    assert host.step() == [("edge", "")]
    assert host.ages["edge"] > 999
