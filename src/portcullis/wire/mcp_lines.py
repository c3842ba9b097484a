"""MCP over standard streams: one JSON-RPC message per line, framed without I/O."""

from __future__ import annotations

from portcullis.core.errors import Problem


class Lines:
    """Turns bytes, cut anywhere, into lines of at most ``limit`` bytes."""

    __slots__ = ("_limit", "_skipping", "_tail")

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._tail = bytearray()
        self._skipping = False

    def feed(self, chunk: bytes) -> list[bytes | Problem]:
        """Take the next bytes, return the lines that they complete, in order.

        Blank lines are left out. In the place of a line that is too long stands Problem PC1007,
        as soon as that is known; the rest of it is skipped.
        """
        found: list[bytes | Problem] = []
        *ended, rest = chunk.split(b"\n")
        for piece in ended:
            if self._take(piece, found) and (line := bytes(self._tail).strip(b" \t\r")):
                found.append(line)
            self._tail.clear()
            self._skipping = False
        self._take(rest, found)
        return found

    def end(self) -> Problem | None:
        """What is wrong with how the stream ended: PC1001 when it broke off within a line."""
        if self._tail.strip():
            return Problem("PC1001", "the stream ended within a message")
        return None

    def _take(self, piece: bytes, found: list[bytes | Problem]) -> bool:
        """Add to the line at hand; whether it is still one to keep."""
        if self._skipping:
            return False
        self._tail += piece
        if len(self._tail) > self._limit:
            found.append(Problem("PC1007", f"a message is larger than {self._limit} bytes"))
            self._tail.clear()
            self._skipping = True
        return not self._skipping
