"""If these fail, an approver is told that a call reaches less far than it does."""

import time

import msgspec
import pytest

from portcullis.core.approval import Approval, Shown, State
from portcullis.core.call import RiskClass
from portcullis.core.containment import ArgumentModel, ArgumentRole, ToolModel
from portcullis.oversight.radius import radius

MODEL = ToolModel(
    tool="bank.pay",
    risk=RiskClass.EXTERNAL,
    arguments={
        "to": ArgumentModel(role=ArgumentRole.DESTINATION),
        "payments.amount": ArgumentModel(role=ArgumentRole.AMOUNT),
        "payments.account": ArgumentModel(role=ArgumentRole.DESTINATION),
        "order": ArgumentModel(role=ArgumentRole.OBJECT),
        "pin": ArgumentModel(role=ArgumentRole.CREDENTIAL),
        "text": ArgumentModel(role=ArgumentRole.PAYLOAD, carries=True),
    },
)
APPROVAL = Approval(
    id="a",
    state=State.PENDING,
    binding="b",
    agent="shop-1",
    session="s",
    action="tool",
    server="bank",
    name="pay",
    risk=RiskClass.EXTERNAL,
    created_at=1.0,
    expires_at=2.0,
)
SHOWN = Shown(
    agents=("shop-1",),
    application="web",
    user="ada",
    prompts=("pay",),
    subject={},
    grant=("bank.pay",),
    bounds={},
    called="pay",
    method="tools/call",
    arguments={},
    request={},
    reason="r",
    rule="",
    questions=(),
    recent=(),
    labels={"session": "public"},
)


def told(arguments, *, labels=None, risk=RiskClass.EXTERNAL, model=MODEL, **fields):
    """The lines by what they are about."""
    shown = msgspec.structs.replace(
        SHOWN, arguments=arguments, labels=SHOWN.labels | (labels or {}), **fields
    )
    lines = radius(msgspec.structs.replace(APPROVAL, risk=risk), shown, model)
    ranks = [("high", "medium", "low").index(line.grade) for line in lines]
    assert ranks == sorted(ranks)  # the gravest first
    return {line.what: (line.value, line.grade) for line in lines}


@pytest.mark.parametrize(
    ("risk", "effect", "undo"),
    [("read", "low", "low"), ("modify", "medium", "high"), ("external", "high", "high"),
     ("delete", "high", "high")],
)  # fmt: skip
def test_the_class_says_what_it_does_and_whether_that_can_be_undone(risk, effect, undo):
    found = told({}, risk=RiskClass(risk))
    assert (found["effect"][1], found["undo"][1]) == (effect, undo)


def test_what_modifies_can_be_undone_for_all_that_the_catalogue_says():
    assert told({}, risk=RiskClass.MODIFY)["undo"][0].startswith("unknown")


def test_amounts_are_added_up_also_when_they_are_equal():
    payments = [{"amount": 50, "account": "A"}, {"amount": 50, "account": "B"}, {"amount": "0.5"}]
    found = told({"payments": payments})
    assert found["amounts"][0] == "50, 50, 0.5, 100.5 together"
    assert told({"payments": [{"amount": "1.000"}]})["amounts"] == ("unknown: 1.000", "high")


def test_destinations_are_counted_and_those_that_nobody_named_stand_out():
    labels = {"arguments.to": "destination: the user's words"}
    payments = [{"account": "A"}, {"account": "A"}, {"account": "B"}]
    found = told({"to": "bob@a.example", "payments": payments}, labels=labels)
    assert found["destinations"] == ("3: bob@a.example, A, B", "high")
    assert found["new destinations"][0].startswith("2: A, B")
    named = told({"to": "bob@a.example"}, labels=labels)
    assert named["destinations"] == ("1: bob@a.example", "medium")
    assert "new destinations" not in named


def test_a_text_without_end_takes_no_time_and_is_not_one_thing():
    text = "1" * 2**18 + " " + "a " * 2**18
    began = time.process_time()
    assert told({"order": text})["things touched"][0].startswith("unknown how many")
    assert time.process_time() - began < 1


def test_that_a_destination_is_new_is_not_claimed_where_nobody_judged_it():
    found = told({"to": "bob@a.example"}, labels={"session": "public"})
    assert found["new destinations"][0].startswith("unknown")
    assert "not approved before" not in found["new destinations"][0]


def test_a_list_of_addresses_in_one_text_is_as_many_destinations():
    assert told({"to": "a@x.example, b@x.example"})["destinations"][0].startswith("2:")


