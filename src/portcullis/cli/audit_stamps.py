"""What ``portcullis audit verify --tsa`` says of a log's timestamps."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import msgspec

from portcullis.audit.note import Verifier
from portcullis.audit.tiles import TileReader
from portcullis.audit.verify import Report, read_checkpoint

if TYPE_CHECKING:
    from portcullis.audit.timestamps import Timestamp

_MOST_REASONS: Final = 20


def check_stamps(directory: Path, verifier: Verifier, roots: Path | None) -> list[Timestamp] | None:
    """Verify the timestamps of a log against the roots in a file; None when there is no file."""
    if roots is None:
        return None
    from portcullis.audit.replica.source import tree_at  # noqa: PLC0415 - slow, and for this alone
    from portcullis.audit.timestamps import check_timestamps, load_roots  # noqa: PLC0415 - the same

    def root_at(size: int) -> bytes:
        published = read_checkpoint(directory, verifier)[0].size
        return tree_at(TileReader(directory, published), size).root()

    return check_timestamps(directory, verifier, load_roots(roots), root_at)


def with_stamps(report: Report, stamps: Sequence[Timestamp] | None) -> Report:
    """The report, failed when a timestamp is not good, or when none is there though asked for."""
    if stamps is None:
        return report
    reasons = [
        f"timestamp {stamp.size}-{stamp.authority}: {stamp.reason}"
        for stamp in stamps
        if stamp.reason
    ]
    if not stamps:
        reasons = ["there are no timestamps: they were deleted, or none was ever made"]
    return msgspec.structs.replace(
        report,
        ok=report.ok and not reasons,
        reasons=(*report.reasons, *reasons[:_MOST_REASONS]),
    )


def plain_stamps(stamps: Sequence[Timestamp] | None) -> dict[str, Any]:
    """As JSON: every token, and the newest time before which so many entries existed."""
    if stamps is None:
        return {}
    newest = _newest(stamps)
    return {
        "timestamps": [msgspec.structs.asdict(stamp) for stamp in stamps],
        "existed": {"size": newest.size, "before": newest.time} if newest else None,
    }


def print_stamps(stamps: Sequence[Timestamp] | None) -> None:
    """For people: how many, and the newest good one."""
    if stamps is None:
        return
    bad = sum(bool(stamp.reason) for stamp in stamps)
    print(f"  timestamps    {len(stamps) - bad} good, {bad} not")
    if newest := _newest(stamps):
        print(f"  existed       {newest.size} entries before {newest.time} ({newest.authority})")


def _newest(stamps: Sequence[Timestamp]) -> Timestamp | None:
    good = [stamp for stamp in stamps if not stamp.reason]
    return max(good, key=lambda stamp: stamp.size, default=None)
