"""``portcullis run``: an agent in a box whose only way out is the gate."""

from portcullis.execution.launch.launcher import Cut, Launch, launch
from portcullis.execution.launch.streams import is_terminal

__all__ = ["Cut", "Launch", "is_terminal", "launch"]
