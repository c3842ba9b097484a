"""If these fail, a subject that was erased stays on a host that was away."""

from types import SimpleNamespace

import msgspec
import pytest

from portcullis.bootstrap.elsewhere import (
    BUNDLE,
    KEPT,
    ErasedElsewhere,
    Erasure,
    asked_for,
    kept,
    reseal,
)
from portcullis.bootstrap.hosts_published import Published
from portcullis.core.hosts import Bundle
from portcullis.identity.keymanager.file import FileKeyManager
from portcullis.identity.sealing import Envelope


class Shelf:
    def __init__(self):
        self.bundles = {}

    def put(self, name, files, above):
        version = max(above, self.versions().get(name, 0)) + 1
        self.bundles[name] = Bundle(version, dict(files))
        return version

    def versions(self):
        return {name: one.version for name, one in self.bundles.items()}

    def get(self, name):
        return self.bundles.get(name)


class Book:
    def in_force(self):
        return ()


@pytest.fixture
def control(tmp_path):
    """A control plane's folder, and the shelf: what asks, what publishes, and what was told."""
    sealer = Envelope(manager := FileKeyManager(tmp_path / "master.key", create=True))
    for name in ("keys", "ca"):
        (tmp_path / name).mkdir(mode=0o700)
    made = SimpleNamespace(
        folder=tmp_path,
        manager=manager,
        sealer=sealer,
        shelf=Shelf(),
        gateway=SimpleNamespace(name="edge", apart=True, erased=0),
        told=[],
    )
    presences = SimpleNamespace(all=lambda: (made.gateway,))
    made.elsewhere = ErasedElsewhere(tmp_path, sealer, made.shelf, presences)

    def published():
        return Published(
            tmp_path, made.shelf, Book(), made.told.append, lambda: kept(tmp_path, sealer)
        )

    made.published = published
    return made


def test_after_a_restore_an_erasure_has_a_number_that_no_host_has_made(control):
    control.elsewhere.erase("first")
    backup = (control.folder / KEPT).read_bytes()
    assert b"first" not in backup, "no name lies there in clear"
    control.elsewhere.erase("second")
    control.manager.rotate()
    reseal(control.folder, control.sealer)
    assert control.sealer.current((control.folder / KEPT).read_bytes())
    control.published().step(check=True)
    made = asked_for(control.shelf)[-1].number  # what the host keeps of it is on its own disk
    (control.folder / KEPT).write_bytes(backup)
    control.elsewhere.erase("third")
    control.published().step(check=True)
    last = asked_for(control.shelf)[-1]
    assert (last.name, last.number > made) == ("third", True)


@pytest.mark.parametrize("how", ["older", "gone"])
def test_what_was_asked_for_is_there_again_when_somebody_took_it_away(control, how):
    published = control.published()
    control.elsewhere.erase("first")
    published.step(check=True)
    older = control.shelf.get(BUNDLE)
    control.elsewhere.erase("second")
    published.step(check=True)
    assert control.told == []
    if how == "older":
        control.shelf.bundles[BUNDLE] = older
    else:
        del control.shelf.bundles[BUNDLE]
    published.step(check=True)
    assert control.told == [BUNDLE]
    assert [one.name for one in asked_for(control.shelf)] == ["first", "second"]


def test_what_an_older_program_asked_for_is_not_lost_and_without_any_there_is_no_bundle(control):
    published = control.published()
    published.step(check=True)
    assert BUNDLE not in control.shelf.versions()
    asked = msgspec.json.encode([Erasure(7, "before")])
    control.shelf.put(BUNDLE, {"erasures.json": asked}, 0)
    control.elsewhere.erase("after")
    published.step(check=False)
    assert [one.name for one in asked_for(control.shelf)] == ["before", "after"]
    control.gateway.erased = asked_for(control.shelf)[-1].number
    control.elsewhere.erase("last")
    published.step(check=False)
    assert [one.name for one in asked_for(control.shelf)] == ["last"]
