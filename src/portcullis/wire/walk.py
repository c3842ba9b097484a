"""A walk over a JSON value that misses no text: what the readers of all protocols share.

Left out are only words fixed by an API: its members' names, and the values of its types and
roles. They are a closed list, so nothing can be said with them.
"""

from __future__ import annotations

import base64
import binascii
import re
import string
from typing import Any, Final
from urllib.parse import unquote_to_bytes

from portcullis.core.errors import Problem
from portcullis.core.inspection import JSON_TEXT, Blob, Path, Source, Text
from portcullis.wire.json import decode

MIN_NUMBER: Final = 10**6
"""Numbers of fewer than seven digits are not texts."""
MIN_DIGITS: Final = 7
_EXACT: Final = 1e22
"""Below it every float without a fraction is written as the integer that it is."""

_API: Final = """
    role content text type name id object model messages message choices index finish_reason usage
    created delta system user assistant developer tool function tools tool_calls tool_call_id
    function_call arguments parameters description properties required strict items enum default
    title format schema additionalProperties anyOf oneOf allOf minimum maximum minLength maxLength
    pattern const string number integer boolean array null image image_url url detail audio
    input_audio data file file_data file_id filename refusal annotations logprobs stream
    stream_options include_usage temperature top_p max_tokens max_completion_tokens stop seed n
    tool_choice response_format json_schema json_object metadata input output instructions
    input_text output_text input_image input_file function_call_output call_id status completed
    in_progress incomplete reasoning summary summary_text reasoning_text encrypted_content item
    custom custom_tool_call custom_tool_call_output part output_index content_index sequence_number
    item_id response thinking signature redacted_thinking tool_use tool_result tool_use_id is_error
    source media_type base64 document citations cache_control ephemeral ttl input_schema
    search_result server_tool_use content_block content_block_start content_block_delta
    content_block_stop message_start message_delta message_stop text_delta thinking_delta
    input_json_delta signature_delta partial_json stop_reason stop_sequence end_turn tool_calls
    stop_sequences length content_filter input_tokens output_tokens total_tokens prompt_tokens
    completion_tokens prompt_tokens_details completion_tokens_details cached_tokens
    reasoning_tokens cache_creation_input_tokens cache_read_input_tokens service_tier
    system_fingerprint obfuscation parallel_tool_calls jsonrpc method params result error code
    structuredContent isError mimeType uri resource resource_link blob annotations inputSchema
    outputSchema contents _meta progressToken nextCursor cursor resources prompts
    resourceTemplates uriTemplate ref argument value values context capabilities clientInfo
    serverInfo protocolVersion version token bytes top_logprobs logprob chat.completion
    chat.completion.chunk embedding embeddings ping list auto none any
    resultType complete input_required ttlMs cacheScope supportedVersions
    io.modelcontextprotocol/protocolVersion io.modelcontextprotocol/clientCapabilities
    io.modelcontextprotocol/clientInfo io.modelcontextprotocol/subscriptionId
    """
WORDS: Final = frozenset(_API.split())
_KINDS: Final = frozenset(
    {"type", "role", "object", "status", "finish_reason", "stop_reason", "resultType"}
)
"""Members whose values, where they are of ``WORDS``, are the API's and say nothing."""

_ONE_FORM: Final = """
    id name url uri tool_name server_name server_label file_name filename media_type mimeType
    format ttl mode detail language status encoding container_id role type
    """
_FIXED: Final = frozenset(_ONE_FORM.split())
"""Members around a passage for which the API or another member demands one form."""

_TIMES: Final = frozenset({"created", "created_at", "completed_at", "expires_at"})
_LATEST: Final = 2**33
"""Ten digits of seconds since the epoch: no number that anyone has to hide is written in them."""
_PLAIN_HEAD: Final = re.compile(
    r"data:[a-z]{1,20}/[A-Za-z0-9.+-]{1,80}(;charset=[A-Za-z0-9-]{1,20})?(;base64)?"
)
_NOTHING: Final[frozenset[str]] = frozenset()
_SEALED: Final = 96
"""No provider's ciphertext or signature takes fewer characters; most secrets do."""
_BODY: Final = re.compile(r"[A-Za-z0-9+/_-]+")
_STANDARD: Final = str.maketrans("-_", "+/")


