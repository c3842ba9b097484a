"""The ``inspection:`` of a policy and of its roles: what is done with what inspection finds.

Three layers, the later over the earlier, key by key: what the gate does by itself, what the
policy says for everyone, what a role says.
"""

from __future__ import annotations

from typing import Final

import yaml

from portcullis.core.inspection import (
    Category,
    Channel,
    Envelope,
    Profile,
    Source,
    Treatment,
)
from portcullis.policy.model import Inspection
from portcullis.policy.yaml import Entry, Reader

_DATA: Final = (
    Treatment.ALLOW,
    Treatment.MASK,
    Treatment.TOKENISE,
    Treatment.HASH,
    Treatment.HOLD,
    Treatment.BLOCK,
)
_ONE_WAY: Final = tuple(t for t in _DATA if t is not Treatment.TOKENISE)
CHANNELS: Final[dict[str, tuple[Treatment, ...]]] = {
    Channel.TO_MODEL: _DATA,
    Channel.FROM_MODEL: _ONE_WAY,
    Channel.TO_TOOL: _ONE_WAY,
    Channel.FROM_TOOL: _DATA,
}
"""A placeholder is restored on the way to a tool and from a model: none is made there."""

INJECTION: Final = (
    Treatment.ALLOW,
    Treatment.WRAP,
    Treatment.STRIP,
    Treatment.HOLD,
    Treatment.BLOCK,
)
OPAQUE: Final = (Treatment.ALLOW, Treatment.HOLD, Treatment.BLOCK)
_KEYS: Final = (*CHANNELS, "injection", "opaque", "envelope", "canaries", "links")
_ENTITY: Final = rf"{'|'.join(Category)}|[A-Z][A-Z0-9_]{{1,62}}"
_ENTITY_FORM: Final = f"an entity such as CREDIT_CARD, or one of {', '.join(Category)}"
_HOST: Final = r"[a-z0-9](?:[a-z0-9.-]{0,251}[a-z0-9])?"

DEFAULTS: Final = Profile(
    treatments={
        Channel.TO_MODEL: {
            Category.SECRET: Treatment.MASK,
            Category.FINANCIAL: Treatment.TOKENISE,
            Category.IDENTITY: Treatment.TOKENISE,
            Category.HEALTH: Treatment.TOKENISE,
        },
        Channel.FROM_MODEL: {
            Category.SECRET: Treatment.MASK,
            Category.EXFILTRATION: Treatment.MASK,
        },
        Channel.TO_TOOL: {Category.SECRET: Treatment.BLOCK},
        Channel.FROM_TOOL: {Category.SECRET: Treatment.MASK},
    },
    injection={
        Source.SYSTEM: Treatment.ALLOW,
        Source.USER: Treatment.ALLOW,
        Source.TOOL: Treatment.BLOCK,
        Source.DOCUMENT: Treatment.BLOCK,
        Source.MODEL: Treatment.ALLOW,
    },
    opaque={
        Channel.TO_MODEL: Treatment.BLOCK,
        Channel.FROM_MODEL: Treatment.ALLOW,
        Channel.TO_TOOL: Treatment.BLOCK,
        Channel.FROM_TOOL: Treatment.ALLOW,
    },
    envelope=Envelope.DELIMIT,
    canaries=True,
)
"""What the gate does where policy says nothing."""

STRICTEST: Final = Profile(
    treatments={c: dict.fromkeys(map(str, Category), Treatment.BLOCK) for c in Channel},
    injection=dict.fromkeys(Source, Treatment.BLOCK),
    opaque=dict.fromkeys(Channel, Treatment.BLOCK),
    envelope=Envelope.DELIMIT,
    canaries=True,
)
"""What is done when policy cannot be asked."""


def read_inspection(reader: Reader, path: str, node: yaml.Node | None) -> Inspection:
    """Read one ``inspection:`` at ``path``; None says nothing."""
    if node is None:
        return Inspection()
    keys = reader.section(node, path, _KEYS)
    tables = {
        name: _table(reader, f"{path}.{name}", keys[name], _ENTITY, _ENTITY_FORM, allowed)
        for name, allowed in CHANNELS.items()
        if name in keys
    }
    for name, members, allowed in (
        ("injection", Source, INJECTION),
        ("opaque", Channel, OPAQUE),
    ):
        if name in keys:
            form = f"one of {', '.join(members)}"
            table = _table(reader, f"{path}.{name}", keys[name], "|".join(members), form, allowed)
            tables[name] = table
    envelope = canaries = None
    if "envelope" in keys:
        modes = tuple(Envelope)
        envelope = reader.text(
            keys["envelope"], f"{path}.envelope", "|".join(modes), f"one of {', '.join(modes)}"
        )
    if "canaries" in keys:
        canaries = reader.value(keys["canaries"], f"{path}.canaries")
        if type(canaries) is not bool:
            reader.fault(keys["canaries"], f"{path}.canaries must be true or false")
    links = reader.texts(keys.get("links"), f"{path}.links", _HOST, "a host name in lower case")
    return Inspection(
        tables=tables,
        envelope=envelope,
        canaries=canaries,
        links=links if "links" in keys else None,
    )


def profile(policy: Inspection, role: Inspection) -> Profile:
    """The whole profile of a role."""
    found = DEFAULTS
    for layer in (policy, role):
        found = _over(found, layer)
    return found


def _table(
    reader: Reader,
    path: str,
    node: yaml.Node,
    names: str,
    form: str,
    allowed: tuple[Treatment, ...],
) -> dict[str, Entry]:
    found: dict[str, Entry] = {}
    for key, value in reader.pairs(node, path):
        name = reader.match(key, path, names, form)
        chosen = reader.text(
            value, f"{path}.{key.value}", "|".join(allowed), f"one of {', '.join(allowed)}"
        )
        if name and chosen is not None:
            found[key.value] = Entry(chosen.value, key.place, f"{path}.{key.value}")
    return found


def _over(below: Profile, layer: Inspection) -> Profile:
    def values(name: str) -> dict[str, Treatment]:
        return {n: Treatment(entry.value) for n, entry in layer.tables.get(name, {}).items()}

    injection = {Source(name): treatment for name, treatment in values("injection").items()}
    opaque = {Channel(name): treatment for name, treatment in values("opaque").items()}
    return Profile(
        treatments={c: {**below.treatments[c], **values(c)} for c in Channel},
        injection={**below.injection, **injection},
        opaque={**below.opaque, **opaque},
        envelope=below.envelope if layer.envelope is None else Envelope(layer.envelope.value),
        canaries=below.canaries if layer.canaries is None else layer.canaries,
        links=below.links if layer.links is None else tuple(e.value for e in layer.links),
    )
