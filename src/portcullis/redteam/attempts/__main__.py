"""``python3 -m attempts``: refuse to run outside of a box, then try, one JSON line for each.

The plan is JSON in the variable PORTCULLIS_PROBE. It refuses (status 3) as root, without the
marker that the launcher put into the box beside it, and in the process namespace of the machine
or of the launcher.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Final

from . import (
    devices,
    exhaustion,
    files,
    kernel,
    literals,
    namespaces,
    network,
    output,
    proc,
    processes,
    tricks,
    tunnels,
    ways,
)
from .kit import REGISTER, Attempt, Plan, carry_out

MARKER: Final = Path(__file__).parent.parent / "marker"
VARIABLE: Final = "PORTCULLIS_PROBE"
REFUSED: Final = 3
_FIRST: Final = "pid:[4026531836]"
"""The process namespace of the machine itself: the number is fixed in the kernel."""
PARTS: Final = (files, proc, devices, namespaces, kernel, processes, network, exhaustion, output)
PARTS_GATE: Final = (literals, tricks, tunnels, ways)


def registered() -> list[Attempt]:
    """All of them; to know them is to have imported all parts."""
    return list(REGISTER.all.values())


def outside(text: str | None) -> str | None:
    """Why this is no box, or None where it is one."""
    if os.getuid() == 0 or os.geteuid() == 0:
        return "it is root"
    if not text:
        return "it has no plan"
    try:
        plan = Plan.read(text)
        marker = MARKER.read_text(encoding="ascii").strip()
    except (OSError, ValueError, TypeError):
        return "it has no marker"
    if not plan.nonce or marker != plan.nonce:
        return "its marker is another's"
    mine = os.readlink("/proc/self/ns/pid")
    if mine in {_FIRST, plan.pidns} or not plan.pidns:
        return "it is in the machine's process namespace"
    return None


def main() -> int:
    """Try all that the plan asks for."""
    text = os.environ.get(VARIABLE)
    if why := outside(text):
        print(f"these attempts run in a box only: {why}", file=sys.stderr)  # noqa: T201
        return REFUSED
    plan = Plan.read(text or "")
    known = REGISTER.of(plan)
    workers = []
    for first in range(1, plan.parallel):
        worker = os.fork()
        if worker == 0:
            _all(known[first :: plan.parallel], plan)
            os._exit(0)
        workers.append(worker)
    _all(known[:: plan.parallel], plan)
    for worker in workers:
        os.waitpid(worker, 0)
    return 0


def _all(some: list[Attempt], plan: Plan) -> None:
    for each in some:
        result = carry_out(each, plan)
        # At once: a pipe keeps what is shorter than PIPE_BUF in one piece.
        os.write(1, json.dumps(vars(result)).encode() + b"\n")


if __name__ == "__main__":
    raise SystemExit(main())
