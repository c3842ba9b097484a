"""The only composition root: here adapters meet the ports, and nowhere else.

A new check, store or secret source is one file of its own plus one line here.
"""

from portcullis.bootstrap.foundation import (
    CA,
    GATE,
    SystemClock,
    audit_directory,
    authority_of,
    founded,
    keys_of,
)
from portcullis.bootstrap.gate import GATE_FILE, Gate, running_gate, started
from portcullis.bootstrap.local import local_operator
from portcullis.bootstrap.parts import Parts, assembled
from portcullis.bootstrap.stdio import wrap_stdio

__all__ = [
    "CA",
    "GATE",
    "GATE_FILE",
    "Gate",
    "Parts",
    "SystemClock",
    "assembled",
    "audit_directory",
    "authority_of",
    "founded",
    "keys_of",
    "local_operator",
    "running_gate",
    "started",
    "wrap_stdio",
]
