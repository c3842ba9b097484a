"""AppArmor, where the kernel has it and the profile ``portcullis-box`` is loaded.

Written from the kernel's documentation (admin-guide/LSM/apparmor) and aa_change_onexec(3); no
machine with AppArmor has shown it yet. The profile is in docs/sandbox.md.
"""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Final

PROFILE: Final = "portcullis-box"
_ENABLED: Final = "sys/module/apparmor/parameters/enabled"
_LOADED: Final = "sys/kernel/security/apparmor/profiles"
TAKE: Final = (
    'if [ -n "$1" ]; then echo "exec $1" > /proc/self/attr/apparmor/exec || exit 1; fi; shift; '
)
"""Of the shell in a box: what it becomes is under the profile that its first argument names."""


def loaded(root: Path = Path("/")) -> str:
    """The profile's name where it is in force, else nothing; reading that takes root."""
    with suppress(OSError):
        if (root / _ENABLED).read_text().strip() == "Y":
            lines = (root / _LOADED).read_text().splitlines()
            return PROFILE if f"{PROFILE} (enforce)" in lines else ""
    return ""
