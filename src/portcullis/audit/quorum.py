"""Which witnesses must have cosigned a checkpoint: policy files of C2SP tlog-policy.

    log <vkey> [<url>]
    witness <name> <vkey> [<url>]
    group <name> <all|any|k> <name>...
    quorum <name|none>

Only Ed25519 keys are read. Two things are refused that the specification leaves open: a witness
with the key of a log of the same file, which would witness itself, and URLs that are not http(s).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final, TypeVar
from urllib.parse import urlsplit

import msgspec

from portcullis.audit.cosignature import Cosigner
from portcullis.audit.files import read
from portcullis.audit.note import Verifier, parse_note
from portcullis.core.errors import Problem

MAX_POLICY: Final = 1 << 16
AHEAD_SECONDS: Final = 60
"""How far a cosignature's time may be ahead of the verifier's clock."""
_NONE: Final = "none"
_Key = TypeVar("_Key", bound=Verifier)


class Log(msgspec.Struct, frozen=True):
    """A log and, maybe, where it is."""

    verifier: Verifier
    url: str = ""


class Witness(msgspec.Struct, frozen=True):
    """A witness, its name within the policy, and, maybe, its submission prefix."""

    name: str
    cosigner: Cosigner
    url: str = ""


class Group(msgspec.Struct, frozen=True):
    """At least ``least`` of the ``members``, each a witness' or another group's name."""

    least: int
    members: tuple[str, ...]


class Cosigned(msgspec.Struct, frozen=True):
    """Who of a policy's witnesses cosigned a checkpoint, and when.

    ``times`` are seconds since the epoch by the witness' name. ``time`` is the latest at which a
    whole quorum vouched that nothing newer was there (0 for a quorum of nobody), None without
    quorum: one witness alone cannot make a checkpoint look fresh.
    """

    times: Mapping[str, int]
    time: int | None

    @property
    def met(self) -> bool:
        """Whether there was a quorum."""
        return self.time is not None


class Quorum(msgspec.Struct, frozen=True):
    """A policy. ``quorum`` is a witness' or group's name, or empty when nobody is needed."""

    logs: tuple[Log, ...]
    witnesses: Mapping[str, Witness]
    groups: Mapping[str, Group]
    quorum: str

    def met(self, note: bytes, now: float) -> Cosigned:
        """Who cosigned this checkpoint, seen at ``now``. The log's signature is not looked at.

        A cosignature from the future does not count. Raises Problem PC6005 for what is no note
        or for a cosignature that does not verify.
        """
        found = parse_note(note)
        times: dict[str, int] = {}
        for name, witness in self.witnesses.items():
            time = witness.cosigner.cosigned(found)
            if time is not None and time <= now + AHEAD_SECONDS:
                times[name] = time
        return self.count(times)

    def count(self, times: Mapping[str, int]) -> Cosigned:
        """The same of cosignatures that are verified already, by the witness' name."""
        if not self.quorum:
            return Cosigned(times, 0)
        for time in sorted(set(times.values()), reverse=True):
            if self._holds(self.quorum, {name for name in times if times[name] >= time}):
                return Cosigned(times, time)
        return Cosigned(times, None)

    def admits(self, log: Verifier) -> bool:
        """Whether the policy is for this log: it names none, or names it."""
        return not self.logs or log.public in {one.verifier.public for one in self.logs}

    def _holds(self, name: str, cosigned: set[str]) -> bool:
        group = self.groups.get(name)
        if group is None:
            return name in cosigned
        return sum(self._holds(member, cosigned) for member in group.members) >= group.least


def cosigned_by(quorum: Quorum, log: Verifier, note: bytes, now: float) -> Cosigned:
    """The quorum of a checkpoint of ``log``, or Problem PC6005 when there is none."""
    if not quorum.admits(log):
        raise Problem("PC6005", "the witness policy is for other logs")
    if log.public in {one.cosigner.public for one in quorum.witnesses.values()}:
        raise Problem("PC6005", "the witness policy has the log's own key as a witness")
    found = quorum.met(note, now)
    if not found.met:
        names = ", ".join(sorted(found.times)) or "nobody"
        raise Problem("PC6005", f"no quorum of witnesses cosigned the checkpoint: {names} did")
    return found


def load_quorum(path: Path) -> Quorum:
    """Read a policy file. Raises Problem PC6006 with the line at fault."""
    try:
        data = read(path, MAX_POLICY)
    except OSError as error:
        raise Problem("PC6006", f"{path}: {error.strerror}") from None
    return parse_quorum(data, str(path))


