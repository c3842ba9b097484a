"""A Python function as a tool: a closed JSON schema of its arguments, and the way there and back.

What the gate decides on is JSON, and what it gives back is what runs: each argument, also a
default, goes through JSON and back into the type of its annotation.
"""

from __future__ import annotations

import inspect
import typing
from collections import OrderedDict
from collections.abc import Callable
from typing import Any, Final

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError, create_model
from pydantic.errors import PydanticUserError

from portcullis.client.refused import Refused
from portcullis.core.errors import Problem
from portcullis.wire.json import decode, digest, encode

_VARIADIC: Final = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
_OWNERS: Final = frozenset({"self", "cls"})
_CLOSED: Final = ConfigDict(extra="forbid", ser_json_bytes="base64", val_json_bytes="base64")
_ANY: Final = TypeAdapter[Any](Any)


def jsonable(value: Any, *, by_alias: bool | None = None) -> Any:
    """A value as JSON. Raises ValueError for what has none."""
    return _ANY.dump_python(value, mode="json", by_alias=by_alias)


def as_json(arguments: Any, *, by_alias: bool | None = None) -> Any:
    """Arguments as they are after a way through JSON.

    Raises Refused, which names the argument, for what JSON cannot hold.
    """
    try:
        return _there_and_back(arguments, by_alias)
    except Problem as problem:
        refused = problem
    for name, each in arguments.items() if isinstance(arguments, dict) else ():
        try:
            _there_and_back(each, by_alias)
        except Problem as problem:
            raise Refused(problem.code, f"argument {name!r}: {problem.detail}") from None
    raise Refused.of(refused)


def _there_and_back(value: Any, by_alias: bool | None) -> Any:  # noqa: FBT001 - pydantic's
    return decode(written(value, by_alias=by_alias))


def written(arguments: Any, *, by_alias: bool | None = None) -> bytes:
    """Arguments as the bytes that are sent. Raises Refused for what has none."""
    try:
        return encode(jsonable(arguments, by_alias=by_alias))
    except (ValueError, TypeError, OverflowError, RecursionError):
        raise Refused("PC1020", "the arguments hold what JSON cannot") from None


def in_python(value: Any, *, by_alias: bool | None = None) -> Any:
    """A value as ``jsonable`` has it, but sets as sets; None for what Python cannot hold so."""
    try:
        return _ANY.dump_python(value, by_alias=by_alias)
    except (ValueError, TypeError, RecursionError):
        return None  # a set of models: a dict has no hash


def exactly(given: Any, runs: Any, value: Any) -> None:
    """See that what is about to run, told as it was asked about, is what the gate gave back.

    ``value`` is what runs, still in Python: where it has a set, no order counts. Raises ValueError
    where it is not: aliases, unions and validators may read a value anew.
    """
    if not _same(given, runs, value):
        raise ValueError("what would run is not what was decided on")


def _same(one: Any, other: Any, value: Any) -> bool:
    """Whether two JSON values are equal, the second of ``value``; to Python, True is 1 too."""
    if isinstance(one, dict) and isinstance(other, dict):
        held = dict(zip(other, _parts(value, other), strict=True))
        return one.keys() == other.keys() and all(
            _same(one[name], other[name], held[name]) for name in one
        )
    if isinstance(one, list) and isinstance(other, list):
        if isinstance(value, set | frozenset):
            key = _unordered if all(isinstance(each, frozenset) for each in value) else digest
            return sorted(map(key, one)) == sorted(map(key, other))
        return len(one) == len(other) and all(map(_same, one, other, _parts(value, other)))
    return isinstance(one, bool) is isinstance(other, bool) and bool(one == other)


def _unordered(told: Any) -> str:
    """``digest`` of a list whose order does not count."""
    return digest(sorted(map(digest, told)) if isinstance(told, list) else told)


def _parts(value: Any, told: Any) -> list[Any]:
    """What stands in Python for each part of what was told of it, where both have as many."""
    parts = value.values() if isinstance(value, dict) else value
    known = isinstance(value, dict | list | tuple) and len(parts) == len(told)
    return list(parts) if known else [None] * len(told)


