import pytest

from policies import call, context, policy_of, session_of
from portcullis.core.call import RiskClass
from portcullis.core.containment import (
    ArgumentModel,
    ArgumentRole,
    Condition,
    Confidentiality,
    Lookup,
    QuestionKind,
    ResultField,
    RiskRule,
    Treatment,
)
from portcullis.core.errors import Problem
from portcullis.policy.engine import RegorusEngine
from portcullis.policy.pdp import RegoPdp

CATALOGUE = """\
version: 1
agents: {a: {role: clerk}, b: {role: guest}}
roles:
  clerk:
    allowed_tools: [calendar.create, mail.send]
    containment: {intent: {external: allow}, approvals: 1}
  guest: {allowed_tools: [calendar.create]}
containment:
  link: {external: deny}
  credential: deny
  never: [[intent, destination], [confidential]]
  approvals: 5
tools:
  calendar.create:
    risk: modify
    raise:
      - {when: {participants: present}, risk: external}
      - {when: {notes: absent, "who[].kind": {in: [all, 1]}, days: {over: 2.5}}, risk: delete}
    intent: [book, plan]
    arguments:
      participants: {role: destination}
      title: {role: payload, max_length: 100}
      owner: {role: destination, equals: session.user}
      "who[].kind": {role: selector}
      "*": {role: selector}
    results:
      "": {confidentiality: confidential}
      "[].participants": {trusted: destination, confidentiality: internal, clearance: secret}
      "[].id_": {trusted: [object, amount]}
      "by name.*.x[][lines]": {trusted: destination}
  mail.send:
    risk: external
    arguments: {url: {role: destination, carries: true}, to: {log: clear}}
"""


def tool(text):
    return f"version: 1\ntools:\n  a.b:\n    arguments: {{x: {{role: object}}}}\n    {text}\n"


@pytest.fixture(scope="module")
def pdp():
    return RegoPdp(policy_of(CATALOGUE), RegorusEngine())


def test_what_the_catalogue_says_is_what_the_engine_gets(pdp):
    model = pdp.model("calendar", "create")
    assert model.risk is RiskClass.MODIFY
    assert model.intent == ("book", "plan")
    assert model.rules == (
        RiskRule(
            when=(Condition(argument="participants", kind="present"),), risk=RiskClass.EXTERNAL
        ),
        RiskRule(
            when=(
                Condition(argument="notes", kind="absent"),
                Condition(argument="who.kind", kind="in", values=("all", 1)),
                Condition(argument="days", kind="over", values=(2.5,)),
            ),
            risk=RiskClass.DELETE,
        ),
    )
    assert model.arguments == {
        "participants": ArgumentModel(role=ArgumentRole.DESTINATION),
        "title": ArgumentModel(role=ArgumentRole.PAYLOAD),
        "owner": ArgumentModel(role=ArgumentRole.DESTINATION, fixed=True),
        "who.kind": ArgumentModel(role=ArgumentRole.SELECTOR),
        "*": ArgumentModel(role=ArgumentRole.SELECTOR),
    }
    assert model.results == (
        ResultField(path=(), confidentiality=Confidentiality.CONFIDENTIAL),
        ResultField(
            path=("[]", "participants"),
            trusted=(ArgumentRole.DESTINATION,),
            clearance=Confidentiality.SECRET,
        ),
        ResultField(path=("[]", "id_"), trusted=(ArgumentRole.OBJECT, ArgumentRole.AMOUNT)),
        ResultField(
            path=("by name", "*", "x", "[]", "[lines]"), trusted=(ArgumentRole.DESTINATION,)
        ),
    )


def test_an_argument_without_a_role_is_a_destination_and_a_tool_that_is_not_listed_has_no_model(
    pdp,
):
    sent = pdp.model("mail", "send")
    assert sent.arguments["to"] == ArgumentModel(role=ArgumentRole.DESTINATION)
    assert sent.arguments["url"].carries
    assert pdp.model("mail", "other") is None
    assert pdp.model("calendar.create", "x") is None


