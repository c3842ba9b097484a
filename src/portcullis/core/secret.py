"""A credential as it goes through the program: a value that does not print."""

from __future__ import annotations

import hmac
from typing import Any, Final, NoReturn, final
from weakref import WeakValueDictionary

SHOWN: Final = "***"
"""What stands for a secret wherever one would be shown."""


_LEAST: Final = 8
"""A shorter value would be found by chance."""
_live: Final[WeakValueDictionary[int, Secret]] = WeakValueDictionary()
"""The secrets of this process, for ``redacted``; it keeps none of them alive."""


def redacted(text: str) -> str:
    """A text without the values of secrets that anybody in this process holds.

    It is a second net, for lines of logs: nothing that knows of a secret writes it anywhere.
    """
    for one in list(_live.values()):
        if len(one) >= _LEAST and one.reveal() in text:
            text = text.replace(one.reveal(), SHOWN)
    return text


@final
class Secret:
    """Holds a secret value; ``reveal`` is the one way to it.

    ``repr``, ``str`` and formatting show ``***``; copying, pickling and encoding raise TypeError.
    It compares, in constant time, with another or with a text, and has no hash. The bytes are
    overwritten when nobody holds the object any more (the texts that ``reveal`` returned are
    beyond our reach: they live as long as whoever asked keeps them).
    """

    __slots__ = ("__weakref__", "_value")

    def __init__(self, value: str) -> None:
        self._value = bytearray(value.encode("utf-8", "surrogatepass"))
        _live[id(self)] = self

    def reveal(self) -> str:
        """Return the value: for what sends it, at the moment that it is sent."""
        return self._value.decode("utf-8", "surrogatepass")

    def __repr__(self) -> str:
        return f"Secret({SHOWN})"

    def __str__(self) -> str:
        return SHOWN

    def __format__(self, spec: str) -> str:
        return SHOWN

    def __len__(self) -> int:
        return len(self._value)

    def __bool__(self) -> bool:
        return bool(self._value)

    def __eq__(self, other: object) -> bool:
        if isinstance(other, Secret):
            return hmac.compare_digest(self._value, other._value)
        if isinstance(other, str):
            return hmac.compare_digest(self._value, other.encode("utf-8", "surrogatepass"))
        return NotImplemented

    __hash__ = None  # type: ignore[assignment]  # a table of secrets would outlive them

    def __reduce_ex__(self, protocol: Any) -> NoReturn:
        _refuse()

    def __copy__(self) -> NoReturn:
        _refuse()

    def __deepcopy__(self, _memo: Any) -> NoReturn:
        _refuse()

    def __del__(self) -> None:
        value = getattr(self, "_value", None)
        if value is not None:
            value[:] = bytes(len(value))


def _refuse() -> NoReturn:
    msg = "a secret is neither copied nor pickled"
    raise TypeError(msg)
