"""``sandbox probe``: every attempt of a hostile program in a box, and whether it was stopped.

The attempts (``redteam/attempts``) run inside and say what they reached. Where only the outside
can tell, it is told here: what a collector of results gets, who outlives the box, which of our
servers was touched. An attempt without an answer counts as not stopped.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import stat
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Final, Literal

import msgspec

from portcullis.bench.report import Report, Target, machine, report, target
from portcullis.core.errors import Problem
from portcullis.core.sandbox import Ended, Mount, Order, Profile, Streams
from portcullis.core.sandbox_ports import Sandbox
from portcullis.execution.sandbox.outputs import Bounds, Taken, take
from portcullis.redteam.attempts.__main__ import registered
from portcullis.redteam.attempts.kit import GROUPS, MADE, Attempt
from portcullis.redteam.escape_neighbours import GROUP, PAIRS, disturbed
from portcullis.redteam.escape_stage import PYTHON, Stage, sources, staged

COMMAND: Final = "sandbox probe"
THROUGH_GATE: Final = frozenset({"connect", "proxy", "tls", "gate"})
"""Groups for an agent whose box leads to the gate: tried under ``portcullis run``."""
ALL: Final = (*GROUPS, GROUP)
IN_BOX: Final = tuple(group for group in GROUPS if group not in THROUGH_GATE)
_ARGV: Final = (PYTHON, "-B", "-m", "attempts")
_MOST_BYTES: Final = 1 << 22
_SECONDS: Final = 120.0
_PLAIN: Final = frozenset({"hole", "setuid", "name_escape", "name_bytes"})
"""Traps that are plain files: to be taken, but not as they are."""
_KEPT: Final = Bounds(files=64, total=1 << 20)

Say = Callable[[str], None]


class Found(msgspec.Struct, frozen=True, kw_only=True):
    """What came of one attempt in one adapter. ``how`` names what stopped it or was reached."""

    id: str
    group: str
    tries: str
    stopped: bool
    how: str


def digest() -> str:
    """SHA-256 over the attempts' files, in the order of their names."""
    whole = hashlib.sha256()
    for path in sources():
        whole.update(path.read_bytes())
    return whole.hexdigest()


def attempts(groups: Iterable[str] = IN_BOX) -> list[Attempt]:
    """Those of some groups, in the order in which they are tried."""
    wanted = set(groups)
    return [
        each
        for each in sorted(registered(), key=lambda one: GROUPS.index(one.group))
        if each.group in wanted
    ]


async def measure_escape(
    sandboxes: Sequence[Sandbox], profile: Profile, say: Say
) -> tuple[Report, Mapping[str, tuple[Found, ...]]]:
    """Try everything in each of them.

    Raises Problem PC5030 for one that does not hold what the profile demands, PC7080 when the
    attempts did not run at all.
    """
    at = machine()
    found = {one.name: await attempt_all(one, profile, say) for one in sandboxes}
    figures: dict[str, float] = {}
    for name, results in found.items():
        figures |= figures_of(name, results)
    targets: dict[str, Target] = {}
    op: Literal["<=", ">="] = "<="
    for name in found:
        targets[f"{name}_through"] = target(figures, f"{name}_through", op, 0)
    return report(COMMAND, at, figures, targets), found


def figures_of(name: str, results: Sequence[Found]) -> dict[str, float]:
    """How many were tried and got through, of each group and of all."""
    tried = Counter(each.group for each in results)
    through = Counter(each.group for each in results if not each.stopped)
    figures: dict[str, float] = {f"{name}_attempts": len(results)}
    figures[f"{name}_through"] = through.total()
    for group in ALL:
        if group in tried:
            figures[f"{name}_{group}_attempts"] = tried[group]
            figures[f"{name}_{group}_through"] = through[group]
    return figures


async def attempt_all(
    sandbox: Sandbox, profile: Profile, say: Say, *, skip: Sequence[str] = ()
) -> tuple[Found, ...]:
    """Try all of them but ``skip`` in boxes of one adapter, judged from inside and outside."""
    known = [each for each in attempts() if each.name not in skip]
    together = [each for each in known if not each.alone]
    alone = [each for each in known if each.alone]
    async with staged() as stage:
        say(f"{sandbox.name}: {len(together)} attempts in one box")
        results, _ = await _tried(sandbox, profile, stage, together)
        if not results:
            raise Problem("PC7080", f"no attempt ran in {sandbox.name}")
        traps = [each for each in together if each.group == "output"]
        collected = await asyncio.to_thread(_collected, stage, [_trap(each) for each in traps])
        found = [
            _judged(each, results.get(each.name), stage, collected=collected) for each in together
        ]
        for number, each in enumerate(alone, 1):
            say(f"{sandbox.name}: {each.name} ({number} of {len(alone)} in boxes of their own)")
            results, ended = await _tried(sandbox, profile, stage, [each])
            found.append(_judged(each, results.get(each.name), stage, ended=ended))
        touched = Counter(stage.touched)
        how = ", ".join(f"{name} {count}" for name, count in touched.items()) or "untouched"
        found.append(
            Found(
                id="network.outside_view",
                group="network",
                tries="reach any server that stands outside",
                stopped=not touched,
                how=how,
            )
        )
    for pair in PAIRS:
        if (name := f"{GROUP}.{pair.name}") not in skip:
            say(f"{sandbox.name}: {name}, in two boxes")
            how = await disturbed(sandbox, profile, pair)
            said = Found(id=name, group=GROUP, tries=pair.tries, stopped=not how, how=how or "none")
            found.append(said)
    return tuple(found)


