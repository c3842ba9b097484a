"""The vocabulary of inspection: what text a call carries, what was seen in it, what to do then."""

from __future__ import annotations

import re
from collections.abc import Mapping
from enum import StrEnum
from typing import Final, TypeAlias

import msgspec

from portcullis.core.call import Action


class Channel(StrEnum):
    """Which way content goes, seen from the agent."""

    TO_MODEL = "to_model"
    FROM_MODEL = "from_model"
    TO_TOOL = "to_tool"
    FROM_TOOL = "from_tool"


def request_channel(action: Action) -> Channel:
    """Which way a request's content goes; a server that asks speaks to the agent."""
    if action is Action.MODEL:
        return Channel.TO_MODEL
    return Channel.FROM_TOOL if action is Action.SERVER_REQUEST else Channel.TO_TOOL


def result_channel(action: Action) -> Channel:
    """Which way an answer's content goes; the answer to a server's request goes to the server."""
    if action is Action.MODEL:
        return Channel.FROM_MODEL
    return Channel.TO_TOOL if action is Action.SERVER_REQUEST else Channel.FROM_TOOL


class Source(StrEnum):
    """Who wrote a text. Only system and user may instruct a model."""

    SYSTEM = "system"
    USER = "user"
    TOOL = "tool"
    DOCUMENT = "document"
    MODEL = "model"


class Category(StrEnum):
    """Groups of entities; policy may name a group where it could name an entity."""

    PERSONAL = "personal"
    FINANCIAL = "financial"
    IDENTITY = "identity"
    HEALTH = "health"
    TECHNICAL = "technical"
    SECRET = "secret"  # noqa: S105 - the name of a group
    EXFILTRATION = "exfiltration"


class Treatment(StrEnum):
    """What is done with what was found, from the mildest to the strictest.

    ALLOW: it is not even looked for. TOKENISE: a placeholder such as ``<EMAIL_ADDRESS_1>`` stands
    for it within the session, and the way back restores it. MASK: a text that tells nothing.
    HASH: a keyed digest, the same for the same value and subject. WRAP (injection only): it goes
    on in a marked envelope. STRIP (injection only): the text is taken out. HOLD: not without a
    human. BLOCK: the call, or the stream, ends here.
    """

    ALLOW = "allow"
    TOKENISE = "tokenise"
    MASK = "mask"
    HASH = "hash"
    WRAP = "wrap"
    STRIP = "strip"
    HOLD = "hold"
    BLOCK = "block"


STRICTNESS: Final = {treatment: rank for rank, treatment in enumerate(Treatment)}


class Envelope(StrEnum):
    """How content from tools and documents is marked for the model (spotlighting)."""

    DELIMIT = "delimit"
    DATAMARK = "datamark"
    OFF = "off"


Path: TypeAlias = tuple[str | int, ...]
"""Where in a JSON value: keys and indexes. The member ``JSON_TEXT`` stands between a string that
is itself a JSON document and the path within that document."""

JSON_TEXT: Final = "\0json"
"""No key of a document that the gate reads can hold U+0000."""


SHOWN: Final = re.compile(
    r"[$_]{0,2}[A-Za-z][a-z]{0,23}(?:(?:[_.-][A-Za-z]|[A-Z])[a-z]{0,23}){0,5}[0-9]{0,2}"
)
"""A member's name that may stand in a record or an error: a few words, and so no content."""


class Text(msgspec.Struct, frozen=True, kw_only=True):
    """A piece of text in a payload.

    ``key`` is the name of the member that holds it (for lists, the list's). ``number`` says that
    the value is a number, written out. ``name`` says that it is an object's key, not a value;
    then ``path`` is the path of the member. ``sealed`` says that it is enciphered or signed by a
    provider: only canaries are looked for in it, since chance finds data in ciphertext.
    """

    path: Path
    text: str
    source: Source
    key: str = ""
    number: bool = False
    name: bool = False
    sealed: bool = False


class Blob(msgspec.Struct, frozen=True, kw_only=True):
    """A part that is not text: ``data`` is its base64 text, or empty for a reference (a URL)."""

    path: Path
    data: str
    media_type: str
    source: Source


class Match(msgspec.Struct, frozen=True, kw_only=True):
    """Something that a rule found: ``start`` and ``end`` count characters of the text."""

    entity: str
    category: Category
    start: int
    end: int
    score: float
    rule: str


class InjectionVerdict(StrEnum):
    """What a score means, by the thresholds of its source."""

    CLEAN = "clean"
    SUSPECT = "suspect"
    INJECTION = "injection"


class InjectionScore(msgspec.Struct, frozen=True, kw_only=True):
    """How much a text looks like instructions to a model, 0 to 1, and why (names of rules)."""

    score: float
    verdict: InjectionVerdict
    reasons: tuple[str, ...] = ()


class Leak(msgspec.Struct, frozen=True, kw_only=True):
    """A canary that was seen: the ``place`` it was planted in, as people know it."""

    place: str
    encoding: str = ""


class Edit(msgspec.Struct, frozen=True, kw_only=True):
    """Put ``text`` in the place of the characters from ``start`` to ``end``."""

    start: int
    end: int
    text: str


class Profile(msgspec.Struct, frozen=True, kw_only=True):
    """What policy wants done for one caller. Every part is complete: nothing is left undefined.

    ``treatments`` maps, for each channel, an entity's or a category's name to a treatment; an
    entity's own name goes before its category's, and what neither names is allowed. ``injection``
    is what is done with a text of that source whose verdict is INJECTION; a SUSPECT one is noted.
    ``opaque`` is what is done with content that cannot be read as text. ``links`` are the host
    names (and their subdomains) to which links and images may lead.
    """

    treatments: Mapping[Channel, Mapping[str, Treatment]]
    injection: Mapping[Source, Treatment]
    opaque: Mapping[Channel, Treatment]
    envelope: Envelope
    canaries: bool
    links: tuple[str, ...] = ()

    def treatment(self, channel: Channel, entity: str, category: Category) -> Treatment:
        """What is done with an entity on a channel."""
        table = self.treatments[channel]
        return table.get(entity) or table.get(category) or Treatment.ALLOW
