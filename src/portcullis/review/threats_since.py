"""What changed between two threat models of a deployment."""

from __future__ import annotations

from pathlib import Path

import msgspec
from msgspec.structs import replace

from portcullis.core.errors import Problem
from portcullis.review.threats import FORMAT, Model, Threat
from portcullis.review.threats_rating import COVERAGES, LEVELS


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """A threat that is ``new``, ``gone``, ``worse``, ``better`` or otherwise ``changed``.

    ``was`` is the old one's coverage and level, empty for a new one; ``now`` the new one's.
    ``what`` says what of it is another.
    """

    kind: str
    id: str
    about: str
    was: str = ""
    now: str = ""
    what: tuple[str, ...] = ()

    @property
    def alarming(self) -> bool:
        """Whether somebody should look before this goes on."""
        return self.kind in {"new", "worse"}


def read_model(path: Path) -> Model:
    """A model that was written with ``--json``. Raises Problem PC7052."""
    try:
        found = msgspec.json.decode(path.read_bytes(), type=Model)
    except OSError as error:
        raise Problem("PC7052", f"{path}: {error.strerror or type(error).__name__}") from None
    except msgspec.MsgspecError as error:
        raise Problem("PC7052", f"{path}: {error}") from None
    if found.format != FORMAT:
        raise Problem("PC7052", f"{path}: its format is another than {FORMAT}")
    return found


def changes(old: Model, new: Model) -> tuple[Change, ...]:
    """Every difference: what is new and worse first."""
    before = {one.key: one for one in old.threats}
    after = {one.key: one for one in new.threats}
    found = [_change(before.get(key), after.get(key)) for key in {**after, **before}]
    kinds = ("new", "worse", "changed", "better", "gone")
    return tuple(
        sorted(
            (one for one in found if one is not None),
            key=lambda one: (kinds.index(one.kind), one.id, one.about),
        )
    )


def _change(was: Threat | None, now: Threat | None) -> Change | None:
    one = now or was
    if one is None or was == now:
        return None
    change = Change(kind="new", id=one.id, about=one.about, was=_told(was), now=_told(now))
    if was is None:
        return change
    if now is None:
        return replace(change, kind="gone")
    what = tuple(_what(was, now))
    if not what:
        return None
    ranks = [(COVERAGES[each.coverage], -LEVELS[each.level]) for each in (was, now)]
    worse = any(after < before for before, after in zip(*ranks, strict=True))
    better = any(after > before for before, after in zip(*ranks, strict=True))
    kind = "worse" if worse else "better" if better else "changed"
    return replace(change, kind=kind, what=what)


def _told(one: Threat | None) -> str:
    return "" if one is None else f"{one.coverage}, {one.level}"


def _what(was: Threat, now: Threat) -> list[str]:
    """What is another, in words; the tests that proved a control are none of it."""
    found = [] if was.says == now.says else [now.says]
    reasons = {one.control: one.off for one in was.controls}
    found += [
        f"{one.control}: {one.off or 'acts now'}"
        for one in now.controls
        if one.off != reasons.get(one.control, "")
    ]
    if was.impact != now.impact:
        found.append(f"impact {was.impact} -> {now.impact}")
    if was.likelihood != now.likelihood:
        found.append(f"likelihood {was.likelihood} -> {now.likelihood}")
    if not found and _told(was) != _told(now):
        found.append(f"{_told(was)} -> {_told(now)}")
    return found