def test_what_the_session_has_read_says_how_grave_it_is_that_data_leaves():
    levels = {"public": "low", "internal": "medium", "confidential": "high", "secret": "high"}
    for level, grade in levels.items():
        assert told({"text": "x"}, labels={"session": level})["data leaving"][1] == grade
    assert told({"text": "x"}, labels={"session": ""})["data leaving"][0].startswith("unknown")
    assert "data leaving" not in told({"order": "O-1"}, risk=RiskClass.MODIFY)
    assert "data leaving" in told({"text": "x"}, risk=RiskClass.READ)  # it carries


def test_things_and_credentials_are_counted():
    found = told({"order": [f"O-{number}" for number in range(11)], "pin": "1234"})
    assert found["things touched"][1] == "high"
    assert found["things touched"][0].endswith("and 6 more")
    assert found["credentials"] == ("1 set or given away", "high")
    assert "1234" not in found["credentials"][0]


def test_what_the_catalogue_does_not_know_is_said_to_be_unknown():
    assert told({"shadow": "x"})["arguments"] == ("unknown: shadow", "high")
    found = told({"to": "x"}, model=None)
    assert found["tool"] == ("unknown: the catalogue does not list it", "high")
    many = told({"order": [str(number) for number in range(2000)]})
    assert many["arguments"] == ("unknown: too many values to look at", "high")


def test_the_chain_and_the_grant_say_what_else_may_happen():
    alone = told({})
    assert (alone["delegated"][1], alone["session's grant"]) == (
        "low",
        ("1 tools: bank.pay", "low"),
    )
    found = told({}, agents=("shop-1", "desk-1"), grant=None)
    assert found["delegated"] == ("on behalf of desk-1", "medium")
    assert found["session's grant"][1] == "high"
    assert told({}, grant=tuple(f"bank.t{n}" for n in range(9)))["session's grant"][1] == "medium"


@pytest.mark.parametrize("risk", [RiskClass.MODIFY, RiskClass.EXTERNAL, RiskClass.DELETE])
def test_what_the_call_could_name_and_does_not_is_unknown(risk):
    found = told({"order": [], "to": ""}, risk=risk)
    for what in ("destinations", "things touched", "amounts"):
        assert found[what] == ("unknown: the call names none", "high")
    assert "things touched" not in told({}, risk=RiskClass.READ)


def test_what_goes_out_goes_somewhere_also_where_the_catalogue_names_no_place():
    model = msgspec.structs.replace(MODEL, arguments={"text": MODEL.arguments["text"]})
    assert told({"text": "x"}, model=model)["destinations"][0].startswith("unknown")
    assert "destinations" not in told({"text": "x"}, model=model, risk=RiskClass.MODIFY)


@pytest.mark.parametrize(
    "order",
    ["*", "O-?", "1-100000", "A1-A9", "1..9", "/", "docs/", "1=1", "O-1,O-2", "O-1 O-2", "1 to 9",
     "all", {"where": "open"}, "O-1-O-9", "O-1\u2011O-9", "O-1\u2026O-9", "O-1\uff0cO-2", "O-1+O-2",
     "O-1\u200bO-2", "O-1~O-9"],
    ids=str,
)  # fmt: skip
def test_how_many_things_are_touched_is_not_claimed_where_a_text_may_name_many(order):
    found = told({"order": order}, risk=RiskClass.DELETE)["things touched"]
    assert found[0].startswith("unknown how many: ")
    assert found[1] == "high"


@pytest.mark.parametrize("order", ["O-1", "2024-01-05", "recall", "report v2.pdf", 7])
def test_one_thing_is_one(order):
    assert told({"order": order})["things touched"] == (f"1: {order}", "low")


@pytest.mark.parametrize("to", ["a@x b@y", "Bob <a@x>;Eve <b@y>", "http://x http://y"])
def test_however_addresses_are_divided_each_is_a_destination(to):
    assert told({"to": to})["destinations"][0].startswith("2:")


@pytest.mark.parametrize(
    ("action", "risk", "leaves"),
    [("model", RiskClass.READ, True), ("prompt", RiskClass.EXTERNAL, True),
     ("resource", RiskClass.READ, False)],
)  # fmt: skip
def test_that_data_leaves_is_said_of_other_calls_too(action, risk, leaves):
    approval = msgspec.structs.replace(APPROVAL, action=action, risk=risk)
    whats = [line.what for line in radius(approval, SHOWN, None)]
    assert ("data leaving" in whats) is leaves
