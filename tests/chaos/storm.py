"""Rounds of chaos, in cells of some with one fleet each: ``python -m chaos.storm``.

What was done already, by seed and number, is not done again; so a storm that was broken off goes
on. Each cell is a process in namespaces of its own (network, mounts, processes): with it ends all
that it started, and nothing of the machine is changed.
"""

from __future__ import annotations

import argparse
import ctypes
import os
import random
import signal
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import msgspec

from chaos.cell import Outcome, Plan
from chaos.faults import FAULTS
from portcullis import __version__

_ALONE: Final = (
    *("unshare", "--net", "--mount", "--pid", "--ipc"),
    *("--fork", "--kill-child", "--mount-proc"),
)
_LIBC: Final = ctypes.CDLL(None)
_DIES_WITH_ITS_PARENT: Final = 1  # PR_SET_PDEATHSIG, prctl(2)
_TESTS: Final = str(Path(__file__).parents[1])
_CELL: Final = 20
_CELL_SECONDS: Final = 1200
LEAST, MOST = 1.5, 8.0


def planned(seed: int, rounds: int) -> list[tuple[int, list[str]]]:
    """The faults of each round: all kinds in each turn, in another order; now and then two."""
    chance, found = random.Random(seed), []
    while len(found) < rounds:
        turn = chance.sample(sorted(FAULTS), len(FAULTS))
        found += [(len(found) + at, [kind]) for at, kind in enumerate(turn)]
    return found[:rounds]


def weather(plan: Plan, seconds: float = _CELL_SECONDS) -> list[Outcome]:
    """Go through the rounds of a plan; what its file of results has then.

    AssertionError when they did not come to their end.
    """
    with tempfile.TemporaryDirectory(prefix="chaos-") as folder:
        place = Path(folder) / "plan.json"
        place.write_bytes(msgspec.json.encode(plan))
        words = [*_ALONE, sys.executable, "-m", "chaos.cell", str(place)]
        path = os.pathsep.join([_TESTS, os.environ.get("PYTHONPATH", "")])
        done = subprocess.run(
            words,
            env=os.environ | {"PYTHONPATH": path},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            timeout=seconds,
            check=False,
            preexec_fn=_with_us,
        )
    assert done.returncode == 0, done.stderr[-8000:]
    return outcomes(Path(plan.results))


def _with_us() -> None:
    """A cell ends with the storm, however that ends."""
    _LIBC.prctl(_DIES_WITH_ITS_PARENT, signal.SIGKILL)


def outcomes(results: Path) -> list[Outcome]:
    """What a file of results has, of each round what came of it last."""
    if not results.exists():
        return []
    lines = results.read_bytes().splitlines()
    found = [msgspec.json.decode(line, type=Outcome) for line in lines]
    return list({(one.version, one.seed, one.round): one for one in found}.values())


def done(results: Path, seed: int) -> list[Outcome]:
    """Those of this version and seed."""
    found = outcomes(results)
    return [one for one in found if (one.version, one.seed) == (__version__, seed)]


def told(found: Sequence[Outcome]) -> str:
    """What came of it, in words."""
    lines = [f"{len(found)} rounds, {sum(one.seconds for one in found):.0f} s"]
    for kind, times in sorted(Counter(kind for one in found for kind in one.faults).items()):
        lines.append(f"{times:5}  {kind}")
    calls: Counter[str] = Counter()
    for one in found:
        for codes in one.calls.values():
            calls["answered"] += codes.get("", 0)
            calls["all"] += sum(codes.values())
        calls["during"] += sum(one.during.values())
    after = sorted(one.serves_after or 0.0 for one in found)
    lines.append(
        f"calls: {calls['all']}, of which {calls['answered']} were answered, and"
        f" {calls['during']} began while something was wrong"
    )
    lines.append(f"served again: p50 {after[len(after) // 2]} s, at most {after[-1]} s")
    lines.append(f"slowest answer: {max(one.slowest for one in found)} s")
    lines.append(f"latest observer: {max(one.lag for one in found)} s")
    broken = [f"round {one.round}: {said}" for one in found for said in one.violations]
    return "\n".join([*lines, f"violations: {len(broken)}", *broken])


def main() -> int:
    """Go through what is missing; 1 when an invariant was broken."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=11)
    parser.add_argument("--rounds", type=int, default=200)
    parser.add_argument("--results", type=Path, default=Path("build/chaos.jsonl"))
    asked = parser.parse_args()
    asked.results.parent.mkdir(exist_ok=True)
    while True:
        known = {one.round for one in done(asked.results, asked.seed)}
        left = [one for one in planned(asked.seed, asked.rounds) if one[0] not in known]
        if not left:
            break
        sys.stderr.write(f"{len(left)} rounds to go\n")
        name, rounds = str(asked.results), left[:_CELL]
        plan = Plan(seed=asked.seed, rounds=rounds, results=name, least=LEAST, most=MOST)
        weather(plan)
    found = [one for one in done(asked.results, asked.seed) if one.round < asked.rounds]
    sys.stdout.write(told(found) + "\n")
    return int(any(one.violations for one in found))


if __name__ == "__main__":
    sys.exit(main())