class Walk:
    """Collects texts and blobs.

    With ``passages`` (a request to a model) the sources TOOL and DOCUMENT are kept for passages,
    which can be put into an envelope; the ids, names, URLs and numbers around them count as the
    model's.
    With ``parse`` false JSON texts are not read but collected whole, in ``documents``.
    """

    __slots__ = ("_parse", "_passages", "blobs", "documents", "texts")

    def __init__(self, *, passages: bool = False, parse: bool = True) -> None:
        self.texts: list[Text] = []
        self.blobs: list[Blob] = []
        self.documents: list[Text] = []
        self._passages = passages
        self._parse = parse

    def free(
        self,
        value: Any,
        path: Path,
        source: Source,
        key: str = "",
        opaque: frozenset[str] = _NOTHING,
    ) -> None:
        """Everything in a value; strings under a name in ``opaque`` may be the provider's own."""
        kind = type(value)
        if kind is str:
            if key in opaque and is_sealed(value):
                self.texts.append(Text(path=path, text=value, source=Source.MODEL, sealed=True))
            elif value:
                self.string(value, path, self._around(source) if key in opaque else source, key)
        elif kind is dict:
            for name, item in value.items():
                self.member(name, (*path, name), source)
                if item is not None:
                    self.free(item, (*path, name), source, name, opaque)
        elif kind is list:
            for index, item in enumerate(value):
                self.free(item, (*path, index), source, key, opaque)
        elif kind is int or kind is float:
            self._number(value, path, source, key)

    def string(self, value: str, path: Path, source: Source, key: str) -> None:
        """One string that is not empty."""
        if key in _KINDS and value in WORDS:
            return
        if self._passages and fixed(key):
            source = self._around(source)
        self.texts.append(Text(path=path, text=value, source=source, key=key))

    def around(self, name: str, value: Any, path: Path, source: Source) -> None:
        """A member of an API's own object at ``path``. Its times are not texts."""
        path = (*path, name)
        if type(value) is str:
            if value:
                self.string(value, path, source, name)
        elif name in _TIMES and type(value) is int and 0 <= value < _LATEST:
            return
        elif value is not None:
            self.free(value, path, source, name)
        self.member(name, path, source)

    def member(self, name: str, path: Path, source: Source) -> None:
        """The name of an object's member."""
        if name and name not in WORDS:
            source = self._around(source)
            self.texts.append(Text(path=path, text=name, source=source, name=True))

    def _around(self, source: Source) -> Source:
        """The source of what is no passage and stands beside one."""
        if self._passages and (source is Source.TOOL or source is Source.DOCUMENT):
            return Source.MODEL
        return source

    def _number(self, value: float, path: Path, source: Source, key: str) -> None:
        if type(value) is int:
            if -MIN_NUMBER < value < MIN_NUMBER:
                return
            text = str(value)
        else:
            whole = value.is_integer() and abs(value) < _EXACT
            text = str(int(value)) if whole else repr(value)
            if sum(character.isdigit() for character in text) < MIN_DIGITS:
                return
        source = self._around(source)
        self.texts.append(Text(path=path, text=text, source=source, key=key, number=True))

    def json_text(self, value: Any, path: Path, source: Source, key: str) -> None:
        """A string that is a JSON document; what is not is a text like others."""
        if type(value) is not str:
            self.free(value, path, source, key)
        elif not self._parse:
            if value:
                self.documents.append(Text(path=path, text=value, source=source, key=key))
        elif value and value != "{}":
            try:
                parsed = decode(value.encode())
            except Problem:
                self.string(value, path, source, key)
            else:
                self.free(parsed, (*path, JSON_TEXT), source, key)

    def media(self, value: Any, path: Path, source: Source, key: str) -> None:
        """A URL to fetch, which is a text and a reference, or one that holds its data."""
        if type(value) is not str:
            self.free(value, path, source, key)
            return
        if not value.startswith("data:"):
            self.reference(value, path, source, key)
            return
        head, _, data = value.partition(",")
        if not _PLAIN_HEAD.fullmatch(head):
            self.string(value, path, source, key)  # something is said in the head
        if not head.endswith(";base64"):
            data = base64.b64encode(unquote_to_bytes(data)).decode()
        self.data(data, path, source, key, head[5:].partition(";")[0])

    def reference(self, value: Any, path: Path, source: Source, key: str) -> None:
        """What stands for content elsewhere: an address or an id."""
        self.free(value, path, source, key)
        self.blobs.append(Blob(path=path, data="", media_type="", source=source))

    def data(self, value: Any, path: Path, source: Source, key: str, media_type: Any) -> None:
        """Base64 of a part that is not text. What is not base64 is read as the text it is."""
        if type(value) is not str:
            self.free(value, path, source, key)
            return
        kind = media_type if type(media_type) is str else ""
        self.blobs.append(Blob(path=path, data=value, media_type=kind, source=source))
        if value and not is_base64(value):
            self.string(value, path, source, key)


def fixed(key: str) -> bool:
    """Whether a member of this name has a form that an envelope would break."""
    return key in _FIXED or key.endswith("_id")


def is_sealed(value: str) -> bool:
    """Whether a string can be a ciphertext or a signature: long, in base64, and of no text."""
    body = value.rstrip("=")
    if len(body) < _SEALED or not _BODY.fullmatch(body) or not body.strip(string.hexdigits):
        return False
    return not _says_text(body)


def is_vector(value: str) -> bool:
    """Whether base64 can be a vector of 32-bit floats, and is of no text."""
    floats = len(value.rstrip("=")) * 3 // 4 % 4 == 0
    return floats and is_base64(value) and not _says_text(value)


def _says_text(value: str) -> bool:
    """Whether base64 of either alphabet, padded or not, is that of UTF-8."""
    body = value.rstrip("=")
    whole = body[: len(body) - (len(body) % 4 == 1)].translate(_STANDARD)
    try:
        binascii.a2b_base64(whole + "==="[: -len(whole) % 4]).decode()
    except UnicodeDecodeError:
        return False
    return True


def is_base64(data: str) -> bool:
    """Whether a string is base64, padded, and nothing else (RFC 4648 section 4)."""
    try:
        binascii.a2b_base64(data, strict_mode=True)
    except ValueError:
        return False
    return True