def test_a_role_goes_before_what_holds_for_everyone_key_by_key(pdp):
    clerk = pdp.containment(context("a"))
    guest = pdp.containment(context("b"))
    assert clerk.treatments[QuestionKind.LINK] == {RiskClass.EXTERNAL: Treatment.DENY}
    assert set(clerk.treatments[QuestionKind.CREDENTIAL].values()) == {Treatment.DENY}
    assert clerk.treatments[QuestionKind.INTENT] == {
        RiskClass.MODIFY: Treatment.ALLOW,
        RiskClass.EXTERNAL: Treatment.ALLOW,
    }
    assert guest.treatments[QuestionKind.INTENT] == {RiskClass.MODIFY: Treatment.ALLOW}
    assert (clerk.approvals, guest.approvals) == (1, 5)
    assert clerk.never == (
        frozenset({QuestionKind.INTENT, QuestionKind.DESTINATION}),
        frozenset({QuestionKind.CONFIDENTIAL}),
    )


def test_a_policy_that_says_nothing_of_containment_asks_nothing():
    policy = policy_of("version: 1\nagents: {a: {role: r}}\nroles: {r: {}}\n")
    assert RegoPdp(policy, RegorusEngine()).containment(context("a")) is None
    policy = policy_of("version: 1\nagents: {a: {role: r}}\nroles: {r: {}}\ncontainment: {}\n")
    found = RegoPdp(policy, RegorusEngine()).containment(context("a"))
    assert set(found.treatments[QuestionKind.GRANT].values()) == {Treatment.DENY}


def test_rego_still_decides_and_every_word_of_the_catalogue_is_in_the_digest(pdp):
    made = call(target="calendar.create", arguments={"owner": "ada"})
    assert pdp.decide(made, context("b")).code == "PC3008"
    assert pdp.decide(made, context("b", session_of("b"))).risk is RiskClass.MODIFY
    for old, new in (
        ("present", "absent"),
        ("approvals: 5", "approvals: 6"),
        ("approvals: 1", "approvals: 2"),
        ("clearance: secret", "clearance: public"),
        ("role: payload", "role: object"),
        ("[book, plan]", "[book]"),
    ):
        assert policy_of(CATALOGUE.replace(old, new, 1)).digest != pdp.digest


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("risks: read", "unknown key risks"),
        ("raise: {}", "must be a list"),
        ("raise: [{risk: read}]", "must say when and risk"),
        ("raise: [{when: {}, risk: read}]", "says nothing"),
        ("raise: [{when: {x: here}, risk: read}]", "present, absent"),
        ("raise: [{when: {x: {over: many}}, risk: read}]", "must be a number"),
        ("raise: [{when: {x: {over: true}}, risk: read}]", "must be a number"),
        ("raise: [{when: {x: {in: []}}, risk: read}]", "at least one"),
        ("raise: [{when: {x: {equals: [1]}}, risk: read}]", "strings, numbers"),
        ("raise: [{when: {x: {equals: 1, over: 1}}, risk: read}]", "one of equals"),
        ("raise: [{when: {x: present}, risk: high}]", "one of read"),
        ("raise: [{when: {y: present}, risk: read}]", "arguments do not name y"),
        ("results: [a]", "must be a mapping"),
        ("results: {a: {}}", "says nothing"),
        ("results: {a: {trust: object}}", "unknown key trust"),
        ("results: {a: {trusted: payload}}", "one of destination, object, amount, credential"),
        ("results: {a: {trusted: [object, object]}}", "listed twice"),
        ("results: {a: {confidentiality: high}}", "one of public"),
        ("results: {a: {trusted: object, clearance: secret}}", "only a trusted destination"),
        ("results: {a..b: {trusted: object}}", "not a path"),
        ('results: {"[0]": {trusted: object}}', "not a path"),
        ('results: {"[keys].a": {trusted: object}}', "not a path"),
        ('results: {"[]a": {trusted: object}}', "not a path"),
        ("intent: [send money]", "one word"),
    ],
)
def test_a_slip_in_the_catalogue_is_shown_at_its_place(text, says):
    with pytest.raises(Problem) as caught:
        policy_of(tool(text))
    assert says in caught.value.detail
    assert "policy/main.yaml:5:" in caught.value.detail
    assert "^" in caught.value.detail


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("x: {role: recipient}", "one of destination"),
        ("x: {role: selector, carries: true}", "is no selector"),
        ("x: {role: object, carries: yes}", "truth value"),
        ("x: {role: object, carries: false}", "must be true"),
        ('"*": {role: selector, maximum: 3}', "only a role"),
        ('"x[].y": {equals: 3}', "only a role"),
    ],
)
def test_a_slip_in_a_role_is_shown_at_its_place(text, says):
    with pytest.raises(Problem) as caught:
        policy_of(f"version: 1\ntools:\n  a.b:\n    arguments: {{{text}}}\n")
    assert says in caught.value.detail
    assert "policy/main.yaml:4:" in caught.value.detail


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("{links: deny}", "unknown key links"),
        ("{link: block}", "one of allow, hold, deny"),
        ("{link: {all: deny}}", "unknown key all"),
        ("{never: [intent]}", "must be a list"),
        ("{never: [[]]}", "names no question"),
        ("{never: [[purpose]]}", "one of destination"),
        ("{approvals: -1}", "number of calls"),
        ("{approvals: true}", "number of calls"),
        ("{approvals: 513}", "at most 512"),
    ],
)
def test_a_slip_in_containment_is_shown_at_its_place(text, says):
    for before in ("", "roles:\n  r:\n    "):
        with pytest.raises(Problem) as caught:
            policy_of(f"version: 1\n{before}containment: {text}\n")
        assert says in caught.value.detail