class Arguments:
    """The arguments of ``function``; ``schema`` is their JSON schema.

    ``returns`` is its return annotation, None when it has none.

    A first parameter ``self`` or ``cls`` without an annotation is no argument. Raises TypeError for
    what has no closed schema: ``*args`` and ``**kwargs``, types that JSON cannot hold, and defaults
    that do not fit their annotations.
    """

    schema: dict[str, Any]
    returns: Any

    def __init__(self, function: Callable[..., Any]) -> None:
        self._signature = inspect.signature(function)
        parameters = list(self._signature.parameters.values())
        self._owner = ""
        if parameters and _is_owner(parameters[0]):
            self._owner = parameters.pop(0).name
        for each in parameters:
            if each.kind in _VARIADIC:
                raise TypeError(f"{each}: a guarded tool names each of its parameters")
        try:
            hints = typing.get_type_hints(function, include_extras=True)
            typed = [(each, hints.get(each.name, Any)) for each in parameters]
            self._model = _model(typed)
            self.schema = _schema(self._model)
            self.returns = hints.get("return")
            for each, hint in typed:
                if each.default is not each.empty:
                    _check(each, hint)
        except (PydanticUserError, ValueError, NameError) as error:
            reason = str(error).partition("\n")[0]
            raise TypeError(f"these arguments have no JSON schema: {reason}") from None

    def asked(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
        """The owner that a method is called on, if any, and all arguments as JSON.

        Raises TypeError and ValueError (as pydantic's ValidationError) for those that do not fit,
        or would come back from JSON as something else, and Refused for what JSON cannot hold.
        """
        bound = self._signature.bind(*args, **kwargs)
        bound.apply_defaults()
        owner = bound.arguments.pop(self._owner, None)
        checked = self._model.model_validate(dict(bound.arguments))
        asked = _told(checked)
        as_json(asked)  # else it is refused here, by name
        _alike(checked, self._read(asked))
        return owner, asked

    def given(self, owner: Any, arguments: dict[str, Any]) -> inspect.BoundArguments:
        """What to call the function with, for ``arguments`` that the gate gave back.

        Raises ValueError for those that do not fit, or would run as something else.
        """
        read = self._read(arguments)
        exactly(arguments, _told(read), read.model_dump(by_alias=True))
        found = OrderedDict[str, Any]({self._owner: owner} if self._owner else {})
        for name, field in type(read).model_fields.items():
            found[str(field.alias)] = getattr(read, name)
        return inspect.BoundArguments(self._signature, found)

    def _read(self, arguments: dict[str, Any]) -> BaseModel:
        return self._model.model_validate_json(written(arguments))


def _told(checked: BaseModel) -> dict[str, Any]:
    return checked.model_dump(mode="json", by_alias=True)


def _alike(checked: BaseModel, read: BaseModel) -> None:
    """Raise ValueError, which names the argument, where two readings differ."""
    for name, field in type(checked).model_fields.items():
        try:
            same = checked.model_dump(include={name}) == read.model_dump(include={name})
        except TypeError:  # a set of models: a dict has no hash
            same = False
        if not same:
            raise ValueError(f"{field.alias!r} would come back from JSON as something else")


def _is_owner(parameter: inspect.Parameter) -> bool:
    return parameter.name in _OWNERS and parameter.annotation is parameter.empty


def _model(typed: list[tuple[inspect.Parameter, Any]]) -> type[BaseModel]:
    """A model of the arguments, whose fields have names that no parameter can spoil."""
    fields: dict[str, Any] = {}
    for place, (each, hint) in enumerate(typed):
        required = each.default is each.empty
        field = Field(alias=each.name, default=... if required else each.default)
        fields[f"argument_{place}"] = (hint, field)
    return create_model("Arguments", __config__=_CLOSED, **fields)


def _schema(model: type[BaseModel]) -> dict[str, Any]:
    schema = model.model_json_schema()
    for each in (schema, *schema.get("properties", {}).values()):
        each.pop("title", None)  # ours, not the function's
    return schema


def _check(parameter: inspect.Parameter, hint: Any) -> None:
    """See that a default survives its way through JSON."""
    alone = create_model("Default", __config__=_CLOSED, value=(hint, ...))
    try:
        there = alone.model_validate({"value": parameter.default}).model_dump_json()
        alone.model_validate_json(there)
    except ValidationError:
        message = f"the default of {parameter.name!r} does not fit its annotation"
        raise TypeError(message) from None
