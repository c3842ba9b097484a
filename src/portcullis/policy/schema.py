"""The JSON Schema (draft 2020-12) of policy files, for editors.

It is made from the tables that the grammar reads by. What fits the grammar fits it; it knows
nothing of what must hold between parts, which ``portcullis policy check`` does.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final, TypeAlias

from portcullis.core.behaviour import RiskLevel
from portcullis.core.call import RiskClass
from portcullis.core.containment import ArgumentRole, Confidentiality, QuestionKind
from portcullis.core.containment import Treatment as Answered
from portcullis.core.inspection import Channel, Envelope, Source
from portcullis.core.limits import Dimension
from portcullis.core.obligation import MOST_APPROVERS, MaskTreatment
from portcullis.policy.egress import HOST
from portcullis.policy.expressions import MAX_CHARACTERS
from portcullis.policy.grammar import KEYS, LISTS, NAME, RESOURCE, VERBS
from portcullis.policy.grants import ENVIRONMENT, SHOWN, SHOWN_TERMS, TERMS, TOOL_TERMS
from portcullis.policy.inspection import CHANNELS, INJECTION, OPAQUE
from portcullis.policy.resource_limits import KEYS as RESOURCES
from portcullis.policy.windows import DAYS, TIME, ZONE
from portcullis.policy.windows import NAME as WINDOW

Schema: TypeAlias = dict[str, Any]

IDENTIFIER: Final = "https://portcullis.example/policy.schema.json"
_EACH_ONCE: Final[Schema] = {"uniqueItems": True}
_SOME: Final[Schema] = {"minProperties": 1}
_TEXT: Final[Schema] = {"type": "string", "minLength": 1, "maxLength": 256}
_SCALAR: Final[Schema] = {"type": ["string", "number", "boolean"]}
_TRUE: Final[Schema] = {"const": True}
_FLAG: Final[Schema] = {"type": "boolean"}
_MOMENT: Final = r"\d{4}-\d\d-\d\d(T\d\d:\d\d:\d\dZ)?"


def policy_schema() -> Schema:
    """The schema of one file."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": IDENTIFIER,
        "title": "Portcullis policy",
        **_object(
            {
                "version": {"const": 1},
                "windows": _named(_window(), WINDOW),
                "agents": _named(_agent()),
                "roles": _named(_role(), NAME),
                "tools": _named(_tool(), LISTS["allowed_tools"][0]),
                "limits": _named(_limit()),
                "inspection": _inspection(),
                "containment": _containment(),
                "quarantine": _object(
                    {
                        "reads": _list(_pattern(LISTS["allowed_tools"][0])),
                        "models": _list(_pattern(LISTS["models"][0])),
                        "otherwise": _one_of(("deny", "hold")),
                    }
                ),
            },
            required=("version",),
        ),
    }


def _agent() -> Schema:
    observe = {"until": _pattern(_MOMENT), "reason": _TEXT}
    return _object(
        {
            "role": _pattern(NAME, "A role under `roles:`."),
            "owner": _TEXT | {"description": "Who answers for it."},
            "expires": _pattern(_MOMENT, "From then on the policy does not know it."),
            "review_by": _pattern(_MOMENT, "By then somebody has looked at what it may."),
            "observe": _object(observe, required=tuple(observe)),
        },
        required=("role",),
    )


def _window() -> Schema:
    keys = {
        "days": _list(_one_of(DAYS), least=1) | _EACH_ONCE,
        "from": _pattern(TIME),
        "to": _pattern(TIME),
        "zone": _pattern(ZONE),
    }
    return _object(keys, required=tuple(keys))


def _role() -> Schema:
    lists = {
        name: _list(_entry(_pattern(*LISTS[name]), word, _terms(_known(name))))
        for name, word in KEYS.items()
    }
    denied = _pattern(*LISTS["denied_tools"])
    long = _object({"tool": denied, "reason": _TEXT}, required=("tool",))
    return _object(
        {
            "inherits": _list(_pattern(NAME, "A role that stands above.")) | _EACH_ONCE,
            "environments": _environments(),
            "permissions": _list(_permission()),
            **lists,
            "denied_tools": _list({"anyOf": [denied, long]}),
            "egress": _list(_egress()),
            "inspection": _inspection(),
            "containment": _containment(),
            "obligations": _obligations(),
            "data_access": _named({"anyOf": [_FLAG, _list(_SCALAR)]}),
            "resource_limits": _object({name: _whole() for name in RESOURCES}) | _SOME,
        }
    )


