"""If these fail, a SIEM refuses our events, files them wrongly or counts one twice."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from ocsf.v1_7_0 import events as models
from pydantic import BaseModel

from exported import TRACE, event, kinds
from portcullis.core.event import Event, EventType
from portcullis.wire.ocsf import ocsf

CLASSES = {
    2004: models.DetectionFinding,
    3002: models.Authentication,
    3003: models.AuthorizeSession,
    6003: models.ApiActivity,
}
ACTIVITIES = {2004: {1}, 3002: {1, 3, 5, 99}, 3003: {1, 99}, 6003: {1, 2, 3, 4, 99}}
PROFILES = {
    "security_control": {
        "action_id", "action", "disposition_id", "disposition", "policy", "is_alert",
    },
    "trace": {"trace"},
    "ai_operation": {"ai_model", "message_context"},
}  # fmt: skip
"""What profiles add; the models know the attributes of the classes themselves."""
AI_OPERATION = {
    "ai_model": {"name", "ai_provider"},
    "message_context": {
        "ai_role_id", "ai_role", "service", "prompt_tokens", "completion_tokens", "total_tokens",
    },
}  # fmt: skip
"""The objects that 1.8 added."""
AT_LEAST_ONE = {
    "actor": {"user", "session", "app_name", "process"},
    "user": {"name", "uid", "account"},
    "src_endpoint": {"ip", "name", "hostname", "uid"},
    "policy": {"name", "uid", "type"},
}


def made(one: Event, index: int = 7) -> dict[str, Any]:
    return json.loads(msgspec.json.encode(ocsf(index, one, "1.2.3")))


def unknown(model: BaseModel, where: str = "") -> list[str]:
    """Every attribute that the schema does not have, at any depth."""
    found = [f"{where}{name}" for name in model.model_extra or {}]
    for name in type(model).model_fields:
        value = getattr(model, name)
        if name == "unmapped":
            continue
        for one in value if isinstance(value, list) else [value]:
            if isinstance(one, BaseModel):
                found += unknown(one, f"{where}{name}.")
    return found


def constrained(value: Any) -> None:
    for name, inner in value.items() if isinstance(value, dict) else ():
        if name in AT_LEAST_ONE and isinstance(inner, dict):
            assert AT_LEAST_ONE[name] & set(inner), (name, inner)
        if name != "unmapped":
            for one in inner if isinstance(inner, list) else [inner]:
                constrained(one)


@pytest.mark.parametrize("one", kinds(), ids=lambda one: f"{one.type}-{one.id[-2:]}")
def test_every_kind_of_event_is_valid_against_the_published_classes(one: Event) -> None:
    shown = made(one)
    assert shown["metadata"]["version"] == "1.8.0"
    model = CLASSES[shown["class_uid"]].model_validate(shown)
    allowed = set().union(*(PROFILES[name] for name in shown["metadata"]["profiles"]))
    assert set(unknown(model)) <= allowed
    assert shown["category_uid"] == shown["class_uid"] // 1000
    assert shown["activity_id"] in ACTIVITIES[shown["class_uid"]]
    assert shown["type_uid"] == shown["class_uid"] * 100 + shown["activity_id"]
    assert shown["severity_id"] in range(1, 6)
    assert shown.get("action_id", 1) in {1, 2}
    constrained(shown)
    if shown["class_uid"] == 3002:
        assert "service" in shown  # at least one of service and dst_endpoint
    for name, attributes in AI_OPERATION.items():
        assert set(shown.get(name, {})) <= attributes


@pytest.mark.parametrize(
    ("number", "uid", "activity"),
    [
        (0, 6003, 2), (1, 6003, 99), (2, 6003, 4), (3, 2004, 1), (4, 2004, 1), (5, 6003, 99),
        (7, 3002, 3), (8, 3002, 5), (9, 3002, 1), (10, 3003, 1), (11, 3003, 99), (12, 6003, 1),
        (13, 2004, 1), (14, 3002, 1), (15, 6003, 3),
    ],
)  # fmt: skip
def test_an_event_is_filed_where_an_analyst_looks_for_it(number: int, uid: int, activity: int):
    shown = made(kinds()[number])
    assert (shown["class_uid"], shown["activity_id"]) == (uid, activity)


def test_a_receiver_can_drop_what_it_has_seen_and_join_what_belongs_together() -> None:
    call, result = made(kinds()[0], 41), made(kinds()[1], 42)
    assert (call["metadata"]["uid"], call["metadata"]["sequence"]) == ("0" * 32, 41)
    assert result["metadata"]["correlation_uid"] == call["metadata"]["uid"]
    assert call["trace"] == {"uid": TRACE}
    assert call["time"] == 1896091200123


def test_a_refusal_says_so_and_a_canary_is_critical() -> None:
    denied = made(kinds()[2])
    assert (denied["status_id"], denied["action_id"], denied["disposition_id"]) == (2, 2, 2)
    assert (denied["status_code"], denied["status_detail"]) == ("PC3001", "not allowed")
    assert made(kinds()[4])["severity_id"] == 5
    assert made(kinds()[4])["is_alert"] is True
    assert made(event(0, verdict="deny", code="PC4001"))["severity_id"] == 4


def test_findings_are_types_and_never_places_of_content() -> None:
    assert kinds()[3].finding_types() == ("EMAIL", "IBAN")
    assert made(kinds()[3])["finding_info"]["types"] == ["EMAIL", "IBAN"]


def test_a_model_call_says_which_model_and_how_many_tokens() -> None:
    assert made(kinds()[5])["ai_model"] == {"name": "gpt-x", "ai_provider": "openai"}
    assert made(kinds()[6])["message_context"]["total_tokens"] == 30


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("10.1.2.3:4567", {"ip": "10.1.2.3", "port": 4567}),
        ("[::1]:99", {"ip": "::1", "port": 99}),
        ("2001:db8::1", {"ip": "2001:db8::1"}),
        ("stdio", {"name": "stdio"}),
        ("", {"name": "unknown"}),
        ("uid:1000 pid:7", {"name": "uid:1000 pid:7"}),
    ],
)
def test_where_it_came_from_is_an_address_only_where_it_is_one(source, expected) -> None:
    assert made(event(0, source=source))["src_endpoint"] == expected


def test_nothing_of_an_event_is_lost_on_the_way() -> None:
    one = kinds()[0]
    shown = json.dumps(made(one))
    for name in one.__struct_fields__:
        value = getattr(one, name)
        if isinstance(value, str) and value and not isinstance(value, EventType):
            assert json.dumps(value) in shown, name
    assert made(one)["unmapped"]["parameters"] == {"limit": 5}
    assert made(one)["unmapped"]["commitments"] == one.commitments