async def _tried(
    sandbox: Sandbox, profile: Profile, stage: Stage, some: Sequence[Attempt]
) -> tuple[Mapping[str, Found], Ended]:
    """The results of attempts that share one box, by name: what the box said before it ended."""
    limits = {name: getattr(profile, name) for name in ("memory", "cpu", "pids", "files")}
    sizes = {"tmp": profile.tmp, "scratch": profile.scratch, "writable": ["/out"]}
    names = {"allowed": "allowed.test", "denied": "denied.test", "inward": "inward.test"}
    only = [each.name for each in some]
    order = Order(
        title="probe",
        argv=_ARGV,
        profile=profile,
        environ=stage.environ(only=only, **limits, **sizes, **names),
        mounts=(
            Mount(source=stage.probe, target="/probe"),
            Mount(source=stage.out, target="/out", writable=True),
        ),
    )
    with ExitStack() as ours:
        read, write = os.pipe()
        reader = ours.enter_context(os.fdopen(read, "rb", buffering=0))
        with ExitStack() as theirs:
            theirs.callback(os.close, write)
            null = os.open(os.devnull, os.O_RDWR)
            theirs.callback(os.close, null)
            box = await sandbox.start(order, Streams(stdin=null, stdout=write, stderr=null))
        reading = asyncio.create_task(asyncio.to_thread(_read, reader.fileno()))
        try:
            async with asyncio.timeout(_SECONDS + sum(each.seconds for each in some if each.alone)):
                ended = await box.wait()
        except TimeoutError:
            await box.kill()
            ended = await box.wait()
        finally:
            await box.close()
            said = await asyncio.wait_for(reading, 10)
    return {each.id: each for each in _lines(said)}, ended


def _read(descriptor: int) -> bytes:
    """All that a box says, up to a bound: it is as hostile as the box."""
    said = b""
    while part := os.read(descriptor, 65536):
        if len(said) < _MOST_BYTES:
            said += part
    return said


def _lines(said: bytes) -> Iterable[Found]:
    for line in said.splitlines():
        try:
            yield msgspec.json.decode(line, type=Found)
        except msgspec.DecodeError:
            continue


def _judged(
    each: Attempt,
    said: Found | None,
    stage: Stage,
    *,
    collected: Mapping[str, str] | None = None,
    ended: Ended | None = None,
) -> Found:
    """One attempt's result, with what the outside knows of it."""
    if said is None:
        stopped = each.alone and ended is not None and ended.why.value in {"memory", "signalled"}
        how = f"its box ended: {ended.why.value}" if ended and stopped else "unclear: no answer"
        return _found(each, stopped=stopped, how=how)
    if said.how != MADE:
        return said
    if each.group == "output":
        got = (collected or {}).get(_trap(each))
        return _found(each, stopped=got is None, how=got or "not taken for what it is not")
    left = _outlived(stage.nonce)
    return _found(each, stopped=not left, how=f"process {left} is left" if left else "it ended")


def _found(each: Attempt, *, stopped: bool, how: str) -> Found:
    return Found(id=each.name, group=each.group, tries=each.tries, stopped=stopped, how=how)


def _outlived(nonce: str) -> int:
    """The number of a process that still has the box's environment; 0 where there is none."""
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            environ = (entry / "environ").read_bytes()
        except OSError:
            continue
        if nonce.encode() in environ:
            return int(entry.name)
    return 0


def _trap(each: Attempt) -> str:
    return each.name.partition(".")[2]


def _collected(stage: Stage, traps: Sequence[str]) -> Mapping[str, str]:
    """What a collector got of traps that it should not have, or how it failed on them: by trap."""
    below = f"below/{Path(stage.planted['file']).name}"
    asked: Mapping[str, list[str] | None] = {
        "": None,
        **{trap: [trap, below] if trap == "below" else [trap] for trap in traps},
    }
    got: dict[str, str] = {}
    directory = os.open(stage.out, os.O_RDONLY | os.O_DIRECTORY)
    try:
        for trap, names in asked.items():
            try:
                taken = take(directory, names, _KEPT)
            except OSError as fault:
                got |= dict.fromkeys([trap] if trap else traps, f"it failed: {fault.strerror}")
                continue
            for one in [trap] if trap else traps:
                if how := _taken_in(one, taken, stage):
                    got.setdefault(one, how)
    finally:
        os.close(directory)
    return got


def _taken_in(trap: str, taken: Taken, stage: Stage) -> str:
    """How a collector was taken in by one trap; empty where it was not."""
    mine = {name: data for name, data in taken.files.items() if name.split("/")[0] == trap}
    if any(stage.canary.encode() in data for data in mine.values()):
        return "it led to what was planted outside"
    if len(taken.files) > _KEPT.files or sum(map(len, mine.values())) > _KEPT.total:
        return "more was taken than is wanted"
    if mine and trap not in _PLAIN and trap != "many":
        return "something was taken"
    if trap.startswith("name_") and not all(n.isprintable() for n in (*taken.files, *taken.left)):
        return "a name was taken that talks to a terminal"
    path = stage.out / trap
    kept = os.path.lexists(path) and path.lstat().st_mode & (stat.S_ISUID | stat.S_ISGID)
    return "a program that runs as its owner was left" if kept else ""
