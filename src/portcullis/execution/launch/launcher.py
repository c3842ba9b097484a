"""An agent in a box, from its order to its end.

The launcher stands outside and holds who the agent is: its SVID, its key, its tokens. Into the box
go two sockets, behind which that identity is used and never shown. When the gate cuts the agent
off, its box ends; when the launcher ends, so does the box.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path, PurePath
from typing import Final

import msgspec

from portcullis.client.connector import Connector, Kept
from portcullis.client.gate import Gate
from portcullis.client.within import ENDS, Within
from portcullis.core.errors import Problem
from portcullis.core.sandbox import Ended, Mount, Network, Order, Profile
from portcullis.core.sandbox_ports import Box, Sandbox
from portcullis.execution.launch import bridge, plan
from portcullis.execution.launch.control import Control
from portcullis.execution.launch.egress import Egress
from portcullis.execution.launch.mounts import Guarded, checked
from portcullis.execution.launch.private import Private, private
from portcullis.execution.launch.report import Began, Report
from portcullis.execution.launch.streams import Carried, plain, terminal
from portcullis.execution.launch.watch import Watch

_MOST: Final = 64
"""Most connections from the box to the gate at once."""
_GRACE_SECONDS: Final = 5.0
"""So long the agent may take to end when it is told to."""
_SAID_SECONDS: Final = 0.5
"""So long after the end of a box what it said before may take to be read."""
_TOLD: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)
_SYSTEM_AUTHORITIES: Final = Path("/etc/ssl/certs/ca-certificates.crt")
_EMPTY: Final = "empty"
_BRIDGE: Final = Path(bridge.__file__)


class Launch(msgspec.Struct, frozen=True, kw_only=True):
    """What to run, and in what. ``egress`` is the gate's egress listener, empty for no way out.

    ``delegation`` is a session's token; ``servers`` are the MCP servers that the agent is told
    of; ``path`` is PATH in the box; ``screen`` is TERM for a pseudo-terminal, None for pipes.
    """

    agent: str
    argv: tuple[str, ...]
    profile: Profile
    path: str
    cwd: str = "/scratch"
    mounts: tuple[Mount, ...] = ()
    guarded: Guarded = Guarded()
    environ: Mapping[str, str] = {}
    servers: tuple[str, ...] = ()
    egress: str = ""
    delegation: str = ""
    screen: str | None = None


class Cut(msgspec.Struct, frozen=True, kw_only=True):
    """The agent was cut off. The box was gone ``seconds`` after the gate ended our connection."""

    why: Problem
    seconds: float


async def launch(
    order: Launch, gate: Gate, sandbox: Sandbox, started: Callable[[Order, Box], None]
) -> Ended | Cut:
    """Run it to its end, of its own or because the gate cut it off.

    ``started`` is told of the box, and so is the gate before the agent begins. Raises Problem
    PC5045, PC5046, those of ``Sandbox.start``, and the gate's when it puts the box on no record.
    """
    mounts, covered = checked(order.mounts, order.guarded)
    async with contextlib.AsyncExitStack() as stack:
        stack.enter_context(_ended_by_signals())
        place = stack.enter_context(private(order.profile.uid))
        control = Control(place.socket(plan.CONTROL))
        stack.callback(control.close)
        kept = await _kept(order, gate)
        found = await _ways(stack, order, kept, place)
        covers = tuple(_cover(place, one) for one in covered)
        screen = order.screen is not None
        streams = stack.enter_context(terminal() if screen else plain())
        wanted = Order(
            title=f"agent:{order.agent}",
            argv=found.argv(order.argv),
            profile=msgspec.structs.replace(order.profile, network=Network.GATE),
            environ=found.variables(),
            mounts=(*mounts, *covers, *place.mounts()),
            cwd=order.cwd,
        )
        box = await sandbox.start(wanted, streams.streams)
        stack.push_async_callback(box.close)
        streams.given()
        started(wanted, box)
        await _begun(control, box)
        report = Report(gate, order.agent)
        said = Began(
            command=PurePath(order.argv[0]).name,
            profile=order.profile.name,
            adapter=sandbox.name,
            enforced=box.enforced,
        )
        await report.began(kept, said)
        control.go()
        place.forget()
        came = await _until_the_end(box, control, (gate, kept), streams)
        await report.ended(came if isinstance(came, Ended) else await box.wait())
        return came


async def _kept(order: Launch, gate: Gate) -> Kept:
    """What the agent acts under: its own identity, or that within a session."""
    if not order.delegation:
        return gate
    within = Within(gate, order.delegation)
    await within.ready()
    return within


async def _ways(
    stack: contextlib.AsyncExitStack, order: Launch, kept: Kept, place: Private
) -> plan.Plan:
    """Open the sockets, write the files, and say what there is."""
    connector = Connector(kept, most=_MOST, ends=ENDS)
    await stack.enter_async_context(connector.listening(place.socket(plan.GATE)))
    place.file(plan.BRIDGE, _BRIDGE.read_bytes())
    authority = b""
    if order.egress:
        egress = Egress(kept, order.egress, session=bool(order.delegation))
        authority = await egress.authority()
        await stack.enter_async_context(egress.listening(place.socket(plan.EGRESS)))
        await stack.enter_async_context(egress.naming(place.socket(plan.NAMES)))
    if authority:
        system = _SYSTEM_AUTHORITIES.read_bytes() if _SYSTEM_AUTHORITIES.exists() else b""
        place.file(plan.AUTHORITY, authority)
        place.file(plan.AUTHORITIES, system + authority)
    found = plan.Plan(
        servers=order.servers,
        egress=bool(order.egress),
        authority=bool(authority),
        terminal=order.screen is not None,
        path=order.path,
        term=order.screen or "",
        environ=order.environ,
    )
    place.file(plan.SERVERS, found.document())
    return found


def _cover(place: Private, target: str) -> Mount:
    """An empty folder over what is the gate's own."""
    empty = place.path / _EMPTY
    empty.mkdir(mode=0o755, exist_ok=True)
    return Mount(source=empty, target=target)


