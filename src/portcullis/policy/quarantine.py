"""What goes on while an agent or a session is isolated: ``quarantine:``."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import yaml

from portcullis.core.call import RiskClass
from portcullis.core.quarantine import Otherwise, Quarantine
from portcullis.policy.source import Faults
from portcullis.policy.yaml import Entry, Reader

_KEYS: Final = ("reads", "models", "otherwise")


@dataclass(frozen=True, slots=True)
class QuarantineRead:
    """The section as it stands in the file."""

    reads: tuple[Entry, ...] = ()
    models: tuple[Entry, ...] = ()
    otherwise: Otherwise = "deny"

    def rules(self) -> Quarantine:
        """The section as the gate uses it."""
        return Quarantine(
            reads=frozenset(entry.value for entry in self.reads),
            models=tuple(entry.value for entry in self.models),
            otherwise=self.otherwise,
        )

    def data(self) -> dict[str, Any]:
        """What stands in the bundle: no rule asks for it, the digest covers it."""
        return {
            "reads": sorted(entry.value for entry in self.reads),
            "models": [entry.value for entry in self.models],
            "otherwise": self.otherwise,
        }


def read_quarantine(
    reader: Reader,
    node: yaml.Node,
    tools: tuple[str, str],
    models: tuple[str, str],
) -> QuarantineRead:
    """Read the section; ``tools`` and ``models`` are the pattern and form of their names."""
    keys = reader.section(node, "quarantine", _KEYS)
    otherwise: Otherwise = "deny"
    if "otherwise" in keys:
        entry = reader.text(
            keys["otherwise"], "quarantine.otherwise", "deny|hold", "one of deny, hold"
        )
        if entry is not None and entry.value == "hold":
            otherwise = "hold"
    return QuarantineRead(
        reads=reader.texts(keys.get("reads"), "quarantine.reads", *tools),
        models=reader.texts(keys.get("models"), "quarantine.models", *models),
        otherwise=otherwise,
    )


def link_quarantine(found: QuarantineRead, risks: dict[str, RiskClass], faults: Faults) -> None:
    """Note every tool that is let through and does more than read; ``risks`` are the tools'."""
    for entry in found.reads:
        risk = risks.get(entry.value)
        if risk is not RiskClass.READ:
            said = "is not listed under `tools:`" if risk is None else f"has the risk {risk}"
            hint = "In quarantine only reads go on."
            faults.add(entry.place, f"{entry.value} {said}", hint)


def loosened(old: QuarantineRead, new: QuarantineRead) -> Iterator[str]:
    """What goes on in quarantine under the new policy and did not under the old."""
    was, now = old.rules(), new.rules()
    for tool in sorted(now.reads - was.reads):
        yield f"quarantine lets {tool} through"
    for model in sorted(set(now.models) - set(was.models)):
        yield f"quarantine lets the model {model} through"
    if now.otherwise != was.otherwise and now.otherwise == "hold":
        yield "quarantine asks instead of denying"
