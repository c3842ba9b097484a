"""The one error type: a code from the table, a detail for this case, a hint what to do."""

from __future__ import annotations

from typing import Any

from portcullis.core.codes import CODES, Code
from portcullis.core.limit_told import Exceeded


class Problem(Exception):  # noqa: N818 - the field's term is "problem document" (RFC 9457)
    """A refusal or a fault with a code that ``portcullis explain`` knows.

    ``detail`` says what is wrong with this request: it may name fields, limits and rules, and
    must never quote the request's content or a secret. ``hint`` falls back to the table's.
    """

    def __init__(self, code: str, detail: str, *, hint: str | None = None) -> None:
        """Raise KeyError for a code that is not in the table: that is our bug."""
        super().__init__(f"{code}: {detail}")
        self.entry: Code = CODES[code]
        self.code = code
        self.detail = detail
        self.hint = hint or self.entry.hint
        self.credential = ""
        """What was refused, for the record: a credential's id or fingerprint."""
        self.approval = ""
        """The approval that the refused call waits for, or that was decided against it."""
        self.retry_after = 0
        """In how many seconds it is worth asking again; 0 where nobody can say."""
        self.over: Exceeded | None = None
        """The limit that it is a refusal of, if it is one."""

    @property
    def status(self) -> int:
        """The HTTP status that goes with the code."""
        return self.entry.status

    def document(self) -> dict[str, Any]:
        """The RFC 9457 problem document."""
        document = {
            "type": f"urn:portcullis:problem:{self.code}",
            "title": self.entry.title,
            "status": self.entry.status,
            "detail": self.detail,
            "code": self.code,
            "hint": self.hint,
        }
        document |= {"approval": self.approval} if self.approval else {}
        document |= {"retry_after": self.retry_after} if self.retry_after else {}
        return document | (self.over.members() if self.over else {})
