"""Erasing a subject from all logs of a state directory, by destroying its keys.

What was committed to stays in the logs, and every proof goes on to verify; nobody can recompute
or guess a commitment any more, nor open content. Whatever is recorded of the subject from then on
is under a new key.
"""

from __future__ import annotations

import contextlib
import unicodedata
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

import msgspec

from portcullis.audit import content
from portcullis.audit.content import Field, Held
from portcullis.audit.keys import DERIVED_FILE, HANDLES_FILE, destroy_derived, open_subjects
from portcullis.audit.retention_holds import Hold, Holds, refusing
from portcullis.audit.subjects import SubjectKeys
from portcullis.core.errors import Problem
from portcullis.core.ports import Sealer

KINDS: Final = ("user", "subject", "session", "agent", "application", "operator")
"""What a subject's name begins with, before a colon."""


class Plan(msgspec.Struct, frozen=True):
    """What an erasure will destroy: the tag of its subject and how many keys, by log.

    ``derived`` are the logs that still have what older keys were derived from.
    """

    tags: dict[str, bytes]
    keys: dict[str, int]
    derived: tuple[str, ...]


def subject_name(text: str) -> str:
    """The name of a subject as an operator writes it, in the one form that leads to its key.

    ``user:ada``, ``agent:helper``, ``session:ID``, ``subject:NAME=VALUE`` for all subjects with
    that member, ``subject:{"NAME": "VALUE", ...}`` for one. Raises Problem PC1020.
    """
    if any(unicodedata.category(character) == "Cs" for character in text):
        raise Problem("PC1020", "a subject is text in UTF-8")
    kind, _, rest = text.partition(":")
    if kind not in KINDS or not rest:
        raise Problem("PC1020", f"a subject is one of {', '.join(KINDS)}, a colon and a name")
    if kind != "subject":
        return text
    if rest.startswith("{"):
        try:
            members = msgspec.json.decode(rest, type=dict[str, str | int | float | bool | None])
        except msgspec.MsgspecError:
            raise Problem("PC1020", "a subject in braces is a flat JSON object") from None
        return f"{kind}:{msgspec.json.encode(members, order='sorted').decode()}"
    if "=" not in rest:
        raise Problem("PC1020", "a subject is given as subject:NAME=VALUE")
    return text


class Stores:
    """The subjects' keys of all logs below ``keys``; ``own``'s are open already, as ``opened``.

    Content is in ``contents``, a file for each log.
    """

    def __init__(
        self, keys: Path, contents: Path, sealer: Sealer, own: str, opened: SubjectKeys
    ) -> None:
        self._keys = keys
        self._contents = contents
        self._sealer = sealer
        self._own = own
        self._opened = opened

    def tags(self, name: str) -> dict[str, bytes]:
        """The tag of a subject in each log. Blocks."""
        with self._all() as stores:
            return {log: store.tag(name) for log, store in stores.items()}

    def plan(self, name: str, book: Holds) -> Plan | Hold:
        """What would be destroyed, or the hold that forbids it. Blocks; changes nothing."""
        holds = book.in_force()
        with self._all() as stores:
            tags = {log: store.tag(name) for log, store in stores.items()}
            hold = refusing(holds, stores, tags)
            if hold is not None:
                return hold
            kept = {log: _kept(store, tags[log]) for log, store in stores.items()}
        derived = tuple(log for log in self._logs() if (self._keys / log / DERIVED_FILE).exists())
        if holds and derived:  # it would destroy what older commitments are under, all of them
            return holds[0]
        return Plan(tags, {log: count for log, count in kept.items() if count}, derived)

    def erase(self, plan: Plan) -> tuple[int, int]:
        """Destroy what was planned, in every log; how many keys and fields of content.

        Blocks. Raises Problem PC6001 when something may be left: then do it again.
        """
        keys = fields = 0
        with self._all() as stores:
            for log, tag in plan.tags.items():
                handles = stores[log].reach(tag)
                fields += content.forget(content_path(self._contents, log), handles)
                keys += stores[log].erase(handles)
        for log in plan.derived:
            destroy_derived(self._keys / log)
        return keys, fields

    def content(self, event_id: str) -> tuple[str, tuple[Field, ...]]:
        """The log that has content of an event, this process's own first, and that. Blocks.

        Raises Problem PC6041 when none has any, PC6005 when it was altered.
        """
        problem = Problem("PC6041", "no content of this event is kept")
        with self._all() as stores:
            for log, store in stores.items():
                try:
                    found = content.read(content_path(self._contents, log), store, event_id)
                except Problem as fault:  # another log may have it as it was
                    problem = fault
                    continue
                if found:
                    return log, found
        raise problem

    def commitment(self, log: str, subject: str, value: bytes) -> str | None:
        """What a value of a subject is in a log's events; None when it has no key there. Blocks."""
        with self._all() as stores:
            keys = stores.get(log)
            found = None if keys is None else keys.find(keys.handle(subject))
            return None if found is None else found.commitment(value)

    def content_keys(self, places: Collection[tuple[str, bytes]]) -> dict[tuple[str, bytes], bytes]:
        """The keys of subjects' content, by log and handle, of those that still have one. Blocks.

        Raises Problem PC6001 when that cannot be read.
        """
        found = {}
        with self._all() as stores:
            for log, handle in places:
                subject = stores[log].find(handle) if log in stores else None
                if subject is not None:
                    found[log, handle] = subject.content
        return found

    def held(self, holds: Sequence[Hold]) -> Held:
        """Whose content in the own log is held. Blocks.

        All of it is, once there is a hold on a subject from before there was this log: whose it
        is cannot be told.
        """
        subjects = [bytes.fromhex(hold.tags[self._own]) for hold in holds if self._own in hold.tags]
        return Held(
            everything=any(hold.kind == "subject" and self._own not in hold.tags for hold in holds),
            sessions=tuple(hold.target for hold in holds if hold.kind == "session"),
            principals=tuple(hold.target for hold in holds if hold.kind == "principal"),
            handles=tuple(h.hex() for tag in subjects for h in self._opened.reach(tag)),
        )

    @contextlib.contextmanager
    def _all(self) -> Iterator[Mapping[str, SubjectKeys]]:
        with contextlib.ExitStack() as stack:
            stores = {self._own: self._opened}
            for log in self._logs():
                if log != self._own and (self._keys / log / HANDLES_FILE).exists():
                    stores[log] = open_subjects(self._keys / log, self._sealer)
                    stack.callback(stores[log].close)
            yield stores

    def _logs(self) -> list[str]:
        return sorted(path.name for path in self._keys.iterdir() if path.is_dir())


def content_path(contents: Path, log: str) -> Path:
    """The file of a log's content."""
    return contents / f"{log}.db"


def _kept(store: SubjectKeys, tag: bytes) -> int:
    return sum(store.has(handle) for handle in store.reach(tag))