async def _begun(control: Control, box: Box) -> None:
    """See the bridge ready. Raises Problem PC5046 when it is not, or the box ended before."""
    ready, ended = asyncio.ensure_future(control.ready()), asyncio.ensure_future(box.wait())
    try:
        await asyncio.wait({ready, ended}, return_when=asyncio.FIRST_COMPLETED)
        await asyncio.wait({ready}, timeout=_SAID_SECONDS)  # an agent may end as soon as it began
        if not ready.done():
            raise Problem("PC5046", f"the box ended at once ({ended.result().why})")
        ready.result()
    finally:
        for task in (ready, ended):
            task.cancel()


async def _until_the_end(
    box: Box, control: Control, ways: tuple[Gate, Kept], streams: Carried
) -> Ended | Cut:
    """Wait for the agent's end, or bring it about."""
    ended = asyncio.ensure_future(box.wait())
    gate, kept = ways
    cut = asyncio.ensure_future(kept.cut_off())
    watch = Watch(gate)
    watching = asyncio.ensure_future(watch.run())
    try:
        with _signals(control, box, streams):
            await asyncio.wait({ended, cut}, return_when=asyncio.FIRST_COMPLETED)
            if ended.done():
                return ended.result()
            await box.kill()
            took = time.monotonic() - watch.ended if watch.ended else 0.0
            return Cut(why=cut.result(), seconds=took)
    finally:
        for task in (ended, cut, watching):
            task.cancel()
        await asyncio.gather(ended, cut, watching, return_exceptions=True)


@contextlib.contextmanager
def _ended_by_signals() -> Iterator[None]:
    """Clean up on the way out, also when we are told to end while there is no agent to tell."""
    loop, task = asyncio.get_running_loop(), asyncio.current_task()
    for number in _TOLD:
        loop.add_signal_handler(number, task.cancel if task is not None else loop.stop)
    try:
        yield
    finally:
        for number in _TOLD:
            loop.remove_signal_handler(number)


@contextlib.contextmanager
def _signals(control: Control, box: Box, streams: Carried) -> Iterator[None]:
    """Pass on what we are told; who does not end then, or is told again, is ended."""
    loop = asyncio.get_running_loop()
    told: set[int] = set()
    ending: set[asyncio.Task[None]] = set()

    def end() -> None:
        ending.add(asyncio.ensure_future(box.kill()))

    def tell(number: int) -> None:
        if number in told:
            end()
            return
        told.add(number)
        control.signal(number)
        if number in {signal.SIGTERM, signal.SIGHUP}:
            loop.call_later(_GRACE_SECONDS, end)

    for number in _TOLD:
        loop.add_signal_handler(number, tell, number)
    loop.add_signal_handler(signal.SIGWINCH, streams.resize)
    try:
        yield
    finally:
        loop.remove_signal_handler(signal.SIGWINCH)