def parse_quorum(data: bytes, source: str = "policy") -> Quorum:
    """Read a policy; ``source`` stands in the errors. Raises Problem PC6006."""
    return _Parser(source).parse(data)


class _Parser:
    def __init__(self, source: str) -> None:
        self._source = source
        self._line = 0
        self._logs: list[Log] = []
        self._witnesses: dict[str, Witness] = {}
        self._groups: dict[str, Group] = {}
        self._taken: set[str] = set()
        self._quorum: str | None = None

    def parse(self, data: bytes) -> Quorum:
        keywords: dict[str, Callable[[list[str]], None]] = {
            "log": self._log,
            "witness": self._witness,
            "group": self._group,
            "quorum": self._named_quorum,
        }
        if any((c < 0x20 and c not in b"\t\n") or c == 0x7F for c in data):  # noqa: PLR2004 - ASCII
            raise self._fault("a control character")
        # names are octets: what is no UTF-8 stays what it is, and stays different
        for line in data.decode("utf-8", "surrogateescape").split("\n"):
            self._line += 1
            words = line.replace("\t", " ").split(" ")
            words = [word for word in words if word]
            if not words or words[0].startswith("#"):
                continue
            keyword = keywords.get(words[0])
            if keyword is None:
                raise self._fault("expected log, witness, group or quorum")
            keyword(words[1:])
        if self._quorum is None:
            raise self._fault("there is no quorum line")
        return Quorum(tuple(self._logs), self._witnesses, self._groups, self._quorum)

    def _log(self, words: list[str]) -> None:
        if len(words) not in {1, 2}:
            raise self._fault("expected: log <vkey> [<url>]")
        verifier = self._key(words[0], Verifier)
        self._logs.append(Log(verifier, self._url(words[1:])))

    def _witness(self, words: list[str]) -> None:
        if len(words) not in {2, 3}:
            raise self._fault("expected: witness <name> <vkey> [<url>]")
        name = self._new(words[0])
        self._witnesses[name] = Witness(name, self._key(words[1], Cosigner), self._url(words[2:]))

    def _group(self, words: list[str]) -> None:
        if len(words) < 3:  # noqa: PLR2004 - name, threshold, and one member
            raise self._fault("expected: group <name> <all|any|k> <name>...")
        name, members = self._new(words[0]), words[2:]
        for member in members:
            self._known(member)
            if member in self._taken:
                raise self._fault("a name is listed as a member twice")
            self._taken.add(member)
        self._groups[name] = Group(self._least(words[1], len(members)), tuple(members))

    def _least(self, word: str, members: int) -> int:
        if word in {"all", "any"}:
            return members if word == "all" else 1
        decimal = word.isascii() and word.isdigit() and len(word) < 10  # noqa: PLR2004 - enough
        if not decimal or word.startswith("0") or int(word) > members:
            raise self._fault(f"expected all, any or a number from 1 to {members}")
        return int(word)

    def _named_quorum(self, words: list[str]) -> None:
        if len(words) != 1 or self._quorum is not None:
            raise self._fault("expected one line: quorum <name>")
        if words[0] != _NONE:
            self._known(words[0])
        self._quorum = "" if words[0] == _NONE else words[0]

    def _new(self, name: str) -> str:
        if name == _NONE or name in self._witnesses or name in self._groups:
            raise self._fault("the name is taken")
        return name

    def _known(self, name: str) -> None:
        if name not in self._witnesses and name not in self._groups:
            raise self._fault("a name that no line before defines")

    def _key(self, vkey: str, kind: type[_Key]) -> _Key:
        try:
            verifier = kind.parse(vkey)
        except (Problem, UnicodeEncodeError):
            said = f"not an Ed25519 verifier key of kind 0x{kind.KIND.hex()}"
            raise self._fault(said) from None
        used = {log.verifier.public for log in self._logs}
        used |= {witness.cosigner.public for witness in self._witnesses.values()}
        if verifier.public in used:
            raise self._fault("the key stands in the file already")
        return verifier

    def _url(self, words: list[str]) -> str:
        if not words:
            return ""
        try:
            parts = urlsplit(words[0])
            sound = parts.scheme in {"http", "https"} and parts.hostname and parts.port != 0
        except ValueError:
            sound = False
        if not sound or "@" in words[0] or "#" in words[0] or not words[0].isascii():
            raise self._fault("expected an http or https URL without credentials")
        return words[0].rstrip("/")

    def _fault(self, said: str) -> Problem:
        return Problem("PC6006", f"{self._source}:{max(1, self._line)}: {said}")
