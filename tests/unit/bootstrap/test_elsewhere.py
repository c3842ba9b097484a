"""If this fails, a subject that was erased after a restore stays on a host that was away."""

from types import SimpleNamespace

from portcullis.bootstrap.elsewhere import ErasedElsewhere, asked_for
from portcullis.core.hosts import Bundle


class Shelf:
    def __init__(self):
        self.bundle = None

    def put(self, name, files, above):
        del name
        self.bundle = Bundle(above + 1, dict(files))

    def get(self, name):
        del name
        return self.bundle


def test_after_a_restore_an_erasure_has_a_number_that_no_host_has_made():
    shelf, gateway = Shelf(), SimpleNamespace(name="edge", apart=True, erased=0)
    elsewhere = ErasedElsewhere(shelf, SimpleNamespace(all=lambda: (gateway,)))
    elsewhere.erase("first")
    backup = shelf.bundle
    elsewhere.erase("second")
    made = asked_for(shelf)[-1].number  # what the host keeps of it is on its own disk
    shelf.bundle = backup
    elsewhere.erase("third")
    last = asked_for(shelf)[-1]
    assert (last.name, last.number > made) == ("third", True)
