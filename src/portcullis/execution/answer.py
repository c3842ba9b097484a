"""The answer to one request, read from the bytes as they come: no sockets, no time.

llhttp, without any leniency, refuses what RFC 9112 leaves ambiguous: obsolete folding, bare LF or
CR, white space before a colon, several or signed lengths, a length beside a transfer coding, odd
chunk sizes. What it lets pass and we do not is refused here.
"""

from __future__ import annotations

from typing import Final, NoReturn

import httptools

from portcullis.core.errors import Problem

MAX_HEAD: Final = 32_768
"""So many bytes may come in a row that are no body: heads, interim answers, chunks' framing."""
MAX_FIELDS: Final = 256


class Answer:
    """One final answer, of at most ``limit`` bytes of body.

    ``arrived`` says that its head is there (``status``, ``fields``), ``complete`` that all of it
    is, ``reusable`` that the connection may then carry another exchange. An answer is made for
    each request, so that nothing of one exchange is left for the next.
    """

    __slots__ = ("_limit", "_parser", "_pieces", "_problem", "_quiet", "arrived", "complete",
                 "fields", "reusable", "size", "status", "waiting")  # fmt: skip

    def __init__(self, limit: int) -> None:
        self.status = 0
        self.fields: list[tuple[bytes, bytes]] = []
        self.arrived = False
        self.complete = False
        self.reusable = False
        self.size = 0
        """Bytes of body so far."""
        self.waiting = 0
        """Bytes of body that ``take`` would return."""
        self._limit = limit
        self._pieces: list[bytes] = []
        self._quiet = 0
        self._problem: Problem | None = None
        self._parser = httptools.HttpResponseParser(self)

    def feed(self, data: bytes) -> None:
        """Take what the peer sent; ``data`` is not empty.

        Raises Problem PC5004 for a body beyond the limit, PC5003 for a head and PC5008 for a
        body that is not HTTP as we accept it. Whatever follows a complete answer was not asked
        for: it is dropped, and the connection is not reusable.
        """
        if self._quiet == 0 and not self.arrived and not data.startswith(b"H"):
            raise _malformed()  # llhttp would take empty lines, and other protocols, for HTTP
        self._quiet += len(data)
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade):
            if not self.complete:
                raise self._problem or (_broken() if self.arrived else _malformed()) from None
            self.reusable = False
        if self._quiet > MAX_HEAD and not self.complete:
            raise _broken() if self.arrived else _too_long()

    def end(self) -> None:
        """Take the peer's end: it completes a body that has neither length nor chunks.

        That is RFC 9112 section 6.3 rule 8. Problem PC5008 (or PC5001, before the head) when it
        does not complete the answer.
        """
        if self.complete:
            return
        if not self.arrived:
            raise Problem("PC5001", "the upstream broke the connection before it answered")
        names = {name.lower() for name, _ in self.fields}
        if b"content-length" in names or b"transfer-encoding" in names:
            raise Problem("PC5008", "the upstream broke off its answer")
        self.complete = True

    def take(self) -> bytes:
        """Return the body that came since the last take."""
        pieces = self._pieces
        if not pieces:
            return b""
        self._pieces = []
        self.waiting = 0
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    # What follows is called by the parser. An exception here stops it.

    def on_message_begin(self) -> None:
        """Stop at a second answer."""
        if self.complete:
            raise _malformed()

    def on_header(self, name: bytes, value: bytes) -> None:
        """Keep a field of the head; trailers are dropped."""
        if not self.arrived:
            self.fields.append((name, value))

    def on_headers_complete(self) -> None:
        """Judge a head; an interim one is dropped."""
        fields = self.fields
        if len(fields) > MAX_FIELDS or (
            self._quiet > MAX_HEAD and sum(len(n) + len(v) for n, v in fields) > MAX_HEAD
        ):
            self._refuse(_too_long())
        status = self._parser.get_status_code()
        version = self._parser.get_http_version()
        if version not in {"1.1", "1.0"}:
            self._refuse(_malformed())
        if 100 <= status < 200:  # noqa: PLR2004 - RFC 9110 section 15.2
            if status == 101:  # noqa: PLR2004 - switching protocols
                self._refuse(Problem("PC5003", "the upstream wants to switch protocols"))
            fields.clear()
            return
        codings = [value for name, value in fields if name.lower() == b"transfer-encoding"]
        if codings and (version == "1.0" or len(codings) > 1 or codings[0].lower() != b"chunked"):
            self._refuse(Problem("PC5003", "the answer's Transfer-Encoding is not just chunked"))
        self.status = status
        self.arrived = True

    def on_body(self, body: bytes) -> None:
        """Keep a piece of the body."""
        self._quiet = 0
        self.size += len(body)
        if self.size > self._limit:
            self._refuse(Problem("PC5004", f"the answer exceeds {self._limit} bytes"))
        self.waiting += len(body)
        self._pieces.append(body)

    def on_message_complete(self) -> None:
        """Note the end of the final answer."""
        if self.arrived:
            self.complete = True
            self.reusable = self._parser.should_keep_alive()

    def _refuse(self, problem: Problem) -> NoReturn:
        self._problem = problem
        raise problem


def _malformed() -> Problem:
    return Problem("PC5003", "the upstream's answer is not HTTP that we accept")


def _too_long() -> Problem:
    return Problem("PC5003", f"the answer's head exceeds {MAX_HEAD} bytes or {MAX_FIELDS} fields")


def _broken() -> Problem:
    return Problem("PC5008", "the upstream's body is not framed as HTTP says")
