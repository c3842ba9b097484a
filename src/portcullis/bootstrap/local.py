"""Who runs a command: the operator that holds the issuer's key."""

from __future__ import annotations

import os
import pwd
import re

from portcullis.control.principals import LOCAL


def local_operator() -> str:
    """``local-`` and the name of the user who runs the command, in the form of our names."""
    uid = os.geteuid()
    try:
        user = pwd.getpwuid(uid).pw_name
    except KeyError:
        user = str(uid)
    return LOCAL + re.sub("[^a-z0-9_-]", "-", user.lower())[:50]
