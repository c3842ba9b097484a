"""The only composition root: here adapters meet the ports, and nowhere else.

A new check, store or secret source is one file of its own plus one line here. A name is imported
when it is used: a command that asks a running gate loads no gate.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from portcullis.bootstrap.control import running_control
    from portcullis.bootstrap.foundation import CA, founded
    from portcullis.bootstrap.gate import Gate, running_gate
    from portcullis.bootstrap.gateway import running_gateway
    from portcullis.bootstrap.keys import SystemClock, authority_of, keys_of
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

_MODULES: Final = {
    "bootstrap.control": ("running_control",),
    "bootstrap.foundation": ("CA", "founded"),
    "bootstrap.gate": ("Gate", "running_gate"),
    "bootstrap.gateway": ("running_gateway",),
    "bootstrap.keys": ("SystemClock", "authority_of", "keys_of"),
    "bootstrap.local": ("local_operator",),
    "bootstrap.orders": ("kept_order", "signed_order"),
    "bootstrap.parts": ("Parts", "assembled"),
    "bootstrap.presence": ("GATE_FILE", "started"),
    "bootstrap.stdio": ("wrap_stdio",),
    "config.places": ("CONTROL", "GATE", "audit_directory", "logs_of", "own_log"),
}
_PLACES: Final = {name: module for module, names in _MODULES.items() for name in names}


def __getattr__(name: str) -> Any:
    """Import what is asked for (PEP 562)."""
    if name not in _PLACES:
        msg = f"module {__name__!r} has no attribute {name!r}"
        raise AttributeError(msg)
    return getattr(import_module(f"portcullis.{_PLACES[name]}"), name)
