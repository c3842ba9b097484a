"""What sandboxes that make processes have in common: how a box is started."""

from __future__ import annotations

import asyncio
import fcntl
import os
from abc import ABC, abstractmethod
from contextlib import ExitStack, suppress
from typing import TYPE_CHECKING

from portcullis.core.errors import Problem
from portcullis.core.sandbox import Ability, Order, Streams
from portcullis.execution.sandbox import orders
from portcullis.execution.sandbox.running import ProcessBox

if TYPE_CHECKING:
    from portcullis.execution.sandbox.making import Made


class ProcessSandbox(ABC):
    """The ``start`` of a ``core.sandbox_ports.Sandbox``; ``probe`` and ``make`` are the adapter's.

    Whoever stops waiting for a start gets no box: it is ended when it is there. The streams may
    be closed as soon as ``start`` has returned or was cancelled.
    """

    @abstractmethod
    def probe(self) -> Ability:
        """Say what is enforced here."""

    @abstractmethod
    def make(self, order: Order, streams: Streams) -> Made:
        """Make it, and return when everything holds; Problem PC5031 when that cannot be."""

    async def start(self, order: Order, streams: Streams) -> ProcessBox:
        """Make the box and run the order's command in it."""
        starting = asyncio.ensure_future(self._start(order, *kept(streams)))
        try:
            return await asyncio.shield(starting)
        except asyncio.CancelledError:
            _abandoned(starting)
            raise

    async def _start(self, order: Order, streams: Streams, keeping: ExitStack) -> ProcessBox:
        with keeping:
            ability = await asyncio.to_thread(self.probe)
            order = orders.checked(order, ability)
            try:
                made = await asyncio.to_thread(self.make, order, streams)
            except OSError as error:
                why = error.strerror or type(error).__name__
                raise Problem(
                    "PC5031", f"{ability.adapter} could not make the box: {why}"
                ) from None
        return ProcessBox(
            made.launched,
            ability.enforces,
            group=made.group,
            seconds=order.profile.seconds,
            first=made.first,
            scratch=made.scratch,
            sweep=made.sweep,
        )


_closing: set[asyncio.Task[None]] = set()


def _abandoned(starting: asyncio.Future[ProcessBox]) -> None:
    """End a box that nobody waits for, when it is there."""

    async def end() -> None:
        with suppress(Problem):
            await (await starting).close()

    task = asyncio.ensure_future(end())
    _closing.add(task)
    task.add_done_callback(_closing.discard)


def kept(streams: Streams) -> tuple[Streams, ExitStack]:
    """Copies of descriptors, for a thread that may outlast whoever owns them."""
    keeping = ExitStack()
    copies = []
    try:
        for one in (streams.stdin, streams.stdout, streams.stderr):
            copies.append(fcntl.fcntl(one, fcntl.F_DUPFD_CLOEXEC, 3))
            keeping.callback(os.close, copies[-1])
    except OSError:
        keeping.close()
        raise
    stdin, stdout, stderr = copies
    return Streams(stdin=stdin, stdout=stdout, stderr=stderr), keeping
