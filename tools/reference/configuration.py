"""The reference of the configuration, from the models that read it."""

import ast
import enum
import inspect
import textwrap
import types
import typing
from collections.abc import Callable, Iterator
from functools import cache
from itertools import pairwise

from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from portcullis.config import Config
from reference import heading, prose, row, table

_WORDS = {
    "Any": "anything",
    "IPv4Address": "address",
    "IPv6Address": "address",
    "IPv4Network": "network",
    "IPv6Network": "network",
    "str": "text",
    "int": "whole number",
    "float": "number",
    "bool": "`true` or `false`",
    "Path": "path",
    "NoneType": "null",
}
_BOUNDS = {"ge": "at least", "gt": "more than", "le": "at most", "lt": "less than"}


def page() -> str:
    """One section for each section of the file."""
    lines = heading("Configuration", "`src/portcullis/config`")
    lines += [
        "One file, `portcullis.yaml`. An unknown key, a wrong type or a secret that is given by",
        "value is PC7001 with the line and the key. Secrets are references: `env:NAME` or",
        "`file:PATH`. Relative paths are relative to the file. `portcullis init` writes one to",
        "start from, `portcullis doctor` looks at it.",
        "",
        "`NAME` stands for a name of your own, `[]` for each member of a list.",
    ]
    for path, model in sections("", Config):
        lines += ["", f"## `{path}`" if path else "## The file", "", _about(model)]
        if model.model_fields:
            lines += ["", *table("key", "what", "default", "")]
            lines += [_row(name, field, model) for name, field in model.model_fields.items()]
    return "\n".join(lines) + "\n"


def _row(name: str, field: FieldInfo, model: type[BaseModel]) -> str:
    said = prose(_said(model).get(name))
    return row(f"`{field.alias or name}`", _what(field), _default(field), said)


def _about(model: type[BaseModel]) -> str:
    """What a section says of itself and, where it has something in common with others, of that."""
    common = [base for base in model.__mro__ if base.__name__.startswith("_")]
    return "\n\n".join(prose(one.__doc__) for one in (model, *common) if one.__doc__)


def sections(path: str, model: type[BaseModel]) -> Iterator[tuple[str, type[BaseModel]]]:
    """Each section with its path in the file; those of one key that differ by ``kind``, each."""
    yield path, model
    for name, field in model.model_fields.items():
        place = f"{path}.{name}" if path else name
        for below, mark in _models(field.annotation):
            kind = below.model_fields.get("kind")
            names = typing.get_args(kind.annotation) if kind else ()
            told = f"{place}{mark}" + (f" (kind: {names[0]})" if names else "")
            yield from sections(told, below)


def _models(annotation: object, mark: str = "") -> Iterator[tuple[type[BaseModel], str]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation, mark
        return
    origin = typing.get_origin(annotation)
    arguments = typing.get_args(annotation)
    if origin is dict:
        yield from _models(arguments[1], f"{mark}.NAME")
    elif origin is tuple:
        yield from _models(arguments[0], f"{mark}[]")
    elif origin is typing.Annotated:
        yield from _models(arguments[0], mark)
    else:
        for one in arguments:
            yield from _models(one, mark)


def _what(field: FieldInfo) -> str:
    said = [
        f"{_BOUNDS[name]} {value}"
        for bound in field.metadata
        for name in _BOUNDS
        if (value := getattr(bound, name, None)) is not None
    ]
    return ", ".join([_type(field.annotation), *said])


def _type(annotation: object) -> str:
    """A type in words."""
    form = _FORMS.get(typing.get_origin(annotation))
    if form is not None:
        return form(typing.get_args(annotation))
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return "section"
    if isinstance(annotation, type) and issubclass(annotation, enum.Enum):
        return " or ".join(f"`{one.value}`" for one in annotation)
    return _WORDS[annotation.__name__]


def _any(arguments: tuple[object, ...]) -> str:
    return " or ".join(dict.fromkeys(map(_type, arguments)))


_FORMS: dict[object, Callable[[tuple[object, ...]], str]] = {
    typing.Literal: lambda arguments: " or ".join(f"`{one}`" for one in arguments),
    typing.Annotated: lambda arguments: _type(arguments[0]),
    tuple: lambda arguments: f"list: {_type(arguments[0])}",
    dict: lambda arguments: f"map: {_type(arguments[1])}",
    typing.Union: _any,
    types.UnionType: _any,
}


def _default(field: FieldInfo) -> str:
    value = field.get_default(call_default_factory=True)
    if value is PydanticUndefined:
        return "required"
    if isinstance(value, BaseModel):
        return "see below"
    return f"`{_yaml(value)}`"


def _yaml(value: object) -> str:
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, tuple | list | frozenset):
        return f"[{', '.join(map(_yaml, value))}]"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{name}: {_yaml(one)}" for name, one in value.items()) + "}"
    return str(value)


@cache
def _said(model: type[BaseModel]) -> dict[str, str]:
    """The text that stands below a field, by the field."""
    body = ast.parse(textwrap.dedent(inspect.getsource(model))).body[0].body
    return {
        field.target.id: text.value.value
        for field, text in pairwise(body)
        if isinstance(field, ast.AnnAssign)
        and isinstance(text, ast.Expr)
        and isinstance(text.value, ast.Constant)
    }
