"""The table of error codes: what each means and what to do about it.

Ranges: PC1 request and wire, PC2 identity, PC3 policy, PC4 containment, PC5 upstream and
execution, PC6 the record, PC7 configuration and command line, PC8 telling people, PC9 faults of
our own.
``rpc`` is the JSON-RPC error code used on MCP routes.
"""

from __future__ import annotations

from typing import Final

import msgspec


class Code(msgspec.Struct, frozen=True):
    """One row: HTTP status, JSON-RPC code, a title, and what the reader can do."""

    status: int
    rpc: int
    title: str
    hint: str


RANGES: Final[dict[str, str]] = {
    "PC1": "the request itself, before any decision",
    "PC2": "who is asking",
    "PC3": "what policy, the session or the tool's schema allows",
    "PC4": "containment: cut off by an operator, or the feed is stale",
    "PC5": "the upstream, after the decision",
    "PC6": "the audit log: nothing is done unrecorded",
    "PC7": "configuration and command line",
    "PC8": "telling people outside the gate, and what they answer there",
    "PC9": "a fault of the gate itself; it fails closed",
}

CODES: Final[dict[str, Code]] = {
    # Range PC1, the request itself
    "PC1001": Code(400, -32700, "Not valid JSON", "Send one JSON document in UTF-8."),
    "PC1002": Code(400, -32700, "Not valid UTF-8", "Encode the body as UTF-8."),
    "PC1003": Code(400, -32600, "Duplicate key in an object", "Name each key once."),
    "PC1004": Code(400, -32600, "NUL character in a string", "Remove U+0000 from all strings."),
    "PC1005": Code(400, -32600, "Nested too deeply", "Keep JSON at most 64 levels deep."),
    "PC1006": Code(
        400, -32600, "Number out of range", "Integers must fit in 64 bits; floats must be finite."
    ),
    "PC1007": Code(413, -32600, "Body too large", "Send less, or raise limits.body_bytes."),
    "PC1008": Code(415, -32600, "Unsupported media type", "Send Content-Type: application/json."),
    "PC1009": Code(405, -32600, "Method not allowed", "See the API reference for the method."),
    "PC1010": Code(404, -32601, "No such route", "See `portcullis up` for the routes it serves."),
    "PC1011": Code(400, -32600, "Malformed or ambiguous headers", "Send each header once."),
    "PC1012": Code(408, -32600, "The request did not arrive in time", "Send the body faster."),
    "PC1013": Code(415, -32600, "Compressed body", "Send the body without Content-Encoding."),
    "PC1014": Code(403, -32600, "Foreign web page", "Call the gate from a program, not a page."),
    "PC1015": Code(413, -32600, "Too many values", "Send fewer, in several requests."),
    "PC1020": Code(
        400,
        -32602,
        "The request does not fit its API's shape",
        "Check the field named in the detail.",
    ),
    "PC1021": Code(
        400,
        -32602,
        "Unknown request field",
        "The gate does not know what this field does; remove it.",
    ),
    "PC1030": Code(400, -32600, "Not a JSON-RPC 2.0 message", "See the MCP specification."),
    "PC1031": Code(400, -32600, "JSON-RPC batch refused", "Send one message per request."),
    "PC1032": Code(
        400,
        -32020,
        "Routing header does not match the body",
        "Mcp-Method, Mcp-Name and Mcp-Param-* must repeat what the body says.",
    ),
    "PC1033": Code(
        400, -32022, "Unsupported MCP protocol version", "Use one of the versions listed."
    ),
    "PC1034": Code(404, -32601, "Unknown MCP method", "The gate forwards only methods it knows."),
    "PC1035": Code(
        404, -32600, "Unknown or foreign MCP session", "Initialize a session of your own."
    ),
    "PC1036": Code(400, -32600, "No request is waiting for this response", "Answer each once."),
    "PC1037": Code(
        400, -32602, "Unknown or foreign requestState", "Retry with the state you were given."
    ),
    "PC1038": Code(406, -32600, "Not acceptable", "Accept application/json and text/event-stream."),
    # Range PC2, identity
    "PC2001": Code(
        401, -32001, "No credential", "Come with an SVID or a token: `portcullis agent connect`."
    ),
    "PC2002": Code(
        401,
        -32001,
        "Invalid credential",
        "Get one at POST /v1/token, as `portcullis agent connect` does.",
    ),
    "PC2003": Code(401, -32001, "Expired credential", "Get a new one at POST /v1/token."),
    "PC2004": Code(
        403, -32001, "Not for this principal", "Another kind of principal may, or another role."
    ),
    "PC2005": Code(401, -32001, "Two credentials in one request", "Send exactly one."),
    "PC2006": Code(403, -32001, "The session is closed or expired", "Open a new session."),
    "PC2007": Code(403, -32001, "Unknown principal", "Register it: `portcullis agent create`."),
    "PC2008": Code(400, -32600, "Token request refused", "See RFC 8693 for its parameters."),
    "PC2009": Code(409, -32600, "It exists already", "Choose another name."),
    "PC2010": Code(
        404, -32600, "No such session or principal", "Check the name; a session may have ended."
    ),
    "PC2020": Code(
        401, -32001, "No client certificate", "Show your SVID: `portcullis agent connect`."
    ),
    "PC2021": Code(401, -32001, "Certificate not trusted", "Get an SVID of this trust domain."),
    "PC2022": Code(401, -32001, "Certificate not valid now", "Renew the SVID; check your clock."),
    "PC2023": Code(401, -32001, "Not exactly one URI in the certificate", "Use an X.509-SVID."),
    "PC2024": Code(401, -32001, "Malformed SPIFFE ID", "See SPIFFE-ID.md section 2."),
    "PC2025": Code(401, -32001, "An authority's certificate as a leaf", "Use an X.509-SVID."),
    "PC2026": Code(401, -32001, "Key usage not that of an SVID", "Use an X.509-SVID."),
    "PC2027": Code(401, -32001, "Wrong trust domain", "Federate with it, or use an ID of ours."),
    "PC2030": Code(
        401, -32001, "Algorithm not allowed", "Tokens are signed as their kind demands."
    ),
    "PC2031": Code(401, -32001, "Signature or key wrong", "Get a new token."),
    "PC2032": Code(401, -32001, "Wrong audience", "Ask for a token for this gate."),
    "PC2033": Code(401, -32001, "Wrong issuer", "Get a token from this gate's /v1/token."),
    "PC2034": Code(401, -32001, "Token not valid yet", "Check both clocks."),
    "PC2035": Code(401, -32001, "Token of another kind", "Show the kind that is asked for here."),
    "PC2036": Code(401, -32001, "Token used before", "Get a new one for each exchange."),
    "PC2037": Code(401, -32001, "Token valid for too long", "Ask for minutes, not hours."),
    "PC2040": Code(401, -32001, "Token without its key", "Show its certificate or a DPoP proof."),
    "PC2041": Code(401, -32001, "Token of another certificate", "Get one for this certificate."),
    "PC2042": Code(401, -32001, "DPoP proof malformed", "See RFC 9449 section 4.2."),
    "PC2043": Code(401, -32001, "DPoP proof's signature wrong", "Sign it with the key in it."),
    "PC2044": Code(401, -32001, "DPoP proof for another request", "Sign this method and URL."),
    "PC2045": Code(401, -32001, "DPoP proof not of now", "Make one per request; check your clock."),
    "PC2046": Code(401, -32001, "DPoP proof used before", "Make a new proof for each request."),
    "PC2047": Code(401, -32001, "DPoP proof by another key", "Use the key the token is bound to."),
    "PC2048": Code(
        401, -32001, "DPoP proof for another token", "Put this token's hash into `ath`."
    ),
    "PC2049": Code(
        401, -32001, "Token bound to no key", "Get a bound one: `portcullis agent connect`."
    ),
    "PC2050": Code(400, -32001, "Scope refused", "Ask for no more than the agent may use."),
    "PC2051": Code(403, -32001, "May not act for it", "The token names who may (`may_act`)."),
    "PC2052": Code(400, -32001, "Delegation malformed or too deep", "See docs/identity.md."),
    "PC2060": Code(
        403, -32001, "Not attested", "Add an entry for it: `portcullis agent register`."
    ),
    "PC2061": Code(
        403, -32001, "Join token unknown, used or expired", "Get one: `portcullis agent join`."
    ),
    "PC2062": Code(403, -32001, "Service-account token refused", "Check audience and cluster."),
    "PC2063": Code(400, -32001, "Certificate request refused", "Send a P-256 or Ed25519 PKCS #10."),
    "PC2064": Code(429, -32001, "Too many failed enrolments", "Wait; the time is in the detail."),
    "PC2070": Code(401, -32001, "Login refused", "Check name, password and one-time code."),
    "PC2071": Code(429, -32001, "Too many failed logins", "Wait; the time is in the detail."),
    "PC2072": Code(401, -32001, "ID token refused", "Log in again at your identity provider."),
    "PC2073": Code(409, -32600, "Not in this state", "See the table in docs/identity.md."),
    "PC2080": Code(
        421, -32001, "Not under this name", "Use a name of `listen.names`, or set `console.origin`."
    ),
    "PC2081": Code(
        403, -32001, "Not sent by a page of the console", "Load the page again and repeat it there."
    ),
    "PC2082": Code(
        403, -32001, "The login is too old for this", "Log in again; then do it within 5 minutes."
    ),
    "PC2083": Code(401, -32001, "Passkey refused", "Log in another way: it may be removed."),
    "PC2084": Code(
        401,
        -32001,
        "The passkey's counter went back",
        "There may be a copy of it: remove it, and add a new one.",
    ),
    "PC2085": Code(409, -32001, "No passkey can be added here", "See docs/console.md."),
    "PC2086": Code(
        403, -32001, "A passkey is asked for", "Log in at the console and add one; then use it."
    ),
    "PC2087": Code(
        401, -32001, "Link used, expired or not one", "Get another: `portcullis console`."
    ),
    # Range PC3, policy
    "PC3001": Code(403, -32003, "Not allowed by policy", "Ask the policy's owner for a grant."),
    "PC3002": Code(403, -32003, "Denied by policy", "The role's denied_tools name it."),
    "PC3003": Code(403, -32003, "Unknown tool", "The server does not offer this tool."),
    "PC3004": Code(403, -32003, "Outside the row scope", "Use the session's own subject."),
    "PC3005": Code(403, -32003, "Model not allowed", "Use a model that the role lists."),
    "PC3006": Code(
        403,
        -32003,
        "Provider-side execution or reference refused",
        "It acts where no check sees it; policy can allow it by name.",
    ),
    "PC3007": Code(403, -32003, "Outside the task's grant", "The session declared other tools."),
    "PC3008": Code(403, -32003, "A session is required", "Let the application open a session."),
    "PC3009": Code(403, -32003, "Agent has no role", "Add the agent to the policy."),
    "PC3010": Code(403, -32602, "Arguments do not fit the tool's schema", "See tools/list."),
    "PC3011": Code(403, -32602, "Suspicious argument value", "See the field named in the detail."),
    "PC3012": Code(403, -32003, "Argument outside its bounds", "See the policy's tools section."),
    "PC3013": Code(403, -32003, "Outside the token's scope", "Get a token with this in its scope."),
    "PC3014": Code(403, -32003, "Not allowed to the delegator", "Delegation only ever narrows."),
    "PC3020": Code(
        403, -32003, "A canary left its place", "Somebody repeats what it was not told."
    ),
    "PC3015": Code(
        403,
        -32003,
        "Not as the task declared it",
        "The application that opened the session bounded this tool's arguments.",
    ),
    "PC3016": Code(
        403,
        -32003,
        "Policy does not let it reach this host",
        "Name the host under `egress:` of the agent's role.",
    ),
    "PC3017": Code(
        403,
        -32003,
        "Policy does not let it reach this port",
        "Rules of egress are for port 443 unless they list `ports`.",
    ),
    "PC3018": Code(
        403,
        -32003,
        "Policy does not let it ask this of the host",
        "The rule of egress lists other `methods` or `paths`, or lets nothing go unencrypted.",
    ),
    "PC3019": Code(
        403, -32003, "Denied by a hand-written rule", "The rule named in the log says why."
    ),
    "PC3021": Code(
        403, -32003, "Holds data that may not go here", "Take out what the detail names."
    ),
    "PC3022": Code(403, -32003, "Looks like a prompt injection", "See docs/inspection.md."),
    "PC3023": Code(
        403,
        -32003,
        "An answer that is held",
        "Only what is asked can wait for a human: what came back was not passed on.",
    ),
    "PC3024": Code(
        403, -32003, "Content that cannot be inspected", "Policy may let it pass: `opaque`."
    ),
    "PC3025": Code(
        413,
        -32003,
        "Too much to inspect",
        "Send it in smaller messages, or let policy allow what need not be found.",
    ),
    "PC3026": Code(
        403, -32003, "The tool is not the one that was approved", "See `portcullis catalogue diff`."
    ),
    "PC3027": Code(
        403,
        -32003,
        "The tool's description instructs the model",
        "See `portcullis catalogue diff`.",
    ),
    "PC3028": Code(
        502,
        -32003,
        "The answer does not fit the session's schema",
        "See the session's output_schema.",
    ),
    "PC3029": Code(
        403,
        -32003,
        "Not of the data that the role may reach",
        "Ask for what the role's `data_access` names; see docs/obligations.md.",
    ),
    "PC3030": Code(
        502,
        -32003,
        "A result whose columns cannot be masked",
        "It has to be JSON, as text or as structured content; see docs/obligations.md.",
    ),
    "PC3031": Code(
        403,
        -32003,
        "A result of data that the role may not reach",
        "It is withheld; ask for what the role's `data_access` names.",
    ),
    "PC3032": Code(
        403,
        -32003,
        "A server asks while its results are masked",
        "What it asks cannot be masked; let it answer without a question.",
    ),
    "PC3060": Code(
        403,
        -32003,
        "Not what the user asked for",
        "Values must come from the user's words or from fields labelled trusted.",
    ),
    "PC3061": Code(
        403,
        -32003,
        "The session's budget is used up",
        "Let the application open another session: a budget is never raised.",
    ),
    "PC3070": Code(429, -32006, "Too many requests", "Wait until the time in Retry-After."),
    "PC3071": Code(
        429, -32006, "A budget is used up", "It is whole again at the time in the detail."
    ),
    "PC3072": Code(429, -32006, "Too many calls at once", "Wait until others have ended."),
    "PC3073": Code(
        503, -32006, "What is used cannot be counted", "Calls with limits wait until it can be."
    ),
    "PC3074": Code(
        403,
        -32006,
        "Nobody knows what this model costs",
        "Name the model, or a default, in the file that `prices` in portcullis.yaml names.",
    ),
    "PC3075": Code(
        403, -32006, "The session's time is over", "Let the application open another session."
    ),
    "PC3076": Code(
        429,
        -32006,
        "The answer became longer than what was reserved for it",
        "Ask for it with a maximum of tokens, or raise counters.output_tokens.",
    ),
    "PC3077": Code(429, -32006, "The result is larger than what is left", "Ask for less, or wait."),
    "PC3078": Code(
        403,
        -32006,
        "The call alone can take more than the limit has",
        "Ask for fewer tokens (max_tokens), or send less.",
    ),
    "PC3079": Code(404, -32006, "No such limit", "See `portcullis limit list`."),
    "PC3080": Code(
        403,
        -32005,
        "Not the approver's to approve",
        "Let one of those decide: `show` of what waits for them names them.",
    ),
    "PC3081": Code(
        403,
        -32005,
        "The glass is not this operator's to break",
        "`break_glass` in the configuration says whose it is, and for how long.",
    ),
    "PC3082": Code(
        409,
        -32005,
        "A break-glass of yours waits for its review",
        "Have somebody else review it: `portcullis operator glass`.",
    ),
    "PC3083": Code(403, -32005, "Reviewer and reviewed are one", "Let somebody else review it."),
    "PC3084": Code(404, -32005, "No such break-glass", "See `portcullis operator glass`."),
    "PC3085": Code(409, -32005, "Not in this state", "`portcullis operator glass` says which."),
    "PC3086": Code(
        403,
        -32005,
        "Not with rights for a while",
        "Somebody whose own role it is has to do it.",
    ),
    "PC3087": Code(
        403,
        -32005,
        "Not this operator's to confirm",
        "Whoever answers for the agent confirms it (`policy_review.owners_certify`).",
    ),
    "PC3090": Code(404, -32005, "Nothing was learned of it", "See `portcullis behaviour list`."),
    "PC3091": Code(409, -32005, "Not in this phase", "`portcullis behaviour list` says which."),
    "PC3092": Code(
        409,
        -32005,
        "Too little was learned to ratify it",
        "Wait, or lower behaviour.learn_days.",
    ),
    "PC3093": Code(409, -32005, "Somebody else decided meanwhile", "Look again, then decide."),
    "PC3034": Code(
        403,
        -32003,
        "It may not ask for decisions",
        "Name the application in `decisions.askers`, or the workload in `decisions.peers`.",
    ),
    "PC3035": Code(
        403,
        -32003,
        "Allowed only through the gate",
        "The grant obliges the gate to more than a yes: let the agent call through it.",
    ),
    "PC3036": Code(403, -32003, "The second opinion is no", "Ask whoever runs the other PDP."),
    "PC3037": Code(
        503, -32003, "No decision could be had", "A PDP did not answer in time, or not as agreed."
    ),
    "PC3040": Code(
        403,
        -32005,
        "Waits for a human's approval",
        "Once it is approved, send exactly the same call again: see docs/approvals.md.",
    ),
    "PC3041": Code(403, -32005, "A human denied it", "Do not send it again."),
    "PC3042": Code(409, -32005, "Not in this state", "`portcullis approval list` says which."),
    "PC3043": Code(
        403,
        -32005,
        "The agent may not ask any more",
        "Too much that it asked for was denied: `portcullis approval lift AGENT`.",
    ),
    "PC3044": Code(429, -32005, "Too many calls wait for approval", "Wait for those that do."),
    "PC3045": Code(413, -32005, "Too large for a human to judge", "Ask for less in one call."),
    "PC3046": Code(
        403, -32005, "Approver and requester are one", "Let somebody else decide: four eyes."
    ),
    "PC3047": Code(404, -32005, "No such approval", "See `portcullis approval list`."),
    "PC3048": Code(404, -32005, "Nothing to look at afterwards", "See `portcullis review list`."),
    "PC3049": Code(409, -32005, "Not in this state", "`portcullis review list --all` says which."),
    "PC3050": Code(503, -32005, "The queue is still being read", "Try again in a moment."),
    "PC3051": Code(400, -32602, "Not a cursor of this list", "Begin again without a cursor."),
    "PC3052": Code(503, -32005, "Too many watch already", "Close a live view that nobody reads."),
    "PC3054": Code(
        409, -32005, "Not confirmed", "Type or tick what the page asks for: this cannot be undone."
    ),
    "PC3055": Code(
        409, -32005, "Not what was shown", "Open the approval again and look at what it is for."
    ),
    "PC3056": Code(503, -32005, "Too many pages are being made", "Try again in a moment."),
    # Range PC4, containment
    "PC4001": Code(
        403, -32004, "Cut off", "Ask an operator: `portcullis agent show` says its state."
    ),
    "PC4002": Code(
        503, -32004, "The containment feed is stale", "The gate fails closed until it is back."
    ),
    "PC4003": Code(
        403, -32004, "Kill order refused", "Sign a new one: `portcullis kill --all`, within 60 s."
    ),
    "PC4004": Code(404, -32004, "Not killed", "`portcullis kill` without a name lists who is."),
    "PC4005": Code(
        500, -32603, "The kill feed cannot be published", "One control plane runs per deployment."
    ),
    "PC4006": Code(
        503,
        -32004,
        "The policy in force is not known here",
        "The gate fails closed until it can take the active release: see"
        " `portcullis policy release list` and the gateway's log.",
    ),
    "PC4007": Code(
        500,
        -32603,
        "The snapshot that a gateway kept cannot be used",
        "It waits for the control plane. Somebody wrote into its state directory, or copied it.",
    ),
    "PC4010": Code(
        403,
        -32004,
        "Quarantined",
        "Only what the policy's quarantine lists goes on; an operator ends it: `portcullis agent"
        " release`.",
    ),
    "PC4011": Code(404, -32004, "Not in quarantine", "See `portcullis agent show`."),
    "PC4012": Code(404, -32004, "No such breaker is open", "See `portcullis breaker list`."),
    # Range PC5, upstream
    "PC5001": Code(502, -32010, "Upstream unreachable", "Check the upstream's address."),
    "PC5002": Code(
        504, -32010, "Upstream too slow", "Raise limits.request_seconds if it is right."
    ),
    "PC5003": Code(
        502,
        -32010,
        "Upstream answer not understood",
        "It broke its API's shape; it was not passed on.",
    ),
    "PC5004": Code(502, -32010, "Upstream answer too large", "Raise limits.result_bytes."),
    "PC5005": Code(
        502, -32010, "Upstream reflected a credential", "The answer was withheld; rotate it."
    ),
    "PC5006": Code(503, -32010, "Too many calls at once", "Try again shortly."),
    "PC5007": Code(502, -32010, "Upstream credential unavailable", "Check the secret reference."),
    "PC5008": Code(502, -32010, "Upstream ended in mid-stream", "The answer is incomplete."),
    "PC5009": Code(502, -32010, "Tool result breaks its schema", "It was not passed on."),
    "PC5010": Code(502, -32010, "Unknown stream event", "It was not passed on."),
    "PC5011": Code(502, -32010, "Server process failed", "See `portcullis doctor`."),
    "PC5012": Code(404, -32010, "No such upstream", "Add it to portcullis.yaml."),
    "PC5013": Code(503, -32010, "The gate is draining", "Try another gateway."),
    "PC5014": Code(499, -32800, "Cancelled", "The client cancelled the call or went away."),
    "PC5020": Code(
        404,
        -32010,
        "No call waits for this result",
        "A result is taken once, in time, from whoever was allowed the call.",
    ),
    "PC5021": Code(
        504,
        -32010,
        "The tool's result did not come in time",
        "Raise result_seconds of the toolset under `guard` if it is right.",
    ),
    "PC5022": Code(
        503,
        -32010,
        "The upstream's breaker is open",
        "It failed too often and is tried again at the time in the detail, by a read or a model"
        " call.",
    ),
    "PC5023": Code(
        429,
        -32010,
        "The agent's breaker is open",
        "It did too much that was refused or failed; a read is tried at the time in the detail, or"
        " an operator resets it: `portcullis breaker reset`.",
    ),
    "PC5024": Code(
        502, -32010, "Upstream failed", "It answered with a status of the class 5xx; see its log."
    ),
    "PC5025": Code(
        429,
        -32010,
        "Too much at once for one caller",
        "Wait until some of it has ended: the share of one is limited, and the gate has room.",
    ),
    "PC5030": Code(
        503,
        -32010,
        "This machine cannot hold the box as its profile demands",
        "See `portcullis sandbox show`; `apt-get install bubblewrap` is what fresh machines lack.",
    ),
    "PC5031": Code(503, -32010, "The box could not be made", "See `portcullis sandbox show`."),
    "PC5032": Code(
        422,
        -32010,
        "A box cannot be made to this order",
        "The detail says which part; mounts must exist and be readable.",
    ),
    "PC5040": Code(
        502, -32010, "No such profile of boxes", "Name one of `sandbox.profiles`, or `strict`."
    ),
    "PC5041": Code(
        503,
        -32010,
        "Server rests after it ended",
        "Try again at the time in the detail; why it ends is in its standard error (debug log).",
    ),
    "PC5042": Code(
        403, -32010, "Server is for sessions only", "Call it within a session (per_session)."
    ),
    "PC5043": Code(
        400,
        -32602,
        "Argument cannot stand in a command",
        "No null character; at a word's beginning no hyphen, which would be an option; base64.",
    ),
    "PC5045": Code(
        500,
        -32603,
        "That cannot be in the agent's box",
        "Mount the agent's own folders: no home, no sockets, nothing of the system or the gate.",
    ),
    "PC5046": Code(
        500,
        -32603,
        "The bridge did not begin in the box",
        "It runs on /usr/bin/python3: see what it wrote, and `portcullis sandbox show`.",
    ),
    "PC5065": Code(
        403,
        -32010,
        "A honeytoken was used",
        "Nobody has reason to hold it: find out where the agent read it, and what else is there.",
    ),
    "PC5066": Code(
        503,
        -32010,
        "Uses of credentials cannot be noted",
        "No credential is given out unnoted: see the state directory's disk and database.",
    ),
    "PC5067": Code(
        502,
        -32010,
        "The source of secrets does not answer, or refuses us",
        "See `portcullis doctor`; check `secrets` in portcullis.yaml and the source's own log.",
    ),
    "PC5068": Code(
        502,
        -32010,
        "A credential has no place in the request",
        "Check `inject` of the upstream: the field's parents must exist in what is sent.",
    ),
    "PC5069": Code(
        404, -32010, "No such secret", "`portcullis secret list` shows those of the configuration."
    ),
    "PC5050": Code(
        400,
        -32600,
        "Not a destination",
        "Egress goes to DNS names: CONNECT NAME:PORT, or http://NAME/. Addresses are refused.",
    ),
    "PC5051": Code(
        502, -32010, "The host has no address", "Check the name; the gate itself resolves it."
    ),
    "PC5052": Code(
        403,
        -32010,
        "The host's address is not a public one",
        "A host of your own network is named, with its networks, under `egress.private`.",
    ),
    "PC5053": Code(
        403,
        -32010,
        "The TLS handshake names another host",
        "The server name (SNI) must be the host of the CONNECT.",
    ),
    "PC5054": Code(
        403,
        -32010,
        "The TLS handshake hides its host",
        "Switch Encrypted Client Hello off in the client.",
    ),
    "PC5055": Code(
        403,
        -32010,
        "What was to be TLS is not",
        "Only a rule of egress with `plain: true` lets anything else through a tunnel.",
    ),
    "PC5056": Code(
        500,
        -32010,
        "Policy injects a credential that is not configured",
        "Name it under `egress.credentials` in portcullis.yaml.",
    ),
    "PC5057": Code(
        403,
        -32010,
        "The request is for another host than its connection",
        "The Host header must be the host of the CONNECT, or of the URL.",
    ),
    "PC5058": Code(
        415,
        -32010,
        "The body's encoding cannot be read",
        "Send it plain, or with Content-Encoding gzip or deflate.",
    ),
    "PC5059": Code(
        504,
        -32010,
        "The tunnel lasted too long, or nothing went through it",
        "Raise tunnel_seconds or idle_seconds under `egress` if it is right.",
    ),
    "PC5060": Code(
        400, -32600, "Not a DNS question", "Send one question for one name, as RFC 8484 has it."
    ),
    "PC5061": Code(
        400,
        -32600,
        "The WebSocket cannot be followed",
        "Check both ends; a message may have as many bytes as limits.held_bytes.",
    ),
    "PC5080": Code(
        403,
        -32010,
        "No account of the user is connected",
        "The user connects it once: the application asks for a link, see docs/on-behalf.md.",
    ),
    "PC5081": Code(
        502,
        -32010,
        "The authorization server refused",
        "See the upstream's `oauth` in portcullis.yaml, and what the server knows of the client.",
    ),
    "PC5082": Code(
        502, -32010, "The authorization server cannot be asked", "It is tried again with each call."
    ),
    "PC5083": Code(
        502,
        -32010,
        "The authorization server lacks what is needed",
        "See the detail: PKCE with S256, its own issuer, a refresh token.",
    ),
    "PC5084": Code(
        400,
        -32602,
        "Not a connection that is being made",
        "A link is good once and for ten minutes, in one browser: ask for another.",
    ),
    "PC5085": Code(
        403,
        -32001,
        "The account is another person's",
        "Log in at the authorization server as the user whom the link is for.",
    ),
    "PC5086": Code(404, -32602, "No such grant", "See `portcullis grant list`."),
    "PC5087": Code(
        409, -32602, "Nobody connects accounts of this upstream", "It takes `oauth: {mode: user}`."
    ),
    # Range PC6, the record
    "PC6001": Code(
        503, -32011, "The audit log cannot take the record", "Nothing is done unrecorded."
    ),
    "PC6002": Code(500, -32011, "The audit log is damaged", "Run `portcullis audit verify`."),
    "PC6003": Code(409, -32011, "The audit log has another writer", "One gate writes one log."),
    "PC6004": Code(404, -32011, "No such event", "See `portcullis audit query`."),
    "PC6005": Code(422, -32011, "Verification failed", "Keep the log as it is and investigate."),
    "PC6006": Code(
        500, -32011, "The witness policy cannot be used", "See the line named in the detail."
    ),
    "PC6007": Code(
        503, -32011, "No quorum of witnesses", "It did not happen: see `portcullis doctor`."
    ),
    "PC6008": Code(
        500,
        -32011,
        "The witness has lost what it saw",
        "Restore its newest state. If that is gone, start one with a new key.",
    ),
    "PC6009": Code(
        502,
        -32011,
        "The log of a gateway on another host cannot be brought here",
        "Both hosts name the same store under `audit.replicate`: see docs/hosts.md.",
    ),
    "PC6030": Code(
        409, -32011, "Another process delivers for this exporter", "Stop it, or let it go on."
    ),
    "PC6031": Code(
        502,
        -32011,
        "Events were not delivered",
        "They are delivered from where it stopped, once the detail is seen to.",
    ),
    "PC6020": Code(
        500, -32011, "The replica holds another history", "Keep both as they are and investigate."
    ),
    "PC6021": Code(503, -32011, "An object store cannot be used", "It is tried again."),
    "PC6022": Code(503, -32011, "No timestamp", "It is tried again."),
    "PC6023": Code(
        507,
        -32011,
        "The log is larger than may be brought here",
        "Allow more with --max-bytes, where TMPDIR has room for it; or verify it where it lies.",
    ),
    "PC6032": Code(
        500,
        -32011,
        "The log is older than what witnesses have seen",
        "Put the newest state back; or begin a new log with `portcullis backup fence`.",
    ),
    "PC6033": Code(
        422, -32011, "The backup does not verify", "Take another one, and keep this as it is."
    ),
    "PC6034": Code(
        409, -32011, "There is a deployment already", "Restore into a folder that is empty."
    ),
    "PC6035": Code(
        422,
        -32011,
        "That is no newer copy of the log",
        "Name a copy that goes on where the backup ends, or say --without-newer-log.",
    ),
    "PC6036": Code(
        500,
        -32011,
        "The records are older than those that were here",
        "Was the database put back? See `portcullis backup fence --database-from` and"
        " docs/backup.md.",
    ),
    "PC6040": Code(
        409, -32011, "A legal hold is in force", "It ends with `portcullis audit release`."
    ),
    "PC6041": Code(404, -32011, "Nothing is kept of that", "See the detail."),
    "PC6042": Code(404, -32011, "No such hold in force", "See `portcullis audit hold`."),
    "PC6050": Code(
        500,
        -32011,
        "The recipients of content cannot be used",
        "See `audit.content.encrypt_to` in portcullis.yaml: X25519 public keys in PEM.",
    ),
    "PC6051": Code(
        400,
        -32602,
        "Not a key that opens it",
        "`portcullis audit identity FILE` makes one; what it opens is sealed to it from then on.",
    ),
    "PC6052": Code(422, -32011, "Sealed content does not open", "Keep it as it is; investigate."),
    # Range PC7, configuration and command line
    "PC7001": Code(500, -32603, "Configuration error", "See the line named in the detail."),
    "PC7002": Code(500, -32603, "Policy error", "See the line named in the detail."),
    "PC7003": Code(
        500, -32603, "Nothing enforces this key yet", "Remove it: nothing is accepted and ignored."
    ),
    "PC7004": Code(500, -32603, "Usage error", "See --help."),
    "PC7005": Code(500, -32603, "Something is missing on this machine", "See the detail."),
    "PC7006": Code(404, -32603, "Unknown error code", "`portcullis explain` lists them all."),
    "PC7007": Code(
        500, -32603, "A measured process failed", "See the detail; the run measured nothing."
    ),
    "PC7008": Code(
        500, -32603, "The trust domain's authority cannot sign", "See `portcullis ca show`."
    ),
    "PC7009": Code(500, -32603, "A trust bundle cannot be used", "See the detail."),
    "PC7010": Code(500, -32603, "Sealed data does not open", "Check `keys` in portcullis.yaml."),
    "PC7011": Code(
        502, -32603, "The gate cannot be reached", "Check its address, and that it runs."
    ),
    "PC7012": Code(502, -32603, "The gate is not who it should be", "Check --gate and --ca."),
    "PC7013": Code(
        502, -32603, "The gate ends our connections", "It may be cut off: ask an operator."
    ),
    "PC7014": Code(500, -32603, "A rule pack cannot be used", "See the rule named in the detail."),
    "PC7015": Code(500, -32603, "A model cannot be used", "See `inspection.onnx`."),
    "PC7016": Code(
        409,
        -32603,
        "The tool is another by now",
        "See `portcullis catalogue diff`, and say it again.",
    ),
    "PC7017": Code(
        404, -32603, "No such tool in the catalogue", "See `portcullis catalogue list`."
    ),
    "PC7022": Code(
        500, -32603, "A policy's cases cannot be used", "See the line named in the detail."
    ),
    "PC7023": Code(
        500, -32603, "Test rules cannot be evaluated", "See the rule or file named in the detail."
    ),
    "PC7024": Code(
        409, -32603, "The policy's own tests fail", "Make them pass, then try mutants again."
    ),
    "PC7025": Code(
        409,
        -32603,
        "Only one step back goes without approvals",
        "Propose the text that you want again: `portcullis policy release propose --release N`.",
    ),
    "PC7030": Code(
        404, -32603, "No such release of policy", "See `portcullis policy release list`."
    ),
    "PC7031": Code(
        409,
        -32603,
        "Not what this release of policy can do now",
        "See its stage: `portcullis policy release show`.",
    ),
    "PC7032": Code(
        409,
        -32603,
        "The release of policy is not approved",
        "Another person approves it: `portcullis policy release approve`.",
    ),
    "PC7033": Code(
        403,
        -32603,
        "Who proposed or approved it does not approve it",
        "Ask another person: each approval is somebody else's.",
    ),
    "PC7034": Code(
        409,
        -32603,
        "The policy folder decides here",
        "Change the folder, or set `policy_changes.approvals`.",
    ),
    "PC7035": Code(
        409,
        -32603,
        "The release of policy changes nothing",
        "Its text is what is in force.",
    ),
    "PC7036": Code(
        409,
        -32603,
        "The policy folder is not what is in force",
        "Nothing of it takes force by itself: `portcullis policy release propose`.",
    ),
    "PC7037": Code(
        502,
        -32603,
        "The policy bundle cannot be used",
        "The policy in force stays. See to the detail, at the bundle's server.",
    ),
    "PC7038": Code(
        500,
        -32603,
        "The stored text of a release is not what was proposed",
        "Nothing of it takes force. Restore the state from a backup, and look who changed it.",
    ),
    "PC7039": Code(
        409,
        -32603,
        "The policy bundle is older than the last one",
        "The policy in force stays. Give what is to follow a higher revision.",
    ),
    "PC7040": Code(
        400,
        -32603,
        "An agent would be observed for too long",
        "`observe:` ends within 14 days; see docs/mining.md.",
    ),
    "PC7041": Code(
        404,
        -32603,
        "Nothing to mine a policy from",
        "The log has no allowed and successful call of it in this time that counts.",
    ),
    "PC7042": Code(
        500,
        -32603,
        "The mined policy does not load",
        "This is a fault of ours: please report it. Nothing was written.",
    ),
    "PC7018": Code(
        500, -32603, "Hand-written Rego cannot be used", "See the line named in the detail."
    ),
    "PC7043": Code(
        400,
        -32603,
        "No such role",
        "Write it under `roles` in the configuration, or give one that there is.",
    ),
    "PC7044": Code(
        409,
        -32603,
        "Rights that nobody has together",
        "`rights_apart` in the configuration says so: give them to two people.",
    ),
    "PC7046": Code(
        403,
        -32603,
        "More rights than one's own",
        "Nobody gives rights that he has not: let somebody do it who has them.",
    ),
    "PC7045": Code(
        409,
        -32603,
        "Another policy is in force by now",
        "Look at what the agent may under it: `portcullis policy review`.",
    ),
    "PC7047": Code(
        409,
        -32603,
        "Other agents have the grant too",
        "Give the agent a role of its own, or revoke it for all of them with --for-all.",
    ),
    "PC7048": Code(
        409,
        -32603,
        "The grant cannot be taken out by itself",
        "Change the policy by hand: see the place in the detail.",
    ),
    "PC7049": Code(
        404,
        -32603,
        "No such agent or grant in the policy",
        "`portcullis policy review --json` lists the agents and the rules of their grants.",
    ),
    "PC7050": Code(
        503,
        -32603,
        "What the gateways share cannot be used",
        "The action was not done. Look for room on the disk, and at the gateways' messages.",
    ),
    "PC7051": Code(
        502,
        -32603,
        "The gateway that holds it did not answer",
        "It may have been done: look before it is done again.",
    ),
    "PC7052": Code(
        500,
        -32603,
        "Not a threat model",
        "Give a file that `portcullis policy threats --json` of this version wrote.",
    ),
    "PC7053": Code(
        500,
        -32603,
        "Not the record of a test run",
        "Give build/controls.json of a full run of the tests, or leave it out.",
    ),
    "PC7060": Code(404, -32603, "No such incident", "See `portcullis incident list --all`."),
    "PC7061": Code(
        409, -32603, "Not the step that is due", "Steps have one order: see the detail, and do it."
    ),
    "PC7062": Code(
        409, -32603, "There is an incident about it already", "Go on with the one in the detail."
    ),
    "PC7063": Code(
        409,
        -32603,
        "An incident is open",
        "It lets go when it is reinstated or stood down: `portcullis incident show`.",
    ),
    "PC7064": Code(
        409, -32603, "Something is left to do first", "`portcullis incident show` lists it."
    ),
    "PC7065": Code(
        404, -32603, "The incident has no such thing", "`portcullis incident show` lists them."
    ),
    "PC7066": Code(404, -32603, "No such playbook", "`portcullis incident playbooks` lists them."),
    "PC7067": Code(
        409,
        -32603,
        "It waits for a second person",
        "Somebody else approves it: `portcullis incident approve`.",
    ),
    "PC7068": Code(
        503,
        -32603,
        "The step is not complete",
        "What acted goes on acting. See to the detail, and take the step again.",
    ),
    "PC7069": Code(
        409,
        -32603,
        "Something of it is still let in",
        "The incident stays where it is. See the detail, and take the step again.",
    ),
    "PC7070": Code(
        409,
        -32603,
        "Nothing rotates this secret",
        "Rotate it by hand and say so: `portcullis incident settle`; or see `incidents.rotation`.",
    ),
    "PC7071": Code(
        502, -32603, "The rotation failed", "See what the program under `incidents.rotation` says."
    ),
    "PC7072": Code(
        504, -32603, "The rotation takes too long", "See `incidents.rotation`: raise its seconds."
    ),
    "PC7073": Code(
        409, -32603, "The secret is what it was", "Nothing is rotated: see to its source."
    ),
    "PC7074": Code(
        502, -32603, "The secret cannot be compared", "See that the reference can be read."
    ),
    "PC7080": Code(
        500,
        -32603,
        "The attempts to escape could not be made",
        "See `portcullis sandbox show`; a box needs /usr/bin/python3 of this machine.",
    ),
    "PC7081": Code(
        409,
        -32603,
        "Not on this host",
        "The control plane is elsewhere (`control_plane` in portcullis.yaml): do it there.",
    ),
    "PC7082": Code(
        500,
        -32603,
        "What the control plane published is not as it published it",
        "Somebody wrote into the database, or it was restored: restart the control plane.",
    ),
    "PC7083": Code(
        409,
        -32603,
        "The name is another gateway's",
        "A name stays with its log's key: give this gateway another --name.",
    ),
    "PC7085": Code(
        500,
        -32603,
        "The address of Valkey or Redis is not good",
        "See docs/redis.md: `rediss://USER:PASSWORD@HOST/`, or `plaintext=allowed` on a network of"
        " your own.",
    ),
    "PC7086": Code(
        503,
        -32603,
        "Valkey or Redis cannot be used",
        "See docs/redis.md, and start it, or give its user what it needs.",
    ),
    "PC7087": Code(
        503,
        -32603,
        "Another version of the program says what this one cannot read",
        "Upgrade step by step: the processes of a deployment may be one format apart.",
    ),
    "PC7088": Code(
        500, -32603, "Not restarted", "The others go on as they are; see `portcullis doctor`."
    ),
    "PC7093": Code(
        400, -32603, "No name of a tenant", "Use one label of a DNS name: a-z, 0-9 and -."
    ),
    "PC7094": Code(
        409,
        -32603,
        "Not done to the tenant",
        "`portcullis tenant list` says which there are; see the detail.",
    ),
    "PC7095": Code(
        500,
        -32603,
        "Two tenants have one thing together",
        "Give one of them its own, as the detail names it; see docs/tenants.md.",
    ),
    "PC7096": Code(
        500,
        -32603,
        "What is a tenant's is open to others",
        "Close it as the detail names it, and look again: `portcullis tenant check`.",
    ),
    "PC7097": Code(
        404,
        -32603,
        "No gateway to retire",
        "`portcullis doctor` names the gateways of other hosts, at the control plane.",
    ),
    "PC7098": Code(
        409,
        -32603,
        "The gateway is retired",
        "It never serves again: give a new one another --name.",
    ),
    # Range PC8, telling people
    "PC8001": Code(502, -32603, "A channel did not take the message", "See the detail."),
    "PC8002": Code(404, -32603, "No such channel", "See `notifications` in portcullis.yaml."),
    "PC8010": Code(
        401, -32001, "Chat request refused", "Check the channel's signing secret, and the clock."
    ),
    "PC8011": Code(403, -32005, "Not to be decided in the chat", "Decide it in the console."),
    "PC8012": Code(
        403, -32001, "Nobody whom the gate knows", "Name the user under the channel's actions."
    ),
    "PC8020": Code(404, -32005, "No such alert", "See `portcullis alert list --all`."),
    "PC8021": Code(409, -32005, "The alert is past that", "`portcullis alert show` says how far."),
    "PC8022": Code(
        400, -32602, "Not a field of events", "Such as principal, server or host: docs/alerts.md."
    ),
    "PC8023": Code(404, -32005, "No such silence", "See `portcullis alert silences`."),
    # Range PC9, our own faults
    "PC9001": Code(500, -32603, "A check failed", "The action was not done. Report this."),
    "PC9002": Code(500, -32603, "Internal error", "The action was not done. Report this."),
}
