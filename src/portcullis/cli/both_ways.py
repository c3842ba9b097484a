"""What commands share that do things through a control plane, or else on services of their own."""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any, Protocol, TypeVar

_T = TypeVar("_T")


class Run(Protocol):
    """Runs work to its end; a refusal is recorded by this method and name."""

    def __call__(self, work: Coroutine[Any, Any, _T], method: str, name: str, /) -> _T:
        """The work's result."""
        ...


class Call(Protocol):
    """Asks the control plane: a verb, a path and a body, and how long to wait for the answer."""

    def __call__(
        self, method: str, path: str, body: dict[str, Any] | None = None, seconds: float = 30.0, /
    ) -> Any:
        """The decoded answer; Problem for a refusal."""
        ...


class Remotely:
    """Asks the control plane."""

    def __init__(self, call: Call) -> None:
        self._call = call
