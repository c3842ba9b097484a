"""When a canary denies too much: a rule that is written down, with numbers that bound it.

A session has one voice: the share of its calls that was denied, whether it called once or a
thousand times, so that one that repeats what is denied says it once. The mean of these shares is
known only as well as there were sessions. The rule compares Wilson score intervals (E. B. Wilson,
1927) with z = 4: a canary is rolled back when the least that its mean may be is more than the most
that the others' may be. Shares lie between 0 and 1, so their variance is at most that of yes and
no with the same mean: the intervals are rather too wide. They are compared once a second for as
long as the canary runs; two such intervals that do not touch are as unlikely by chance as one
comparison at z = 4 to 5.7, by how the two sides compare in size: less than once in 30 000 looks.
"""

from __future__ import annotations

import math
from typing import Final

from portcullis.core.release import Arm, Tallies

LEAST_SESSIONS: Final = 5
"""Of either side; below that nothing is said."""
LEAST_HIT: Final = 3
"""Sessions that were denied what the policy in force would have allowed."""
_Z: Final = 4.0


def spiked(canary: Arm, rest: Arm) -> bool:
    """Whether the canary's sessions are denied more than the others, beyond chance."""
    if min(canary.sessions, rest.sessions) < LEAST_SESSIONS:
        return False
    return interval(canary)[0] > interval(rest)[1]


def caused(counted: Tallies) -> bool:
    """Whether enough of it is the canary's doing: calls that the policy in force would allow.

    An agent that calls what neither policy grants would otherwise end every canary that its session
    is in, and one that repeats what only the canary denies any that it does not like.
    """
    return len(counted.hit) >= LEAST_HIT


def interval(arm: Arm) -> tuple[float, float]:
    """Between what and what the mean share of denials of a session is, from 0 to 1."""
    n, z2 = arm.sessions, _Z * _Z
    if n == 0:
        return 0.0, 1.0
    share = min(arm.share / n, 1.0)
    middle = (share + z2 / (2 * n)) / (1 + z2 / n)
    half = _Z / (1 + z2 / n) * math.sqrt(share * (1 - share) / n + z2 / (4 * n * n))
    return max(0.0, middle - half), min(1.0, middle + half)