LOOKUPS = """\
version: 1
tools:
  mail.find: {risk: read, arguments: {query: {role: selector}}}
  mail.list: {risk: read}
  mail.mark:
    {risk: read, raise: [{when: {all: present}, risk: modify}], arguments: {all: {role: selector}}}
  mail.drop: {risk: delete}
  book.find: {risk: read, arguments: {query: {role: selector}}}
  mail.send:
    risk: external
    sends: arguments
    arguments:
      to: {role: destination, lookup: LOOKUP}
    results:
      "[].body": {links: true}
      "[].page": {named: true, clearance: confidential}
"""


def test_lookups_links_names_and_what_is_sent_are_read():
    both = "[{tool: mail.find, query: query}, {tool: mail.list}]"
    model = RegoPdp(policy_of(LOOKUPS.replace("LOOKUP", both)), RegorusEngine()).model(
        "mail", "send"
    )
    assert model.bare
    assert model.arguments["to"].lookups == (
        Lookup(tool="mail.find", query="query"),
        Lookup(tool="mail.list"),
    )
    assert [(field.links, field.named, field.clearance) for field in model.results] == [
        (True, False, Confidentiality.INTERNAL),
        (False, True, Confidentiality.CONFIDENTIAL),
    ]


@pytest.mark.parametrize(
    ("lookup", "fault"),
    [
        ("{query: query}", "names no tool"),
        ("{tool: mail.none}", "mail.none is no lookup"),
        ("{tool: mail.drop}", "mail.drop is no lookup"),
        ("{tool: mail.mark}", "mail.mark is no lookup"),
        ("{tool: book.find, query: query}", "book.find is no lookup"),
        ("{tool: mail.find, query: name}", "mail.find is no lookup"),
    ],
)
def test_a_lookup_that_is_no_plain_reading_of_the_same_server_is_refused(lookup, fault):
    with pytest.raises(Problem, match=fault):
        policy_of(LOOKUPS.replace("LOOKUP", lookup))


@pytest.mark.parametrize("key", ["links: false", "named: no way", "links: {}"])
def test_links_and_names_are_true_or_not_said(key):
    with pytest.raises(Problem, match="must be true"):
        policy_of(tool("results: {x: {KEY}}".replace("KEY", key)))


def test_only_arguments_can_be_said_to_be_sent():
    with pytest.raises(Problem, match="`arguments`"):
        policy_of(tool("sends: everything"))
