"""What came of a guarded tool: what the gate is told of it, and what goes on once it has judged.

What goes on is what was judged: the very result only where it holds nothing else.
"""

from __future__ import annotations

import datetime as dt
import decimal
import math
import uuid
from collections.abc import Callable
from typing import Any, Final, NoReturn

import msgspec
from pydantic import BaseModel, TypeAdapter, ValidationError
from pydantic.errors import PydanticUserError

from portcullis.client.refused import Refused, ToolError
from portcullis.client.signature import jsonable
from portcullis.core.errors import Problem
from portcullis.wire.json import decode, encode

_SIMPLE: Final = (str, int, float, bool, type(None))
_SCALARS: Final = (
    *_SIMPLE,
    bytes,
    dt.date,
    dt.datetime,
    dt.time,
    dt.timedelta,
    decimal.Decimal,
    uuid.UUID,
)
_UNTOLD: Final = "the result holds what JSON cannot"
_UNFIT: Final = "what the gate left of the result does not fit its type"


class Tool(msgspec.Struct, frozen=True, kw_only=True):
    """A tool as the gate is told about it. ``input_schema`` is JSON Schema.

    ``returns`` is the type of its results, for one that is not passed on as it is; without it,
    such a one has to fit the type of the result that it takes the place of. ``shown`` is for
    frameworks: the text that a model is shown of a result that is not plain JSON. Then that text
    is judged, and returned. ``signals`` are a framework's exceptions that are no failures.
    """

    name: str
    description: str
    input_schema: dict[str, Any]
    returns: Any = None
    shown: Callable[[Any], str] | None = None
    signals: tuple[type[Exception], ...] = ()


class Returned:
    """A result. One that has no JSON that the gate reads is told as an error, and withheld."""

    def __init__(self, tool: Tool, result: Any) -> None:
        self.is_error = False
        self.told: msgspec.Raw | str
        try:
            if tool.shown is not None and not plain(result):
                result = tool.shown(result)
            body = encode(jsonable(result))
            decode(body)
            self.told = msgspec.Raw(body)
        except Problem as problem:
            self.is_error, self.told = True, f"{_UNTOLD}: {problem.detail}"
        except Exception:  # noqa: BLE001 - the tool has run, whatever its result cannot
            self.is_error, self.told = True, _UNTOLD
        self._kind = type(result) if tool.returns is None else tool.returns
        self._result = result

    def after(self, back: Any) -> Any:
        """The result itself, or what the gate made of it in the type that it has to have."""
        if isinstance(self.told, str):
            raise Refused.of(Problem("PC1020", self.told), ran=True)
        body = encode(back)
        same = body == bytes(self.told)
        if same and _alike(back, self._result):
            return self._result
        try:
            read = TypeAdapter[Any](self._kind).validate_json(body)
        except (ValidationError, PydanticUserError):
            raise Refused.of(Problem("PC5009", _UNFIT), ran=True) from None
        return self._result if same and _alike(read, self._result) else read


class Failed:
    """A failure, as ``TypeName: message``."""

    is_error: Final = True

    def __init__(self, tool: Tool, error: Exception) -> None:
        self._error = error
        self.told = _said(error)
        self._passes = isinstance(error, tool.signals) or not _says_more(error, self.told)

    def after(self, back: Any) -> NoReturn:
        """Raise the exception itself, or ToolError with what may be said where it says more."""
        if back == self.told and self._passes:
            raise self._error
        raise ToolError(str(back)) from None


def plain(value: Any) -> bool:
    """Whether a value is JSON as it stands, for whoever reads it."""
    kind = type(value)
    if kind is dict:
        return all(type(name) is str and plain(each) for name, each in value.items())
    if kind is list:
        return all(map(plain, value))
    return math.isfinite(value) if kind is float else kind in _SIMPLE


def _alike(one: Any, other: Any) -> bool:
    """Whether two values hold the same and nothing else, as far as their kinds are known."""
    kind = type(one)
    if kind is not type(other):
        return False
    if kind is dict:
        return _alike(list(one.items()), list(other.items()))
    if kind in (list, tuple):
        return len(one) == len(other) and all(map(_alike, one, other))
    if isinstance(one, BaseModel):
        return all(map(_alike, _held(one), _held(other)))
    return kind in _SCALARS and bool(one == other)


def _held(model: BaseModel) -> tuple[Any, ...]:
    return model.__dict__, model.__pydantic_extra__, model.__pydantic_private__


def _said(error: Exception) -> str:
    """What an exception says, whatever it is, as a text that UTF-8 can hold."""
    name = type(error).__name__
    try:
        said = f"{name}: {error}"
    except Exception:  # noqa: BLE001 - it cannot even say that
        said = name
    return said.encode("utf-8", "replace").decode()


def _says_more(error: Exception, said: str) -> bool:
    """Whether an exception shows more than ``said`` to who prints it in another way."""
    if isinstance(error, (Refused, BaseExceptionGroup)) or hasattr(error, "__notes__"):
        return True  # a refusal inside the tool would say that the tool itself did not run
    context = None if error.__suppress_context__ else error.__context__
    if error.__cause__ is not None or context is not None:
        return True  # what it was raised from is printed with it
    own = type(error).__repr__ is not BaseException.__repr__
    try:
        str(error)
        shown = (repr(error),) if own else error.args
    except Exception:  # noqa: BLE001 - as above
        return True
    return not all(type(each) in _SIMPLE and str(each) in said for each in shown)
