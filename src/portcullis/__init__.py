"""Portcullis: the gate that every action of every AI agent passes."""

from importlib.metadata import version as _version

__version__ = _version("agent-portcullis")
