"""Portcullis: the gate that every action of every AI agent passes."""

from typing import Any

__version__: str


def __getattr__(name: str) -> Any:
    """``__version__``, looked up when it is asked for: that takes as long as a short command."""
    if name != "__version__":
        raise AttributeError(name)
    from importlib.metadata import version  # noqa: PLC0415 - said above

    return version("agent-portcullis")
