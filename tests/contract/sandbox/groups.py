"""What boxes leave on the machine while they are there."""

import os
from pathlib import Path


def groups() -> set[str]:
    """The control groups of boxes that this process made."""
    name, found = f"portcullis-{os.getpid()}-", set()
    for top, directories, _ in os.walk("/sys/fs/cgroup"):
        found |= {str(Path(top, one)) for one in directories if one.startswith(name)}
    return found


def places() -> set[str]:
    """The directories that were made for boxes."""
    return {str(one) for one in Path("/tmp").glob(f"portcullis-box-{os.getpid()}-*")}  # noqa: S108
