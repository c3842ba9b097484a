"""The misuse cases as data, and the promise that they are what they were before the first run."""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

FILE = Path(__file__).with_name("cases.yaml")
DEVIATIONS = {
    "en-join-suspended": "PC2061",  # who is suspended loses his join tokens: there is none to know
}
"""Cases that are refused under another code than was expected before the first run."""
FROZEN = Path(__file__).with_name("cases.sha256")


@dataclass(frozen=True, slots=True)
class Case:
    """One thing that a thief does. ``statuses`` are those that will do."""

    id: str
    title: str
    surface: str
    do: str
    parameters: dict[str, Any]
    code: str
    statuses: tuple[Any, ...]
    own_gate: bool


def digest() -> str:
    return hashlib.sha256(FILE.read_bytes()).hexdigest()


def frozen() -> str:
    return FROZEN.read_text("ascii").strip()


def load() -> tuple[Case, ...]:
    return tuple(_case(written) for written in yaml.safe_load(FILE.read_text("utf-8")))


def _case(written: dict[str, Any]) -> Case:
    twist = dict(written["twist"])
    status = written["expect"]["status"]
    return Case(
        id=written["id"],
        title=written["title"],
        surface=written["surface"],
        do=twist.pop("do"),
        parameters=twist,
        code=DEVIATIONS.get(written["id"], written["expect"]["code"]),
        statuses=tuple(status) if isinstance(status, list) else (status,),
        own_gate=written.get("gate") == "own",
    )


def filled(value: Any, names: dict[str, str]) -> Any:
    """``value`` with ``{victim}`` and the like filled in, at any depth."""
    if isinstance(value, str):
        for name, meant in names.items():
            value = value.replace(f"{{{name}}}", meant)
        return value
    if isinstance(value, list):
        return [filled(each, names) for each in value]
    if isinstance(value, dict):
        return {key: filled(each, names) for key, each in value.items()}
    return value
