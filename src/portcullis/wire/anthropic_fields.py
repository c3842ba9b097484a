"""The content blocks and tools of an Anthropic request, as the API and its betas have them.

What the provider runs, fetches or keeps is a feature, and so are the traces of its earlier use
in the history. The tools whose schema is Anthropic's own (bash, text editor, memory, computer,
browser) run at the caller's, but are features too: no schema of ours bounds them.
"""

from __future__ import annotations

from typing import Final

from portcullis.wire.fields import (
    Check,
    Fields,
    anything,
    boolean,
    inline_url,
    items,
    mapping,
    marks,
    names,
    need,
    plain,
    record,
    string,
    tagged,
    text_or,
    tool_name,
)

CACHE: Final[Fields] = {
    "cache_control": tagged("type", {"ephemeral": {"ttl": string}}),
}
_FILE_ID: Final = need(marks("anthropic.file_id"))
_MCP: Final = "anthropic.mcp_servers"

# Content -----------------------------------------------------------------------------------
_CITATION: Final = record(
    plain(
        "type cited_text document_index document_title start_char_index end_char_index"
        " start_page_number end_page_number start_block_index end_block_index"
        " search_result_index source title encrypted_index url file_id"
    )
)
_TEXT: Final[Fields] = {"text": need(string), "citations": items(_CITATION), **CACHE}
TEXTS: Final[Check] = text_or(items(tagged("type", {"text": _TEXT})))
_IMAGE: Final[Fields] = {
    "source": need(
        tagged(
            "type",
            {
                "base64": {"data": need(string), "media_type": need(string)},
                "url": {"url": need(inline_url("anthropic.image_url"))},
                "file": {"file_id": _FILE_ID},
            },
        )
    ),
    "transformations": record({"oversized_image": string}),
    **CACHE,
}
_DOCUMENT: Final[Fields] = {
    "source": need(
        tagged(
            "type",
            {
                "base64": {"data": need(string), "media_type": need(string)},
                "text": {"data": need(string), "media_type": need(string)},
                "content": {
                    "content": need(
                        text_or(items(tagged("type", {"text": _TEXT, "image": _IMAGE})))
                    )
                },
                "url": {"url": need(inline_url("anthropic.document_url"))},
                "file": {"file_id": _FILE_ID},
            },
        )
    ),
    "citations": record({"enabled": boolean}),
    "context": string,
    "title": string,
    **CACHE,
}
_SEARCH_RESULT: Final[Fields] = {
    "content": need(items(tagged("type", {"text": _TEXT}))),
    "source": need(string),
    "title": need(string),
    "citations": record({"enabled": boolean}),
    **CACHE,
}
_REFERENCE: Final[Fields] = {"tool_name": need(string), **CACHE}
_CALLER: Final = record(plain("type tool_id"))
_SERVER_TOOL: Final = names(
    {
        "web_search": "anthropic.web_search",
        "web_fetch": "anthropic.web_fetch",
        "code_execution": "anthropic.code_execution",
        "bash_code_execution": "anthropic.code_execution",
        "text_editor_code_execution": "anthropic.code_execution",
        "tool_search_tool_regex": "anthropic.tool_search",
        "tool_search_tool_bm25": "anthropic.tool_search",
        "advisor": "anthropic.advisor",
    }
)
_HOSTED_RESULT: Final[Fields] = {"tool_use_id": need(string), "content": need(anything), **CACHE}
_TRACES: Final[dict[str, tuple[str, Fields]]] = {
    "advisor_tool_result": ("anthropic.advisor", _HOSTED_RESULT),
    "bash_code_execution_tool_result": ("anthropic.code_execution", _HOSTED_RESULT),
    "code_execution_tool_result": ("anthropic.code_execution", _HOSTED_RESULT),
    "text_editor_code_execution_tool_result": ("anthropic.code_execution", _HOSTED_RESULT),
    "tool_search_tool_result": ("anthropic.tool_search", _HOSTED_RESULT),
    "web_search_tool_result": ("anthropic.web_search", {**_HOSTED_RESULT, "caller": _CALLER}),
    "web_fetch_tool_result": ("anthropic.web_fetch", {**_HOSTED_RESULT, "caller": _CALLER}),
    "container_upload": ("anthropic.container", {"file_id": _FILE_ID, **CACHE}),
    "compaction": (
        "anthropic.compaction",
        {**plain("content encrypted_content signature tool_changes"), **CACHE},
    ),
    "fallback": ("anthropic.fallbacks", plain("from to trigger")),
    "mcp_tool_listing": (_MCP, plain("mcp_server_name tools")),
    "mcp_tool_use": (_MCP, {**plain("id input name server_name"), **CACHE}),
    "mcp_tool_result": (_MCP, {**plain("tool_use_id content is_error"), **CACHE}),
    "tool_addition": ("anthropic.tool_changes", {**plain("tool"), **CACHE}),
    "tool_removal": ("anthropic.tool_changes", {**plain("tool"), **CACHE}),
}
TRACE_FEATURES: Final = {kind: feature for kind, (feature, _) in _TRACES.items()}
"""The block types that come from a feature, in requests and in answers."""
SERVER_TOOL_USE: Final[Fields] = {
    "id": need(string),
    "name": need(_SERVER_TOOL),
    "input": need(mapping),
    "caller": _CALLER,
}
BLOCKS: Final[Check] = text_or(
    items(
        tagged(
            "type",
            {
                "text": _TEXT,
                "image": _IMAGE,
                "document": _DOCUMENT,
                "search_result": _SEARCH_RESULT,
                "thinking": {"thinking": need(string), "signature": need(string)},
                "redacted_thinking": {"data": need(string)},
                "tool_use": {
                    "id": need(string),
                    "name": need(string),
                    "input": need(mapping),
                    "caller": _CALLER,
                    "toolset_name": string,
                    **CACHE,
                },
                "tool_result": {
                    "tool_use_id": need(string),
                    "is_error": boolean,
                    "toolset_name": string,
                    "content": text_or(
                        items(
                            tagged(
                                "type",
                                {
                                    "text": _TEXT,
                                    "image": _IMAGE,
                                    "document": _DOCUMENT,
                                    "search_result": _SEARCH_RESULT,
                                    "tool_reference": _REFERENCE,
                                    "browser_state": {**plain("tabs state_changes"), **CACHE},
                                },
                                features={"browser_state": "anthropic.browser"},
                            )
                        )
                    ),
                    **CACHE,
                },
                "server_tool_use": {**SERVER_TOOL_USE, **CACHE},
                **{kind: fields for kind, (_, fields) in _TRACES.items()},
            },
            features=TRACE_FEATURES,
        )
    )
)

