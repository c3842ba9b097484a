"""Which headers of a provider's answer a client sees: closed lists of names, each with its forms.

A header is passed on to tell when to try again and what to ask the provider about. What is written
in another form is left out, so that no text passes where nobody reads it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

_NUMBER: Final = r"[0-9]{1,9}(?:\.[0-9]{1,6})?"
_SPAN: Final = r"(?:[0-9]{1,6}(?:\.[0-9]{1,9})?(?:ms|s|m|h|d)){1,5}"
_TIME: Final = (
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(?:\.[0-9]{1,9})?"
    r"(?:Z|[+-][0-9]{2}:[0-9]{2})"
)
"""RFC 3339."""
_DATE: Final = (
    r"(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun), [0-9]{2} (?:Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec)"
    r" [0-9]{4} [0-9]{2}:[0-9]{2}:[0-9]{2} GMT"
)
"""RFC 9110, section 5.6.7."""
_UUID: Final = r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"
_ID: Final = rf"(?:req_)?(?:{_UUID}|[0-9a-f]{{32}})|req_[0-9A-Za-z]{{24}}"
_OF: Final = r"(?:limit|remaining|reset)"
_WHAT: Final = r"(?:requests|(?:project-|input-|output-)?tokens)"
_FORMS: Final = (
    (re.compile("retry-after"), re.compile(f"{_NUMBER}|{_DATE}")),
    (re.compile("retry-after-ms"), re.compile(_NUMBER)),
    (re.compile("x-should-retry"), re.compile("true|false")),
    (re.compile("(?:x-)?request-id"), re.compile(_ID)),
    (re.compile("openai-processing-ms"), re.compile(_NUMBER)),
    (
        re.compile(f"x-ratelimit-{_OF}-{_WHAT}|anthropic-ratelimit-{_WHAT}-{_OF}"),
        re.compile(f"{_NUMBER}|{_SPAN}|{_TIME}"),
    ),
)


def returned(headers: Mapping[str, str]) -> list[tuple[bytes, bytes]]:
    """The headers that are passed on; names of ``headers`` are in lower case."""
    return [
        (name.encode("ascii"), value.encode("ascii"))
        for name, value in headers.items()
        for known, form in _FORMS
        if known.fullmatch(name) and form.fullmatch(value)
    ]
