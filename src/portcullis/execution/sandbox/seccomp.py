"""Our list of system calls (syscalls.yaml), as a BPF program and as the OCI runtimes' JSON."""

from __future__ import annotations

import errno
import platform
from functools import cache
from importlib.resources import files
from typing import Any, Final

import msgspec

from portcullis.config.yaml import shipped
from portcullis.execution.sandbox.bpf import Alternatives, assemble, refuse

_PACKAGE: Final = "portcullis.execution.sandbox"
_WORD: Final = 0xFFFFFFFF


class Architecture(msgspec.Struct, frozen=True, kw_only=True):
    """A machine: its AUDIT_ARCH number, its column in the table, and its name for OCI."""

    audit: int
    column: int
    oci: str
    foreign: int | None = None


ARCHITECTURES: Final[dict[str, Architecture]] = {
    "x86_64": Architecture(audit=0xC000003E, column=0, oci="SCMP_ARCH_X86_64", foreign=0x40000000),
    "aarch64": Architecture(audit=0xC00000B7, column=1, oci="SCMP_ARCH_AARCH64"),
}


class Rule(msgspec.Struct, frozen=True, kw_only=True):
    """One call that is allowed: ``alternatives`` as in ``bpf``, ``refusal`` an errno."""

    name: str
    alternatives: Alternatives = ()
    refusal: int = errno.EPERM


class _Group(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    why: str
    calls: tuple[str, ...]


class _Values(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    argument: int
    of: dict[str, int]


class _Pairs(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    arguments: tuple[int, int]
    of: dict[int, tuple[int, ...]]


class _When(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    why: str
    any: tuple[tuple[tuple[int, int, int], ...], ...] = ()
    values: _Values | None = None
    pairs: _Pairs | None = None
    refusal: str = "EPERM"


class _File(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    allow: dict[str, _Group]
    when: dict[str, _When]
    absent: dict[str, str]


@cache
def _file() -> _File:
    text = files(_PACKAGE).joinpath("syscalls.yaml").read_text("utf-8")
    return msgspec.convert(shipped(text), _File)


@cache
def numbers(machine: str) -> dict[str, int]:
    """Return the numbers of all calls that ``machine`` has."""
    column = ARCHITECTURES[machine].column + 1
    table = files(_PACKAGE).joinpath("syscalls.tsv").read_text("utf-8")
    rows = [line.split("\t") for line in table.splitlines() if not line.startswith("#")]
    return {row[0]: int(row[column]) for row in rows if row[column] != "-"}


@cache
def rules() -> tuple[Rule, ...]:
    """Return every call that is allowed, those of every architecture."""
    listed = _file()
    found = [Rule(name=name) for group in listed.allow.values() for name in group.calls]
    for name, when in listed.when.items():
        alternatives = when.any
        if when.values is not None:
            argument = when.values.argument
            alternatives = tuple(((argument, _WORD, one),) for one in when.values.of.values())
        if when.pairs is not None:
            first, second = when.pairs.arguments
            alternatives = tuple(
                ((first, _WORD, one), (second, _WORD, other))
                for one, others in when.pairs.of.items()
                for other in others
            )
        refusal = getattr(errno, when.refusal)
        found.append(Rule(name=name, alternatives=alternatives, refusal=refusal))
    return tuple(found)


@cache
def program(machine: str | None = None) -> bytes:
    """Return the BPF program for ``machine`` (this one); KeyError where there is no list for it."""
    machine = machine or platform.machine()
    architecture, table = ARCHITECTURES[machine], numbers(machine)
    here = [
        (table[rule.name], rule.alternatives, refuse(rule.refusal))
        for rule in rules()
        if rule.name in table
    ]
    # A call with one alternative that never holds: it always answers ENOSYS.
    never: Alternatives = (((0, 0, 1),),)
    here += [(table[name], never, refuse(errno.ENOSYS)) for name in _file().absent if name in table]
    newest = max(table.values())
    return assemble(architecture.audit, here, newest=newest, foreign=architecture.foreign)


def oci(machine: str | None = None) -> dict[str, Any]:
    """Return the same list as ``linux.seccomp`` of an OCI runtime's config.json."""
    machine = machine or platform.machine()
    architecture, table = ARCHITECTURES[machine], numbers(machine)
    plain = [rule.name for rule in rules() if not rule.alternatives and rule.name in table]
    calls: list[dict[str, Any]] = [{"names": plain, "action": "SCMP_ACT_ALLOW"}]
    for rule in rules():
        if rule.name not in table:
            continue
        for one in rule.alternatives:
            arguments = [
                {"index": index, "value": mask, "valueTwo": value, "op": "SCMP_CMP_MASKED_EQ"}
                for index, mask, value in one
            ]
            calls.append({"names": [rule.name], "action": "SCMP_ACT_ALLOW", "args": arguments})
    absent = [name for name in _file().absent if name in table]
    calls.append({"names": absent, "action": "SCMP_ACT_ERRNO", "errnoRet": errno.ENOSYS})
    return {
        "defaultAction": "SCMP_ACT_ERRNO",
        "defaultErrnoRet": errno.EPERM,
        "architectures": [architecture.oci],
        "syscalls": calls,
    }
