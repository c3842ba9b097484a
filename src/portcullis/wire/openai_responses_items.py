"""The items, content parts and tools of a Responses request.

What the provider runs, fetches or keeps is a feature: hosted tools, references to stored things,
and the traces of their earlier use in the history, since an approval or a call among them can
make the provider act. Tools that the model drives on the caller's machine without a function's
name (computer, shell, apply_patch) are features too.
"""

from __future__ import annotations

from typing import Final

from portcullis.wire.fields import (
    Check,
    Fields,
    anything,
    boolean,
    inline_data,
    inline_url,
    items,
    mapping,
    marks,
    need,
    plain,
    record,
    string,
    tagged,
    text_or,
    tool_name,
)
from portcullis.wire.openai_fields import ALLOWED_TOOLS, CACHE, CUSTOM, GRAMMAR, SCHEMA

_FILE_ID: Final = marks("openai.file_id")
_FILE_IDS: Final = marks("openai.file_id", items(string))
_IMAGE_URL: Final = inline_url("openai.image_url")

# Content -----------------------------------------------------------------------------------
_INPUT_PARTS: Final[dict[str, Fields]] = {
    "input_text": {"text": need(string), **CACHE},
    "input_image": {"detail": string, "file_id": _FILE_ID, "image_url": _IMAGE_URL, **CACHE},
    "input_file": {
        "detail": string,
        "file_data": inline_data("openai.file_url"),
        "file_id": _FILE_ID,
        "file_url": marks("openai.file_url"),
        "filename": string,
        **CACHE,
    },
    "input_audio": {
        "input_audio": need(record({"data": need(string), "format": need(string)})),
    },
}
_ANNOTATION: Final = record(
    plain("type file_id filename index url title start_index end_index container_id")
)
INPUT_PART: Final[Check] = tagged("type", _INPUT_PARTS)
_PART: Final = tagged(
    "type",
    {
        **_INPUT_PARTS,
        "output_text": {
            "text": need(string),
            "annotations": items(_ANNOTATION),
            "logprobs": items(mapping),
        },
        "refusal": {"refusal": need(string)},
    },
)
TEXT_FORMAT: Final[Check] = tagged("type", {"text": {}, "json_object": {}, "json_schema": SCHEMA})

# Tools -------------------------------------------------------------------------------------
_FUNCTION: Final[Fields] = {
    "name": need(tool_name),
    "description": string,
    "parameters": mapping,
    "output_schema": mapping,
    "strict": boolean,
    **plain("allowed_callers async defer_loading"),
}
_CUSTOM: Final[Fields] = {
    **CUSTOM,
    "format": tagged("type", {"text": {}, "grammar": GRAMMAR}),
    **plain("allowed_callers async defer_loading"),
}
_CONTAINER: Final = {
    "file_ids": _FILE_IDS,
    **plain("memory_limit network_policy"),
    "skills": marks("openai.skills", items(anything)),
}
_WEB: Final = plain(
    "external_web_access filters search_content_types search_context_size user_location"
)
_ENVIRONMENT: Final = tagged(
    "type",
    {
        "local": plain("skills"),
        "container_auto": _CONTAINER,
        "container_reference": {"container_id": need(string)},
    },
    features={"container_auto": "openai.container", "container_reference": "openai.container"},
)
_HOSTED: Final[dict[str, tuple[str, Fields]]] = {
    "apply_patch": ("openai.apply_patch", plain("allowed_callers")),
    "code_interpreter": (
        "openai.code_interpreter",
        {
            "container": need(text_or(tagged("type", {"auto": _CONTAINER}))),
            **plain("allowed_callers"),
        },
    ),
    "computer": ("openai.computer", {}),
    "computer_use_preview": (
        "openai.computer",
        plain("display_height display_width environment"),
    ),
    "file_search": (
        "openai.file_search",
        plain("vector_store_ids filters max_num_results ranking_options"),
    ),
    "image_generation": (
        "openai.image_generation",
        {
            **plain("action background complexity frame_count frame_duration_ms input_fidelity"),
            "input_image_mask": record({"file_id": _FILE_ID, "image_url": _IMAGE_URL}),
            **plain("model moderation output_compression output_format partial_images quality"),
            **plain("size svg"),
        },
    ),
    "local_shell": ("openai.local_shell", {}),
    "mcp": (
        "openai.mcp",
        plain(
            "server_label allowed_callers allowed_tools authorization connector_id defer_loading"
            " headers require_approval server_description server_url tunnel_id"
        ),
    ),
    "programmatic_tool_calling": ("openai.programmatic_tool_calling", {}),
    "shell": ("openai.shell", {"environment": _ENVIRONMENT, **plain("allowed_callers")}),
    "tool_search": ("openai.tool_search", plain("description execution parameters")),
    "web_search": ("openai.web_search", _WEB),
    "web_search_2025_08_26": ("openai.web_search", _WEB),
    "web_search_preview": ("openai.web_search", _WEB),
    "web_search_preview_2025_03_11": ("openai.web_search", _WEB),
}
TOOL: Final[Check] = tagged(
    "type",
    {
        "function": _FUNCTION,
        "custom": _CUSTOM,
        "namespace": {
            "name": need(string),
            "description": string,
            "tools": need(items(tagged("type", {"function": _FUNCTION, "custom": _CUSTOM}))),
        },
        **{kind: fields for kind, (_, fields) in _HOSTED.items()},
    },
    features={kind: feature for kind, (feature, _) in _HOSTED.items()},
)
TOOL_CHOICE: Final[Check] = text_or(
    tagged(
        "type",
        {
            "function": {"name": need(string)},
            "custom": {"name": need(string)},
            "mcp": plain("server_label name"),
            "allowed_tools": ALLOWED_TOOLS,
            "computer_use": {},
            **{kind: {} for kind in _HOSTED if kind not in {"mcp", "tool_search", "local_shell"}},
        },
    )
)

