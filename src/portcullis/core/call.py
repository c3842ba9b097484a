"""What an agent asks for, in one shape for every protocol, and what came back."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Any

import msgspec

from portcullis.core.obligation import Obligations
from portcullis.core.principal import Principal, Session
from portcullis.core.trace import Trace


class Route(StrEnum):
    """The ways into the gate; each is a column of the matrix of controls."""

    LLM_JSON = "llm-json"
    LLM_STREAM = "llm-stream"
    MCP_HTTP = "mcp-http"
    MCP_HTTP_LEGACY = "mcp-http-legacy"
    MCP_STDIO = "mcp-stdio"
    GUARD = "guard"
    EGRESS = "egress"
    AUTHZEN = "authzen"
    EXT_AUTHZ = "ext-authz"


class Phase(StrEnum):
    """When a check looks: at what is asked, at what came back, at each piece of a stream."""

    REQUEST = "request"
    RESULT = "result"
    STREAM = "stream"


class Action(StrEnum):
    """What kind of thing is asked for; ``Call.name`` says which one.

    ========================  =====================================================
    MODEL                     name = the model asked for
    TOOL                      name = the tool, unqualified
    RESOURCE                  name = the resource's URI (read, subscribe, unsubscribe)
    PROMPT                    name = the prompt
    COMPLETE                  name = the prompt or resource whose argument is completed
    LIST                      name = tools, resources, resource_templates or prompts
    PROTOCOL                  name = the method (initialize, server/discover, ping, ...)
    SERVER_REQUEST            name = the method a *server* asks of the client (sampling, ...)
    EGRESS                    name = host:port; the arguments say what is asked of it
    ========================  =====================================================
    """

    MODEL = "model"
    TOOL = "tool"
    RESOURCE = "resource"
    PROMPT = "prompt"
    COMPLETE = "complete"
    LIST = "list"
    PROTOCOL = "protocol"
    SERVER_REQUEST = "server_request"
    EGRESS = "egress"


class RiskClass(StrEnum):
    """What an action can do to the world; unknown is DELETE, the highest."""

    READ = "read"
    MODIFY = "modify"
    EXTERNAL = "external"
    DELETE = "delete"


class ToolSpec(msgspec.Struct, frozen=True, kw_only=True):
    """A tool as its server describes it (tools/list), unverified.

    ``definition`` is all that it says, as JSON with sorted keys.
    """

    name: str
    input_schema: dict[str, Any]
    output_schema: dict[str, Any] | None = None
    definition: str = ""


class Questions(msgspec.Struct, frozen=True, kw_only=True):
    """What a server asked: the method of each question by its key, and the digest of them all."""

    methods: Mapping[str, str]
    digest: str


class Call(msgspec.Struct, frozen=True, kw_only=True):
    """One request, decoded. What is decided on is what is forwarded.

    ``server`` is the name of the upstream in our configuration (an MCP server or a model
    endpoint), never a label the caller supplied. ``method`` is the wire operation
    (``tools/call``, ``POST /v1/messages``). ``arguments`` are the tool's arguments, or the
    request's parameters. ``features`` are the provider-side tools and references that the
    request asks for (``web_search``, ``file_id``, ...): they act where no check sees it.
    ``payload`` is the parsed request; its canonical encoding is ``body``, which is what goes out.
    ``tool`` is the tool as its server listed it when it was called, None for one that it does not
    list: the call is decided, and its result judged, by that. ``asked`` are the questions
    of the server's that the payload's ``inputResponses`` answer. ``looked_up_for`` is the id of
    the call for whose sake the gate itself makes this one, empty for the agent's own. ``within``
    is, of a server's request whose answer goes to the server by itself, the calls during which it
    may have been made, and of a server's progress the call that it is of. ``obligations`` are what
    the grant asks, from when the line has it on.
    """

    id: str
    route: Route
    action: Action
    server: str
    name: str
    method: str
    arguments: dict[str, Any]
    payload: Any
    body: bytes
    features: tuple[str, ...] = ()
    stream: bool = False
    tool: ToolSpec | None = None
    asked: Questions | None = None
    looked_up_for: str = ""
    within: tuple[Call, ...] = ()
    obligations: Obligations | None = None


class Context(msgspec.Struct, frozen=True, kw_only=True):
    """Around a call: who, in which session, from where.

    ``source`` is the peer's address (``127.0.0.1:5123``, ``unix``, ``stdio``); ``trace_id`` is
    32 hex digits (W3C trace context); ``received_at`` is seconds since the epoch. ``trace`` takes
    the spans of a request that is traced.
    """

    principal: Principal
    session: Session | None
    source: str
    trace_id: str
    received_at: float
    trace: Trace | None = None


class Usage(msgspec.Struct, frozen=True, kw_only=True):
    """Tokens as the provider counted them (the truth) or None where it said nothing.

    Of ``input_tokens``, ``cached_tokens`` came from the provider's cache and ``stored_tokens``
    went to it: they have prices of their own.
    """

    input_tokens: int | None = None
    output_tokens: int | None = None
    cached_tokens: int = 0
    stored_tokens: int = 0


class ToolProposal(msgspec.Struct, frozen=True, kw_only=True):
    """A tool call inside a model's answer: ``arguments`` is its JSON text, as sent.

    ``choice`` says in which of several answers to one request it stands.
    """

    id: str
    name: str
    arguments: str
    choice: int = 0


class Result(msgspec.Struct, frozen=True, kw_only=True):
    """What came back, decoded. ``payload`` is the parsed answer that will be re-encoded.

    ``streamed`` is what of it went on before its end, in fields for the content store, if any.
    ``status`` is the HTTP status of a model endpoint's answer, 0 where there is none; ``waited`` is
    after how many seconds the upstream began to answer, 0 where that is not known. ``sent`` is how
    many bytes went the other way, of a connection that carried them, and ``counted`` how many of
    ``size`` were told to the checks while it did.
    """

    payload: Any
    size: int
    is_error: bool = False
    usage: Usage | None = None
    finish: str | None = None
    chunks: int = 0
    proposals: tuple[ToolProposal, ...] = ()
    streamed: dict[str, bytes] = {}
    status: int = 0
    waited: float = 0.0
    sent: int = 0
    counted: int = 0
