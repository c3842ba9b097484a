"""The log alone: events made durable, beside one commit for each on the same disk in one run.

Writers, encoding and log share one process, as in a gate. The ways that commit each event by
itself take their turns between the cells of the log, so that all meet the disk in the same moods.
"""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from typing import Final

import uvloop

from portcullis.audit.log import open_log
from portcullis.audit.shrink import encode
from portcullis.audit.verify import own_verifier, verify
from portcullis.bench.audit_load import TURNS, Cell, Disk, closed_loop, events, open_loop
from portcullis.bench.disk import fdatasync_ms
from portcullis.bench.load import percentile
from portcullis.bench.report import Report, machine, report, target
from portcullis.core.errors import Problem
from portcullis.identity.keymanager.file import FileKeyManager
from portcullis.identity.sealing import Envelope

WRITERS: Final = (1, 50, 1000)
OFFERED: Final = (1000, 5000, 20_000)
TIMES: Final = 50.0
"""The promise: the log's most events per second as a multiple of one commit for each."""


def measure_audit(seconds: float, folder: Path | None, slower_ms: float = 0.0) -> Report:
    """Measure each cell for so many seconds, then verify the log that they made.

    ``slower_ms`` makes each sync longer, the log's and that of what it is held against.
    """
    at = machine()
    with tempfile.TemporaryDirectory(prefix="portcullis-bench-", dir=folder) as name:
        place = Path(name)
        samples = sorted(fdatasync_ms(place, 60))
        figures = {
            "fdatasync_p50_ms": percentile(samples, 0.5),
            "fdatasync_p99_ms": percentile(samples, 0.99),
            "fdatasync_slower_ms": slower_ms,
        }
        figures |= _measured(place, seconds, Disk(slower_ms / 1000))
        figures["verified_per_s_and_core"] = _verified(place / "log")
    best = max(figures[f"durable_c{writers}_per_s"] for writers in WRITERS)
    for way in TURNS:
        figures[f"{way}_ratio"] = best / figures[f"{way}_per_s"]
    targets = {"commit_sqlite_ratio": target(figures, "commit_sqlite_ratio", ">=", TIMES)}
    return report("bench audit", at, figures, targets)


def _measured(place: Path, seconds: float, disk: Disk) -> dict[str, float]:
    """All cells of the log, and the turns of the others between them."""
    found: dict[str, float] = {}
    turns: dict[str, list[Cell]] = {way: [] for way in TURNS}
    share = seconds / (len(WRITERS) + len(OFFERED))
    made = events()
    entry = encode(next(made))
    sealer = Envelope(FileKeyManager(place / "master.key", create=True))
    log = open_log(place / "log", place / "keys", "bench.local/gate", sealer=sealer, sync=disk.sync)
    with log:
        for name, size in (
            *((f"durable_c{writers}", writers) for writers in WRITERS),
            *((f"offered_{rate}", rate) for rate in OFFERED),
        ):
            for way, take in TURNS.items():
                turns[way].append(take(place, entry, share, disk))
            before = disk.syncs
            loop = closed_loop if name.startswith("durable") else open_loop
            cell = uvloop.run(loop(log, made, size, seconds))
            found |= cell.figures(name)
            found[f"{name}_per_fdatasync"] = len(cell.taken) / max(1, disk.syncs - before)
            if loop is open_loop:
                found[f"{name}_refused"] = float(cell.refused)
    for way, cells in turns.items():
        taken = sorted(one for cell in cells for one in cell.taken)
        found |= Cell(taken, 0, sum(cell.seconds for cell in cells)).figures(way)
    return found


def _verified(directory: Path) -> float:
    """Entries verified in a second of processor time; Problem PC7007 when they are not sound."""
    began = time.process_time()
    found = verify(directory, own_verifier(directory))
    if not found.ok:
        raise Problem("PC7007", f"the log does not verify: {found.reasons[0]}")
    return found.size / (time.process_time() - began)
