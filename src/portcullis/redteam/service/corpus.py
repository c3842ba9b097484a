"""The second corpus: two domains with their worlds, tools, tasks and policies.

Attacks are not part of the package; ``attacks`` reads those that a user has, in the same format.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any, Final, TypeVar

import msgspec

from portcullis.config.yaml import Unreadable, compose, construct
from portcullis.core.call import RiskClass
from portcullis.core.containment import Containment, QuestionKind, Treatment
from portcullis.core.errors import Problem
from portcullis.policy.source import SourceFile
from portcullis.redteam.catalogue import Catalogue, compiled
from portcullis.redteam.service import airline, retail
from portcullis.redteam.service.world import Poison, Tables, Tool

_TOOLS: Final[Mapping[str, Mapping[str, Tool]]] = {"retail": retail.TOOLS, "airline": airline.TOOLS}
DOMAINS: Final = tuple(_TOOLS)
_AGENT: Final = "assistant"
_ATTACKS: Final = "attacks.yaml"
_FILES: Final = ("policy.yaml", "tasks.yaml", "world.yaml")
_TOO_MUCH: Final = (
    frozenset({QuestionKind.INTENT, QuestionKind.DESTINATION}),
    frozenset({QuestionKind.DESTINATION, QuestionKind.ATTACHMENT}),
)
"""What the policies never let anybody approve, and users were not served for."""
_Entry = TypeVar("_Entry")


class Step(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A call of a list. ``args`` may hold places; ``turn``: after so many turns of the user's."""

    tool: str
    args: dict[str, Any]
    turn: int | None = None


class Turn(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the user said, or the agent."""

    user: str = ""
    agent: str = ""


class _Talk(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``session`` is who is logged in: the subject that the application vouches for."""

    id: str
    session: dict[str, str]
    turns: tuple[Turn, ...]
    check: str

    @property
    def said(self) -> tuple[str, ...]:
        """The user's turns."""
        return tuple(turn.user for turn in self.turns if turn.user)


class UserTask(_Talk, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A benign task. ``touched`` are the records that it changes; ``sources`` is the author's."""

    sources: tuple[str, ...]
    calls: tuple[Step, ...]
    touched: tuple[str, ...]


class Attack(_Talk, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A user's task into which an attack comes after ``reads`` calls; ``check``: it succeeded.

    ``instead``: the rest of the user's calls is not made any more.
    """

    attack_class: str
    style: str
    poison: tuple[Poison, ...]
    user_calls: tuple[Step, ...]
    reads: int
    attack_calls: tuple[Step, ...]
    instead: bool


@dataclass(frozen=True, slots=True)
class Domain:
    """One of the two. ``before`` is not to be changed: a World copies it.

    ``seen`` is what policy says about questions after its misses had been seen: it never denies for
    good what has a destination without a source, unless a link or a credential comes with it, and
    words of intent by themselves ask nothing.
    """

    name: str
    before: Tables
    tools: Mapping[str, Tool]
    tasks: tuple[UserTask, ...]
    catalogue: Catalogue
    seen: Containment


@cache
def domain(name: str) -> Domain:
    """Read and compile a domain of DOMAINS."""
    source = SourceFile(f"{name}.yaml", _text(name, "policy.yaml"))
    tools = _TOOLS[name]
    catalogue = compiled(source, name, _AGENT, frozenset(tools))
    never = tuple(kinds for kinds in catalogue.containment.never if kinds not in _TOO_MUCH)
    return Domain(
        name=name,
        before=_read(_text(name, "world.yaml"), f"{name}/world.yaml", Tables),
        tools=tools,
        tasks=_read(_text(name, "tasks.yaml"), f"{name}/tasks.yaml", tuple[UserTask, ...]),
        catalogue=catalogue,
        seen=msgspec.structs.replace(
            catalogue.containment,
            never=never,
            treatments={
                **catalogue.containment.treatments,
                QuestionKind.INTENT: dict.fromkeys(RiskClass, Treatment.ALLOW),
            },
        ),
    )


def attacks(folder: Path, name: str) -> tuple[Attack, ...]:
    """The attacks of a domain, from ``FOLDER/DOMAIN/attacks.yaml``.

    Raises Problem PC7001 when the file cannot be read or is none.
    """
    path = folder / name / _ATTACKS
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        raise Problem("PC7001", f"{path} cannot be read") from None
    return _read(text, str(path), tuple[Attack, ...])


def digests() -> dict[str, str]:
    """SHA-256 (hex) of each file, by its name."""
    return {
        f"{name}/{file}": hashlib.sha256(_text(name, file).encode()).hexdigest()
        for name in DOMAINS
        for file in _FILES
    }


def _text(name: str, file: str) -> str:
    folder = resources.files("portcullis.redteam.service").joinpath("corpus")
    return folder.joinpath(name, file).read_text("utf-8")


def _read(text: str, name: str, kind: type[_Entry]) -> _Entry:
    try:
        return msgspec.convert(construct(compose(text)), kind)
    except (Unreadable, msgspec.ValidationError) as error:
        raise Problem("PC7001", f"{name}: {error}") from None