def _known(name: str) -> tuple[str, ...]:
    """The terms of a list's entries."""
    return TOOL_TERMS if name == "allowed_tools" else SHOWN_TERMS if name in SHOWN else TERMS


def _terms(known: tuple[str, ...]) -> dict[str, Schema]:
    when = {
        "anyOf": [
            {"type": "string", "minLength": 1, "maxLength": MAX_CHARACTERS},
            _object({"rego": {"type": "string"}}, required=("rego",)),
        ],
        "description": "An expression such as arguments.priority <= 3, or {rego: BODY}.",
    }
    found = {
        "when": when,
        "during": _pattern(WINDOW, "A window under `windows:`."),
        "environments": _environments(),
        "until": _pattern(_MOMENT, "Before this date (00:00 UTC) or time."),
        "reason": _TEXT,
    }
    found["obligations"] = _obligations()
    found["data"] = {"const": "none"}
    return {name: found[name] for name in known}


def _entry(short: Schema, word: str, terms: dict[str, Schema]) -> Schema:
    long = _object({word: short, **terms}, required=(word,))
    return {"anyOf": [short, long]}


def _permission() -> Schema:
    verbs = {verb: _pattern(RESOURCE) for verb in VERBS}
    one = [{"required": [verb]} for verb in VERBS]
    return {**_object({**verbs, **_terms(TOOL_TERMS)}), "oneOf": one}


def _environments() -> Schema:
    return _list(_pattern(ENVIRONMENT), least=1) | _EACH_ONCE


def _egress() -> Schema:
    return _object(
        {
            "host": _pattern(HOST),
            "ports": _list({"type": "integer", "minimum": 1, "maximum": 65535}),
            "methods": _list(_TEXT),
            "paths": _list({"type": "string"}),
            "terminate": _FLAG,
            "plain": _FLAG,
            "inject": _TEXT,
            **_terms(TERMS),
        },
        required=("host",),
    )


def _tool() -> Schema:
    lookup = _object({"tool": _TEXT, "query": _TEXT}, required=("tool",))
    meaning = {
        "role": _one_of(ArgumentRole),
        "carries": _TRUE,
        "lookup": {"anyOf": [lookup, _list(lookup)]},
    }
    path = {"type": "string", "maxLength": 256}
    paths = {"anyOf": [path, _list(path)]}
    trusted = _one_of(ArgumentRole)
    risk = _one_of(RiskClass)
    field = {
        "trusted": {"anyOf": [trusted, _list(trusted)]},
        "confidentiality": _one_of(Confidentiality),
        "clearance": _one_of(Confidentiality),
        "links": _TRUE,
        "named": _TRUE,
    }
    memory = {
        "store": _TEXT,
        "writes": _TRUE,
        "appends": _TRUE,
        **dict.fromkeys(("record", "from", "records"), paths),
    }
    answer = {name: meaning[name] for name in ("role", "carries")}
    raised = {"when": _named(_raised()), "risk": risk}
    return _object(
        {
            "resource": _pattern(RESOURCE, "What permissions speak of."),
            "verb": _one_of(VERBS),
            "risk": risk | {"default": RiskClass.DELETE.value},
            "arguments": _named(_argument(meaning)),
            "raise": _list(_object(raised, required=tuple(raised))),
            "results": {"type": "object", "additionalProperties": _object(field)},
            "intent": _list(_TEXT),
            "sends": {"const": "arguments"},
            "answers": _named(_object(answer, required=("role",))),
            "memory": _object(memory, required=("store",)),
            "obligations": _obligations(),
            "data": _data(),
        }
    )


def _argument(meaning: Mapping[str, Schema]) -> Schema:
    number = {"type": "number"}
    return _object(
        {
            "equals": _SCALAR | {"description": "Or session.user, session.subject.NAME."},
            "enum": _list(_SCALAR, least=1),
            "prefix": {"type": "string", "minLength": 1},
            "maximum": number,
            "minimum": number,
            "max_length": {"type": "integer", "minimum": 0},
            "required": _TRUE,
            "log": {"const": "clear"},
            "schema": {"type": ["object", "boolean"]},
            "tolerate": _list(_TEXT),
            **meaning,
        }
    )


