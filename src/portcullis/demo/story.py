"""The story: scenes, told one after the other, each checked against what it should show."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Final, Generic, TypeVar

import msgspec

from portcullis.demo.ledger import Ledger, Recorded

SHOWN: Final = 3


class Step(msgspec.Struct, frozen=True, kw_only=True):
    """A scene as it went. ``events`` are ids of its records, the one that proves it first."""

    title: str
    attempt: str
    expected: str
    actual: str
    ok: bool
    events: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Ending:
    """How a scene ended; ``recorded`` recognises the record that must be in the log for it."""

    ok: bool
    actual: str
    recorded: Recorded | None = None


Stage = TypeVar("Stage")


@dataclass(frozen=True, slots=True)
class Scene(Generic[Stage]):
    """What is tried and what should come of it."""

    title: str
    attempt: str
    expected: str
    play: Callable[[Stage], Awaitable[Ending]]


async def tell(scenes: Sequence[Scene[Stage]], stage: Stage, ledger: Ledger) -> AsyncIterator[Step]:
    """Play the scenes in order. A scene that raises has not gone as told; the next one follows."""
    for scene in scenes:
        try:
            ending = await scene.play(stage)
        except Exception as fault:  # noqa: BLE001 - whatever goes wrong is told, not hidden
            ending = Ending(ok=False, actual=f"{type(fault).__name__}: {fault}")
        fresh = await ledger.fresh(ending.recorded)
        proof = [each for each in fresh if ending.recorded is not None and ending.recorded(each)]
        proven = bool(proof) or ending.recorded is None
        told = [*proof, *(each for each in fresh if each not in proof)][:SHOWN]
        yield Step(
            title=scene.title,
            attempt=scene.attempt,
            expected=scene.expected,
            actual=ending.actual if proven else f"{ending.actual}, but the log has no record of it",
            ok=ending.ok and proven,
            events=tuple(event.id for event in told),
        )


def quoted(text: str) -> str:
    """The beginning of a text, in one line of the story."""
    return f'"{text[:48]}..."' if len(text) > 48 else f'"{text}"'  # noqa: PLR2004 - fits a line
