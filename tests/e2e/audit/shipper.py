"""A process that writes events and ships them to a folder until it is killed.

Arguments: the state folder, the replica's folder, a number to start from. Prints the number of each
event that was acknowledged; whatever goes wrong stands on stderr.
"""

from __future__ import annotations

import os
import sys
from itertools import count
from pathlib import Path

from audit_logs import Log, event, shipper_to
from portcullis.audit.replica.worker import Worker
from portcullis.core.errors import Problem


def say(*what: object) -> None:
    os.write(2, f"{what}\n".encode())


def failed(problem: Problem) -> None:
    say(problem.code, problem.detail)


def main(root: Path, far: Path, start: int) -> None:
    kept = Log(root)
    log = kept.open(checkpoint_seconds=0.005)
    Worker("ship", shipper_to(far, kept, say).step, failed, seconds=0.002, most=0.01)
    for number in count(start):
        for extra in range(20):
            log.enqueue(event(f"{number}-{extra}"))
        log.append_now(event(str(number)))
        os.write(1, f"{number}\n".encode())


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]))