def _raised() -> Schema:
    compared = _object(
        {"equals": _SCALAR, "in": _list(_SCALAR, least=1), "over": {"type": "number"}}
    )
    return {"anyOf": [_one_of(("present", "absent")), compared]}


def _data() -> Schema:
    binding = _object(
        {
            "argument": _TEXT,
            "is": _SCALAR,
            "everything": _TEXT,
            "results": {"anyOf": [_TEXT, _list(_TEXT)]},
            "classes": _named(_list(_SCALAR)),
        }
    )
    return {"anyOf": [{"const": "none"}, _named(binding)]}


def _obligations() -> Schema:
    people = {"type": "integer", "minimum": 1, "maximum": MOST_APPROVERS}
    by_risk = _object({risk.value: people for risk in RiskClass}) | _SOME
    keys = {
        "mask": _named(_one_of(MaskTreatment)) | _SOME,
        "log": _list(_TEXT),
        "approvers": {"anyOf": [people, by_risk]},
    }
    return _object(keys) | _SOME


def _inspection() -> Schema:
    channels = {str(name): _named(_one_of(allowed)) for name, allowed in CHANNELS.items()}
    return _object(
        {
            **channels,
            "injection": _object({str(one): _one_of(INJECTION) for one in Source}),
            "opaque": _object({str(one): _one_of(OPAQUE) for one in Channel}),
            "envelope": _one_of(Envelope),
            "canaries": _FLAG,
            "links": _list(_TEXT),
        }
    )


def _containment() -> Schema:
    treatment = _one_of(Answered)
    by_risk = _object({risk.value: treatment for risk in RiskClass})
    return _object(
        {
            **{str(kind): {"anyOf": [treatment, by_risk]} for kind in QuestionKind},
            "never": _list(_list(_one_of(QuestionKind), least=1)),
            "approvals": _whole(),
        }
    )


def _limit() -> Schema:
    amount = {"anyOf": [_TEXT, _list(_TEXT)]}
    globs = {"anyOf": [_TEXT, _list(_TEXT, least=1)]}
    where = [one for one in Dimension if one not in {Dimension.ALL, Dimension.SESSION}]
    rate = _object({"rate": _TEXT, "burst": _whole()}, required=("rate",))
    levels = [level for level in RiskLevel if level is not RiskLevel.NORMAL]
    return _object(
        {
            "for": _object({str(one): globs for one in where}),
            "per": {"anyOf": [_one_of(Dimension), _list(_one_of(Dimension), least=1)]},
            "requests": {"anyOf": [_TEXT, rate]},
            **dict.fromkeys(("calls", "cost", "rows", "bytes"), amount),
            "tokens": _object(dict.fromkeys(("input", "output", "total"), amount)),
            "concurrency": _whole(),
            "session_seconds": _whole(),
            "burn": {"type": "number", "exclusiveMinimum": 1},
            "risk": _object(
                {str(one): {"type": "number", "minimum": 0, "maximum": 1} for one in levels}
            ),
        }
    )


def _object(properties: Mapping[str, Schema], *, required: tuple[str, ...] = ()) -> Schema:
    found: Schema = {
        "type": "object",
        "properties": dict(properties),
        "additionalProperties": False,
    }
    return found | {"required": list(required)} if required else found


def _named(inner: Schema, pattern: str = "") -> Schema:
    found: Schema = {"type": "object", "additionalProperties": inner}
    return found | {"propertyNames": {"pattern": _whole_text(pattern)}} if pattern else found


def _list(inner: Schema, *, least: int = 0) -> Schema:
    found: Schema = {"type": "array", "items": inner}
    return found | {"minItems": least} if least else found


def _pattern(pattern: str, description: str = "") -> Schema:
    found: Schema = {"type": "string", "pattern": _whole_text(pattern)}
    return found | {"description": description} if description else found


def _whole_text(pattern: str) -> str:
    return f"^(?:{pattern})$"


def _one_of(values: Iterable[str]) -> Schema:
    return {"enum": [str(value) for value in values]}


def _whole() -> Schema:
    return {"type": "integer", "minimum": 0}
