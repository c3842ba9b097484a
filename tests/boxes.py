"""Boxes of this machine for tests: bubblewrap, under ``strict`` and profiles of the test's own."""

from portcullis.core.sandbox import Profile
from portcullis.execution.boxes import Boxes
from portcullis.execution.sandbox import cgroups
from portcullis.execution.sandbox.bubblewrap import Bubblewrap

_made: list[Bubblewrap] = []


def boxes(**profiles: Profile) -> Boxes:
    """What this machine can do is asked once."""
    if not _made:
        _made.append(Bubblewrap(tree=cgroups.find()))
    return Boxes(_made[0], {"strict": Profile(), **profiles})
