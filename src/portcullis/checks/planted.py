"""What a model is told besides: envelopes around what others wrote, and how to read them."""

from __future__ import annotations

import hashlib
import hmac
from typing import Any, Final

from portcullis.checks.content import Content
from portcullis.checks.rules import Rules
from portcullis.core.call import Call
from portcullis.core.inspection import Envelope, Path, Source, Text
from portcullis.inspection.canary import Canaries
from portcullis.inspection.envelope import neutralise, system_text, unwrap, wrap
from portcullis.wire.prompts import with_system
from portcullis.wire.texts import replaced

PLACE: Final = "system prompt"
"""Where each session's canary is planted."""

_SESSIONS: Final = 1024
"""Of so many our text is remembered."""
_FOREIGN: Final = frozenset({Source.TOOL, Source.DOCUMENT})
_PROMPTS: Final = frozenset({"messages", "input", "system", "instructions"})
"""Members of requests in which a text of the system is a prompt, and not a setting."""


class Planted:
    """Marks requests to models. ``key`` makes the nonces, which nobody else can guess."""

    def __init__(self, key: bytes, canaries: Canaries) -> None:
        self._key = key
        self._canaries = canaries
        self._known: dict[tuple[str, Envelope, bool], str] = {}

    def wrapped(self, text: str, session: str) -> str:
        """A text in the session's envelope, for whoever passes it to a model."""
        return wrap(neutralise(text), self._nonce(session), Envelope.DELIMIT)

    def marked(
        self, call: Call, payload: dict[str, Any], content: Content, rules: Rules, session: str
    ) -> dict[str, Any]:
        """A request to a model: others' content in envelopes, and our text after the system's.

        Changes of speaker in others' content lose their form. A request that holds neither
        others' content nor a system prompt stays as it is.
        """
        foreign = [text for text in content.texts if text.source in _FOREIGN]
        wraps: dict[Path, Any] = {}
        for text in foreign:
            if not (text.name or text.number or text.path in content.fixed):
                was = _at(payload, text.path)
                new = self._marked(was, rules.envelope, session)
                if new != was:
                    wraps[text.path] = new
        payload = replaced(payload, wraps) if wraps else payload
        if not (foreign or content.opaque or any(map(_prompts, content.texts))):
            return payload
        ours = self._ours(session, rules.envelope, canaries=rules.canaries)
        return with_system(call.method, payload, ours) if ours else payload

    def _ours(self, session: str, mode: Envelope, *, canaries: bool) -> str:
        """Our text for a session: it is always the same, and its requests come one by one."""
        key, known = (session, mode, canaries), self._known
        ours = known.get(key)
        if ours is None:
            canary = self.canary(session) if canaries else ""
            ours = system_text(self._nonce(session), mode, canary)
            if len(known) >= _SESSIONS:
                known.pop(next(iter(known), key), None)
            known[key] = ours
        return ours

    def canary(self, session: str) -> str:
        """What may never be seen again."""
        return self._canaries.token(session, PLACE)

    def _marked(self, text: str, mode: Envelope, session: str) -> str:
        nonce = self._nonce(session)
        inner = unwrap(text)
        if wrap(inner, nonce, Envelope.DELIMIT) != text:
            inner = text  # an envelope, if it is one, is none of ours
        return wrap(neutralise(inner), nonce, mode)

    def _nonce(self, session: str) -> str:
        return hmac.new(self._key, f"envelope\0{session}".encode(), hashlib.sha256).hexdigest()


def _prompts(text: Text) -> bool:
    return text.source is Source.SYSTEM and text.path[0] in _PROMPTS


def _at(payload: Any, path: Path) -> str:
    for part in path:
        payload = payload[part]
    return str(payload)