# Items -------------------------------------------------------------------------------------
_CALLER: Final = tagged("type", {"direct": {}, "program": {"caller_id": need(string)}})
_OUTPUT: Final = need(text_or(items(INPUT_PART)))
_OWN: Final[dict[str, Fields]] = {
    "message": {
        "role": need(string),
        "content": need(text_or(items(_PART))),
        **plain("id status phase"),
    },
    "function_call": {
        "arguments": need(string),
        "call_id": need(string),
        "name": need(string),
        "caller": _CALLER,
        **plain("id namespace status async created_by"),
    },
    "function_call_output": {
        "output": _OUTPUT,
        "call_id": string,
        "caller": _CALLER,
        **plain("id name namespace status created_by"),
    },
    "custom_tool_call": {
        "input": need(string),
        "call_id": need(string),
        "name": need(string),
        "caller": _CALLER,
        **plain("id namespace async status created_by"),
    },
    "custom_tool_call_output": {
        "output": _OUTPUT,
        "call_id": need(string),
        "caller": _CALLER,
        **plain("id status created_by"),
    },
    "reasoning": {
        "id": string,
        "summary": need(items(tagged("type", {"summary_text": {"text": need(string)}}))),
        "content": items(tagged("type", {"reasoning_text": {"text": need(string)}})),
        "encrypted_content": string,
        "status": string,
    },
    "additional_tools": {"role": need(string), "tools": need(items(TOOL)), "id": string},
    "configuration_update": {
        "id": string,
        "reasoning": record({"effort": string}),
        "text": record({"format": need(TEXT_FORMAT)}),
    },
}
_TRACES: Final[dict[str, tuple[str, Fields]]] = {
    "apply_patch_call": (
        "openai.apply_patch",
        plain("id call_id operation status caller created_by"),
    ),
    "apply_patch_call_output": (
        "openai.apply_patch",
        plain("id call_id status caller output created_by"),
    ),
    "code_interpreter_call": (
        "openai.code_interpreter",
        plain("id code container_id outputs status"),
    ),
    "compaction": ("openai.compaction", plain("id encrypted_content created_by")),
    "compaction_trigger": ("openai.compaction", plain("id")),
    "computer_call": (
        "openai.computer",
        plain("id call_id pending_safety_checks status action actions"),
    ),
    "computer_call_output": (
        "openai.computer",
        {
            **plain("id call_id acknowledged_safety_checks status created_by"),
            "output": need(
                tagged(
                    "type",
                    {"computer_screenshot": {"file_id": _FILE_ID, "image_url": _IMAGE_URL}},
                )
            ),
        },
    ),
    "file_search_call": ("openai.file_search", plain("id queries status results")),
    "image_generation_call": (
        "openai.image_generation",
        plain(
            "id result status action background error output_format quality revised_prompt"
            " size svg_usage"
        ),
    ),
    "item_reference": ("openai.item_reference", {"id": need(string)}),
    "local_shell_call": ("openai.local_shell", plain("id action call_id status")),
    "local_shell_call_output": ("openai.local_shell", plain("id output status")),
    "mcp_approval_request": ("openai.mcp", plain("id arguments name server_label")),
    "mcp_approval_response": ("openai.mcp", plain("id approval_request_id approve reason")),
    "mcp_call": (
        "openai.mcp",
        plain("id arguments name server_label approval_request_id error output status"),
    ),
    "mcp_list_tools": ("openai.mcp", plain("id server_label tools error")),
    "program": ("openai.programmatic_tool_calling", plain("id call_id code fingerprint")),
    "program_output": ("openai.programmatic_tool_calling", plain("id call_id result status")),
    "shell_call": (
        "openai.shell",
        {**plain("id action call_id caller status created_by"), "environment": _ENVIRONMENT},
    ),
    "shell_call_output": (
        "openai.shell",
        plain("id call_id output caller max_output_length status created_by"),
    ),
    "tool_search_call": (
        "openai.tool_search",
        plain("id arguments call_id execution status created_by"),
    ),
    "tool_search_output": (
        "openai.tool_search",
        {"tools": need(items(TOOL)), **plain("id call_id execution status created_by")},
    ),
    "web_search_call": ("openai.web_search", plain("id action status")),
}
TRACE_FEATURES: Final = {kind: feature for kind, (feature, _) in _TRACES.items()}
"""The item types that come from a feature, in requests and in answers."""
INPUT_ITEM: Final[Check] = tagged(
    "type",
    {**_OWN, **{kind: fields for kind, (_, fields) in _TRACES.items()}},
    features=TRACE_FEATURES,
    default=lambda item: "message" if "role" in item else "item_reference",
)
