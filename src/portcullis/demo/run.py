"""Run the demonstration: set the stage, tell the story, and stay up if asked to."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import shutil
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final, Protocol

import msgspec

from portcullis.audit.publish import CHECKPOINT
from portcullis.bootstrap.background import background
from portcullis.core.errors import Problem
from portcullis.core.event import Event
from portcullis.demo.asked import REQUEST, ask_on
from portcullis.demo.cast import AGENT, CUSTOMER, Cast
from portcullis.demo.identities import renew_session
from portcullis.demo.ledger import Ledger
from portcullis.demo.scenes import SCENES
from portcullis.demo.stage import staged
from portcullis.demo.story import Step, tell

MARKER: Final = ".portcullis-demo"
"""A file that marks a folder as the demonstration's own: only such a folder is emptied."""
_PATIENCE: Final = 10.0


class Told(msgspec.Struct, frozen=True, kw_only=True):
    """The outcome: ``ok`` when every step went as told."""

    ok: bool
    steps: tuple[Step, ...]


Tell = Callable[[Step], None]


class Stay(Protocol):
    """What is told to whoever stays after the story."""

    def over(self, told: Told, cast: Cast, exports: Path) -> None:
        """What was told, the cast, and a shell script of exports."""

    def later(self, line: str) -> None:
        """What came of the call that waits for them."""


async def perform(folder: Path, on_step: Tell, stay: Stay | None = None) -> Told:
    """Play the whole story with its state in ``folder``, which is emptied first.

    ``on_step`` is called after each step. ``stay`` is told when it is over; then everything
    stays up until SIGINT or SIGTERM, and a call of the agent's waits for a human.
    Raises Problem PC7004 for a folder that holds something else, or a story that still runs.
    """
    with prepared(folder):
        return await _perform(folder, on_step, stay)


async def _perform(folder: Path, on_step: Tell, stay: Stay | None) -> Told:
    before_write: list[Event] = []
    ledgers: list[Ledger] = []

    def look(_tool: str) -> None:
        before_write[:] = ledgers[0].events()

    by_default: dict[str, Any] = {"tokens": {"bearer": "never"}}
    async with staged(folder, settings=by_default, on_write=look) as stage:
        ledger = Ledger(stage.events)
        ledgers.append(ledger)
        async with contextlib.AsyncExitStack() as exits:
            held = await _first(stage.gate.audit_directory / CHECKPOINT)
            cast = Cast(stage, ledger, before_write, held, exits)
            steps = []
            async for step in tell(SCENES, cast, ledger):
                on_step(step)
                steps.append(step)
            told = Told(ok=all(step.ok for step in steps), steps=tuple(steps))
            if stay is not None:
                await renew_session(cast, REQUEST)
                async with background(ask_on(cast, stay.later)):
                    stay.over(told, cast, _exports(folder, cast))
                    await _until_told_to_stop()
    return told


@contextlib.contextmanager
def prepared(folder: Path) -> Iterator[None]:
    """Make ``folder`` an empty folder of this demonstration's alone until the block ends.

    Raises Problem PC7004 when it holds something else, or another demonstration that still runs.
    """
    marker = folder / MARKER
    if folder.exists() and any(folder.iterdir()) and not marker.is_file():
        raise Problem(
            "PC7004",
            f"{folder} holds something that is not an earlier demonstration",
            hint="Name another folder with --state.",
        )
    folder.parent.mkdir(mode=0o700, parents=True, exist_ok=True)  # it may become a gate's own
    folder.mkdir(mode=0o700, exist_ok=True)
    with marker.open("a") as mine:
        try:
            fcntl.flock(mine, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise Problem(
                "PC7004",
                f"a demonstration still runs in {folder}",
                hint="End it with Ctrl-C, or name another folder with --state.",
            ) from None
        for old in folder.iterdir():
            if old.is_dir() and not old.is_symlink():
                shutil.rmtree(old)
            elif old != marker:
                old.unlink()
        yield


async def _first(checkpoint: Path) -> bytes:
    """The log's first checkpoint, which is signed a moment after its first event."""
    async with asyncio.timeout(_PATIENCE):
        while not (found := _read(checkpoint)):  # noqa: ASYNC110 - another thread writes it
            await asyncio.sleep(0.01)
    return found


def _read(file: Path) -> bytes:
    """What is in a file, if there is one."""
    return file.read_bytes() if file.exists() else b""


def _exports(folder: Path, cast: Cast) -> Path:
    """Write a shell script that points the usual clients at the side process."""
    script = folder / "env.sh"
    script.touch(mode=0o600)
    script.write_text(
        f"# {AGENT}'s side process, and a session about {CUSTOMER}\n"
        f"export OPENAI_BASE_URL={cast.base}/openai/v1 OPENAI_API_KEY={cast.token}\n"
        f"export ANTHROPIC_BASE_URL={cast.base}/anthropic ANTHROPIC_API_KEY={cast.token}\n"
        f"export PORTCULLIS_URL={cast.base} PORTCULLIS_TOKEN={cast.token}\n",
        encoding="utf-8",
    )
    return script


async def _until_told_to_stop() -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    await stop.wait()
