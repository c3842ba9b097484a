"""How a command says that it is at work: one bar on stderr, for people alone.

It is there only when stderr is a terminal, from half a second on, and nothing is left of it. Where
the whole is known it has an end; where not, it counts. Code below the command line only ever gets
``advance``, a function that takes how much more was done.
"""

from __future__ import annotations

import contextlib
import os
import sys
import threading
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.progress import Progress

_DELAY_SECONDS = 0.5


@contextlib.contextmanager
def progress(
    what: str, total: int | None = None, *, quiet: bool = False, delay: float = _DELAY_SECONDS
) -> Iterator[Callable[[int], None]]:
    """A bar until the block ends; ``what`` is done ``total`` times, None for nobody knows.

    ``quiet`` is for what programs read (--json).
    """
    with _bar(what, total, quiet=quiet, delay=delay) as bar:
        yield lambda more: None if bar is None else bar.advance(bar.task_ids[0], more)


@contextlib.contextmanager
def status(
    what: str, *, quiet: bool = False, delay: float = _DELAY_SECONDS
) -> Iterator[Callable[[str], None]]:
    """The same for what goes on in steps without a count: what is given says which step."""
    with _bar(what, None, quiet=quiet, delay=delay) as bar:
        yield lambda step: None if bar is None else bar.update(bar.task_ids[0], description=step)


@contextlib.contextmanager
def _bar(what: str, total: int | None, *, quiet: bool, delay: float) -> Iterator[Progress | None]:
    if quiet or not sys.stderr.isatty() or os.environ.get("TERM", "dumb") in {"", "dumb"}:
        yield None
        return
    from rich import progress as parts  # noqa: PLC0415 - only for people
    from rich.console import Console  # noqa: PLC0415 - the same

    count = "{task.completed:,.0f}" + ("" if total is None else "/{task.total:,.0f}")
    bar = parts.Progress(
        parts.TextColumn("{task.description}", markup=False),
        parts.BarColumn(),
        parts.TextColumn(count, markup=False),
        parts.TimeElapsedColumn(),
        console=Console(file=sys.stderr),
        transient=True,
        redirect_stdout=False,
        redirect_stderr=False,
    )
    bar.add_task(what, total=total)
    begun = threading.Timer(delay, bar.start)
    begun.daemon = True
    begun.start()
    try:
        yield bar
    finally:
        begun.cancel()
        begun.join()
        bar.stop()
