"""What an operator writes into a form that changes something."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from pydantic import TypeAdapter, ValidationError

from portcullis.control.privacy_api import Reason
from portcullis.core.errors import Problem

_REASON: Final = TypeAdapter(Reason)


def reason_of(form: Mapping[str, str]) -> str:
    """The reason in a form: one line of at most 200 characters. Raises Problem PC1020."""
    try:
        return _REASON.validate_python(form.get("reason", "").strip(), strict=True)
    except ValidationError:
        hint = "Say why in one line of at most 200 characters: it stands in the log."
        raise Problem("PC1020", "reason: it is missing, or too long", hint=hint) from None


def typed(form: Mapping[str, str], target: str, what: str) -> None:
    """Raise Problem PC3054 unless ``target`` was typed into the form, as it stands."""
    if form.get("typed", "").strip() != target:
        hint = f"Type {what} exactly as the page shows it."
        raise Problem("PC3054", "what was typed is not what this would act on", hint=hint)