# Tools -------------------------------------------------------------------------------------
_COMMON: Final[Fields] = {
    **plain("allowed_callers defer_loading input_examples strict"),
    **CACHE,
}
_CLIENT: Final[Fields] = {"name": need(string), **_COMMON}
_WEB: Final[Fields] = {
    "name": need(string),
    **plain("allowed_domains blocked_domains max_uses response_inclusion"),
    **_COMMON,
}
_SEARCH: Final[Fields] = {**_WEB, **plain("user_location")}
_FETCH: Final[Fields] = {**_WEB, **plain("citations max_content_tokens url_sources use_cache")}
_SCREEN: Final[Fields] = {
    **_CLIENT,
    **plain("display_height_px display_width_px display_number enable_zoom"),
}
_TOOLSET: Final[Fields] = {**plain("configs"), **CACHE}
_PROVIDED: Final[dict[str, tuple[str, Fields]]] = {
    **{f"bash_{date}": ("anthropic.bash", _CLIENT) for date in ("20241022", "20250124")},
    **{
        f"text_editor_{date}": ("anthropic.text_editor", {**_CLIENT, **plain("max_characters")})
        for date in ("20241022", "20250124", "20250429", "20250728")
    },
    "memory_20250818": ("anthropic.memory", _CLIENT),
    **{
        f"computer_{date}": ("anthropic.computer", _SCREEN)
        for date in ("20241022", "20250124", "20251124")
    },
    "computer_toolset_20260801": ("anthropic.computer", _TOOLSET),
    "browser_toolset_20260801": ("anthropic.browser", _TOOLSET),
    **{
        f"code_execution_{date}": ("anthropic.code_execution", _CLIENT)
        for date in ("20250522", "20250825", "20260120", "20260521")
    },
    **{
        f"web_search_{date}": ("anthropic.web_search", _SEARCH)
        for date in ("20250305", "20260209", "20260318")
    },
    **{
        f"web_fetch_{date}": ("anthropic.web_fetch", _FETCH)
        for date in ("20250910", "20260209", "20260309", "20260318")
    },
    **{
        f"tool_search_tool_{way}": ("anthropic.tool_search", _CLIENT)
        for way in ("bm25", "bm25_20251119", "regex", "regex_20251119")
    },
    "advisor_20260301": (
        "anthropic.advisor",
        {**_CLIENT, **plain("model caching max_tokens max_uses")},
    ),
    "mcp_toolset": (_MCP, {**plain("mcp_server_name configs default_config tools"), **CACHE}),
}
TOOL: Final[Check] = tagged(
    "type",
    {
        "custom": {
            "name": need(tool_name),
            "input_schema": need(mapping),
            "description": string,
            "eager_input_streaming": boolean,
            **_COMMON,
        },
        **{kind: fields for kind, (_, fields) in _PROVIDED.items()},
    },
    features={kind: feature for kind, (feature, _) in _PROVIDED.items()},
    default=lambda _: "custom",
)
TOOL_CHOICE: Final[Check] = tagged(
    "type",
    {
        "auto": {"disable_parallel_tool_use": boolean},
        "any": {"disable_parallel_tool_use": boolean},
        "tool": {"name": need(string), "disable_parallel_tool_use": boolean},
        "none": {},
    },
)
