"""When a canary denies too much: a rule that is written down, with numbers that bound it.

Each share of denials is known only as well as there were decisions. The rule compares Wilson score
intervals (E. B. Wilson, 1927) with z = 4: a canary is rolled back when the least that its share of
denials may be is more than the most that the others' may be. They are compared once a second for as
long as the canary runs; two such intervals that do not touch are as unlikely by chance as one
comparison at z = 4 to 5.7, by how the two sides compare in size: less than once in 30 000 looks.
Calls of one session are not independent, and one that repeats what is denied counts each time: that
errs towards the policy that was in force before.
"""

from __future__ import annotations

import math
from typing import Final

from portcullis.core.release import Arm, Tallies

LEAST_DECISIONS: Final = 20
"""Of either side; below that nothing is said."""
LEAST_DENIALS: Final = 5
"""Of the canary's, and of those as many that the policy in force would not have denied."""
ALLOWED: Final = "allow "
"""How the label of an allow begins (``core.release.Difference``)."""
_Z: Final = 4.0


def spiked(canary: Arm, rest: Arm) -> bool:
    """Whether the canary's sessions are denied more than the others, beyond chance."""
    if min(canary.decisions, rest.decisions) < LEAST_DECISIONS or canary.denials < LEAST_DENIALS:
        return False
    return interval(canary)[0] > interval(rest)[1]


def caused(counted: Tallies) -> bool:
    """Whether enough of it is the canary's doing: calls that the policy in force would allow.

    An agent that calls what neither policy grants would otherwise end every canary that its session
    is in. What was not compared may be the canary's doing.
    """
    newly = sum(
        number
        for kind, number in counted.differences.items()
        if kind.was.startswith(ALLOWED) and not kind.now.startswith(ALLOWED)
    )
    return newly + counted.others + counted.dropped >= LEAST_DENIALS


def interval(arm: Arm) -> tuple[float, float]:
    """Between what and what the share of denials is, from 0 to 1."""
    n, z2 = arm.decisions, _Z * _Z
    if n == 0:
        return 0.0, 1.0
    share = min(arm.denials / n, 1.0)
    middle = (share + z2 / (2 * n)) / (1 + z2 / n)
    half = _Z / (1 + z2 / n) * math.sqrt(share * (1 - share) / n + z2 / (4 * n * n))
    return max(0.0, middle - half), min(1.0, middle + half)
