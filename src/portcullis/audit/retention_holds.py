"""Legal holds: what may be neither erased nor pruned while somebody asks for it.

The log itself is the truth: a hold is an ``admin`` event ``audit.hold``, and is in force until an
``audit.release`` of the same id. So no file can be taken away to lift a hold.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from threading import Lock
from typing import Any, Final, Literal, Protocol, TypeAlias

import msgspec

from portcullis.audit.export.source import event_of
from portcullis.audit.files import read
from portcullis.audit.query import entries
from portcullis.audit.subjects import SubjectKeys
from portcullis.audit.verify import own_verifier
from portcullis.core.errors import Problem
from portcullis.core.event import Event, EventType

HOLDS: Final = "holds.json"
"""Below the state directory of a host whose control plane is elsewhere."""
_MOST_BYTES: Final = 2**20
HOLD: Final = "audit.hold"
RELEASE: Final = "audit.release"
ERASE: Final = "audit.erase"
ERASED: Final = "audit.erased"
_OURS: Final = b'"method":"audit.'
HoldKind: TypeAlias = Literal["session", "principal", "subject"]


class Acted(Protocol):
    """An event, as far as a hold on a session or a principal tells."""

    @property
    def session(self) -> str: ...  # noqa: D102 - as in Event
    @property
    def principal_kind(self) -> str: ...  # noqa: D102 - as in Event
    @property
    def principal(self) -> str: ...  # noqa: D102 - as in Event


class Hold(msgspec.Struct, frozen=True, kw_only=True):
    """One hold. ``since`` is in seconds since the epoch, ``by`` the operator.

    ``target`` is a session's id or ``KIND:NAME`` of a principal. Of a subject it is empty, and
    ``tags`` has its tag (``SubjectKeys.tag``, hex) in each log that there was.
    """

    id: str
    kind: HoldKind
    target: str
    tags: dict[str, str]
    reason: str
    by: str
    since: float

    def parameters(self) -> dict[str, Any]:
        """What the event says of it."""
        said = {"hold": self.id, "kind": self.kind, "target": self.target, "reason": self.reason}
        return said | {"tags": dict(self.tags)}

    def covers(self, event: Acted) -> bool:
        """Whether an event is held: by its session or principal; its subject is not in it.

        So a hold on a subject covers every event.
        """
        match self.kind:
            case "session":
                return event.session == self.target
            case "principal":
                return f"{event.principal_kind}:{event.principal}" == self.target
            case "subject":
                return True


class Holds(Protocol):
    """What is on hold. Both block, as far as they have to read."""

    def in_force(self) -> tuple[Hold, ...]:
        """The holds in force, oldest first. Raises Problem when that cannot be told."""
        ...

    def unfinished(self, tag: str) -> bool:
        """Whether an erasure of this tag (hex) was begun and not ended, as of ``in_force``."""
        ...


class HoldFile:
    """The holds as the control plane of another host says them, in a file of this one."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def in_force(self) -> tuple[Hold, ...]:
        """See Holds. Problem PC6002 without the file: then nobody knows what may be destroyed."""
        try:
            raw = read(self._path, _MOST_BYTES)
            return msgspec.json.decode(raw, type=tuple[Hold, ...])
        except (OSError, msgspec.MsgspecError):
            raise Problem("PC6002", f"{self._path.name} cannot be read") from None

    def unfinished(self, tag: str) -> bool:
        """Never: it is the control plane that goes on with them."""
        del tag
        return False


class HoldBook:
    """The holds that logs tell of, and the erasures that were not ended. For any threads.

    ``directories`` are the logs of those who may have been asked for one, in any order. Each
    ``in_force`` reads what was written since the last.
    """

    def __init__(self, *directories: Path) -> None:
        self._next = dict.fromkeys(directories, 0)
        self._holds: dict[str, Hold] = {}
        self._released: set[str] = set()
        self._unfinished: set[str] = set()
        self._mutex = Lock()

    def in_force(self) -> tuple[Hold, ...]:
        """The holds in force, oldest first. Blocks; Problem PC6002 or PC6005 for a damaged log."""
        with self._mutex:
            for directory in self._next:
                if directory.exists():  # else nobody could have asked for one there
                    self._read(directory)
            held = [hold for hold in self._holds.values() if hold.id not in self._released]
            return tuple(sorted(held, key=lambda hold: hold.since))

    def _read(self, directory: Path) -> None:
        verifier = own_verifier(directory)
        for index, entry in entries(directory, verifier, self._next[directory]):
            if _OURS in entry:
                self._take(event_of(entry))
            self._next[directory] = index + 1

    def unfinished(self, tag: str) -> bool:
        """Whether an erasure of this tag (hex) was begun and not ended, as of ``in_force``."""
        with self._mutex:
            return tag in self._unfinished

    def _take(self, event: Event) -> None:
        if event.type is not EventType.ADMIN or event.verdict != "allow":
            return
        if event.method == HOLD:
            said = event.parameters | {"since": event.time.timestamp(), "by": event.principal}
            hold = msgspec.convert({"id": said.pop("hold"), **said}, Hold)
            self._holds[hold.id] = hold
        elif event.method == RELEASE:
            self._released.add(event.parameters["hold"])  # another log may tell of it later
        elif event.method == ERASE:
            self._unfinished.add(event.parameters["subject"])
        elif event.method == ERASED:
            self._unfinished.discard(event.parameters["subject"])


def refusing(
    holds: Iterable[Hold], stores: Mapping[str, SubjectKeys], tags: Mapping[str, bytes]
) -> Hold | None:
    """The hold for which the keys that ``tags`` lead to must stay, by log; None: there is none.

    A hold on a session or a principal does not say whose data it is, nor does one on a subject in
    a log that came later: for these every key stays.
    """
    for hold in holds:
        for log, tag in tags.items():
            held = hold.tags.get(log)
            if held is None:
                return hold
            if stores[log].reach(bytes.fromhex(held)) & stores[log].reach(tag):
                return hold
    return None


def held_problem(hold: Hold) -> Problem:
    """Why something stays."""
    hint = f"It ends with `portcullis audit release {hold.id}`, which is recorded."
    return Problem("PC6040", f"the hold {hold.id} is in force on a {hold.kind}", hint=hint)
