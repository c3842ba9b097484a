"""The only composition root: here adapters meet the ports, and nowhere else.

A new check, store or secret source is one file of its own plus one line here.
"""

from portcullis.bootstrap.control import running_control
from portcullis.bootstrap.foundation import (
    CA,
    SystemClock,
    authority_of,
    founded,
    keys_of,
)
from portcullis.bootstrap.gate import Gate, running_gate
from portcullis.bootstrap.gateway import running_gateway
from portcullis.bootstrap.local import local_operator
from portcullis.bootstrap.orders import kept_order, signed_order
from portcullis.bootstrap.parts import Parts, assembled
from portcullis.bootstrap.presence import GATE_FILE, started
from portcullis.bootstrap.stdio import wrap_stdio
from portcullis.config.places import CONTROL, GATE, audit_directory, logs_of, own_log

__all__ = [
    "CA",
    "CONTROL",
    "GATE",
    "GATE_FILE",
    "Gate",
    "Parts",
    "SystemClock",
    "assembled",
    "audit_directory",
    "authority_of",
    "founded",
    "kept_order",
    "keys_of",
    "local_operator",
    "logs_of",
    "own_log",
    "running_control",
    "running_gate",
    "running_gateway",
    "signed_order",
    "started",
    "wrap_stdio",
]
