"""What mining stands on here: the keys that tell whether a value was a session's own."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

from portcullis.audit.keys import HANDLES_FILE, open_subjects
from portcullis.audit.subjects import SUBJECTS_FILE, SubjectKeys
from portcullis.bootstrap.keys import keys_of
from portcullis.catalogue.schema import fault
from portcullis.config import Config
from portcullis.config.places import logs_of
from portcullis.identity.sealing import Envelope
from portcullis.policy.grammar import parse
from portcullis.policy.source import SourceFile
from portcullis.review.mine_evidence import committed, members_in
from portcullis.review.replay_asked import Asked
from portcullis.wire.json import encode


class KeyedScopes:
    """Implements ``review.mine_evidence.Scopes`` over the subjects' keys of some logs.

    A guess is held against the event's commitments; nothing is learned of a value that was not
    known before, and of an erased subject nothing at all.
    """

    def __init__(self, keys: tuple[SubjectKeys, ...], members: frozenset[str]) -> None:
        self._keys = keys
        self._members = members

    def user(self, asked: Asked, value: Any) -> bool:
        """Whether the session's user is this."""
        wanted = asked.commitments.get("user", "")
        return isinstance(value, str) and self._commits(f"user:{value}", value.encode(), wanted)

    def members(self, asked: Asked, argument: str, value: Any) -> tuple[str, ...]:
        """The members of the session's subject that are this value.

        A subject of several members is recognised by the commitment of a sealed argument.
        """
        found = []
        for name in sorted({*self._members, argument}):
            own = {name: value}
            whole = f"subject:{encode(own).decode()}"
            alone = self._commits(whole, encode(own), asked.commitments.get("subject", ""))
            if alone or self._reached(f"subject:{name}={value}", asked, argument, value):
                found.append(name)
        return tuple(found)

    def _commits(self, subject: str, value: bytes, wanted: str) -> bool:
        return bool(wanted) and any(
            key is not None and key.commitment(value) == wanted
            for key in (keys.find(keys.handle(subject)) for keys in self._keys)
        )

    def _reached(self, member: str, asked: Asked, argument: str, value: Any) -> bool:
        wanted = committed(asked, argument)
        if not wanted:
            return False
        for keys in self._keys:
            for handle in keys.reach(keys.tag(member)):
                key = keys.find(handle)
                if key is not None and key.commitment(encode(value)) == wanted:
                    return True
        return False


@contextlib.contextmanager
def scopes_of(config: Config, files: tuple[SourceFile, ...]) -> Iterator[KeyedScopes]:
    """Over all logs of the deployment.

    Raises Problem PC6002 or PC7010 for keys that do not open.
    """
    members = members_in(parse(files, fault))
    with contextlib.ExitStack() as stack:
        opened = []
        for name in logs_of(config):
            folder = config.state / "keys" / name
            if (folder / HANDLES_FILE).exists() and (folder / SUBJECTS_FILE).exists():
                keys = open_subjects(folder, Envelope(keys_of(config)))
                stack.callback(keys.close)
                opened.append(keys)
        yield KeyedScopes(tuple(opened), members)
