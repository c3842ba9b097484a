"""Two detectors of others read the same texts, in an environment of their own.

``make bench-peers`` makes that environment from ``requirements/peers.txt``; nothing of it is
installed beside the gate.
"""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import Final

import msgspec

from portcullis.bench import firewall_peer
from portcullis.bench.firewall_read import SIZES
from portcullis.bench.firewall_texts import KINDS, ordinary
from portcullis.bench.gate import last_line
from portcullis.core.errors import Problem

PEERS: Final = ("presidio", "litellm")
_SECONDS: Final = 300.0


class Answer(msgspec.Struct, frozen=True):
    """What a peer took for each text; see ``firewall_peer``."""

    peer: str
    version: str
    rules: int
    seconds: dict[str, float]


def measure_peers(python: Path, seconds: float, rounds: int) -> dict[str, float]:
    """``PEER_SIZE_KIND_us`` for each peer that is installed, their dearest and their means.

    Raises Problem PC7007 when ``python`` does not run, or has none of the peers.
    """
    texts = {f"{size}_{kind}": ordinary(kind, SIZES[size]) for size in SIZES for kind in KINDS}
    asked = {"texts": texts, "seconds": seconds, "rounds": rounds}
    try:
        done = subprocess.run(  # noqa: S603 - the user's own interpreter and our own file
            (str(python), "-I", str(Path(firewall_peer.__file__))),
            input=msgspec.json.encode(asked),
            capture_output=True,
            check=False,
            timeout=_SECONDS,
            env={**os.environ, "LITELLM_LOCAL_MODEL_COST_MAP": "True"},
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise Problem("PC7007", f"the peers' Python: {type(error).__name__}") from None
    if done.returncode:
        raise Problem("PC7007", f"the peers: {last_line(done.stderr)}")
    answers = [msgspec.json.decode(line, type=Answer) for line in done.stdout.splitlines()]
    if not answers:
        raise Problem("PC7007", "none of the peers is installed there: make bench-peers")
    return {name: value for one in answers for name, value in figures(one).items()}


def figures(answer: Answer) -> dict[str, float]:
    """The figures of one peer, in microseconds."""
    taken = {name: seconds * 1e6 for name, seconds in answer.seconds.items()}
    found = {f"{answer.peer}_{name}_us": cost for name, cost in taken.items()}
    for size in SIZES:
        costs = [taken[f"{size}_{kind}"] for kind in KINDS]
        found[f"{answer.peer}_{size}_us"] = max(costs)
        found[f"{answer.peer}_{size}_mean_us"] = sum(costs) / len(costs)
    return found | {f"{answer.peer}_rules": float(answer.rules)}
