"""What a form asks for, held to the API's own shapes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, TypeVar

from pydantic import BaseModel, ValidationError

from portcullis.core.errors import Problem

_DIGITS: Final = 6
_Asked = TypeVar("_Asked", bound=BaseModel)


def asked(shape: type[_Asked], wanted: Mapping[str, Any], hint: str) -> _Asked:
    """The shape made of what a form says. Raises Problem PC1020 with ``hint``."""
    try:
        return shape.model_validate(dict(wanted))
    except ValidationError as error:
        wrong = error.errors(include_input=False, include_url=False)[0]
        place = str(wrong["loc"][0]) if wrong["loc"] else "form"
        raise Problem("PC1020", f"{place}: it is missing, or not of its form", hint=hint) from None


def number(name: str, said: str) -> int:
    """A whole number of at most six digits. Raises Problem PC1020."""
    if not (said.isascii() and said.isdigit() and len(said) <= _DIGITS):
        raise Problem("PC1020", f"{name}: it is no number")
    return int(said)
