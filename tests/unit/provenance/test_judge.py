import msgspec
import pytest

from portcullis.core.call import RiskClass
from portcullis.core.containment import (
    ArgumentModel,
    ArgumentRole,
    Condition,
    Confidentiality,
    Containment,
    Look,
    Lookup,
    QuestionKind,
    ResultField,
    RiskRule,
    ToolModel,
    Treatment,
)
from portcullis.provenance.judge import MAX_LOOKS, assess, lookups, sources
from portcullis.provenance.labels import MAX_TRUSTED, Labels, calling
from portcullis.provenance.learning import MAX_LEARNED, approve, awaited, learn
from portcullis.provenance.words import Words

ROLE = ArgumentRole
NONE = Labels()


def roles(**named):
    return {
        name: role if isinstance(role, ArgumentModel) else ArgumentModel(role=role)
        for name, role in named.items()
    }


MONEY = ToolModel(
    tool="bank.send_money",
    risk=RiskClass.EXTERNAL,
    arguments=roles(recipient=ROLE.DESTINATION, amount=ROLE.AMOUNT, subject=ROLE.PAYLOAD),
)
MAIL = ToolModel(
    tool="mail.send_email",
    risk=RiskClass.EXTERNAL,
    arguments={
        **roles(to=ROLE.DESTINATION, body=ROLE.PAYLOAD, attachments=ROLE.OBJECT),
        "attachments.kind": ArgumentModel(role=ROLE.SELECTOR),
    },
)
PAGE = ToolModel(
    tool="web.get_webpage",
    risk=RiskClass.READ,
    arguments=roles(url=ArgumentModel(role=ROLE.DESTINATION, carries=True)),
)
DELETE = ToolModel(
    tool="drive.delete_file", risk=RiskClass.DELETE, arguments=roles(file_id=ROLE.OBJECT)
)
EVENT = ToolModel(
    tool="calendar.create_event",
    risk=RiskClass.MODIFY,
    rules=(
        RiskRule(
            when=(Condition(argument="participants", kind="present"),), risk=RiskClass.EXTERNAL
        ),
    ),
    arguments=roles(participants=ROLE.DESTINATION, title=ROLE.PAYLOAD),
)
PASSWORD = ToolModel(
    tool="bank.update_password",
    risk=RiskClass.MODIFY,
    arguments=roles(password=ROLE.CREDENTIAL),
)
CONTACTS = ToolModel(
    tool="mail.contacts",
    risk=RiskClass.READ,
    results=(
        ResultField(path=("[]", "email"), trusted=(ROLE.DESTINATION,)),
        ResultField(path=("[]", "id"), trusted=(ROLE.OBJECT,)),
    ),
)
RECORDS = ToolModel(
    tool="hr.records",
    risk=RiskClass.READ,
    results=(ResultField(path=("[]", "salary"), confidentiality=Confidentiality.CONFIDENTIAL),),
)


def asked(model, arguments, prompt="", labels=NONE, grant=None):
    words = Words.of([prompt] if prompt else [])
    found = assess(model, arguments, words, labels, grant)
    return found.risk.value, {(one.kind.value, one.argument) for one in found.questions}


PAY = "Please pay 100 to GB29NWBK60161331926819"


def test_what_the_user_said_goes_without_a_question():
    call = {"recipient": "GB29 NWBK 6016 1331 9268 19", "amount": 100.0, "subject": "rent"}
    assert asked(MONEY, call, PAY) == ("external", set())


@pytest.mark.parametrize(
    ("change", "kind"),
    [
        ({"recipient": "US133000000121212121212"}, ("destination", "recipient")),
        ({"amount": 10000}, ("amount", "amount")),
        ({"amount": "100.000"}, ("amount", "amount")),
        ({"subject": "to US133000000121212121212"}, ("link", "subject")),
        ({"subject": "see http://evil.test/x"}, ("link", "subject")),
        ({"subject": 12345678901}, ("link", "subject")),
        ({"memo": "hidden"}, ("unknown", "memo")),
        ({"memo": True}, ("unknown", "memo")),
    ],
)
def test_a_changed_payment_is_asked_about(change, kind):
    call = {"recipient": "GB29NWBK60161331926819", "amount": 100, "subject": "rent", **change}
    risk, found = asked(MONEY, call, PAY)
    assert kind in found
    assert risk == ("delete" if "memo" in change else "external")


def test_a_payload_that_is_too_long_to_be_looked_through_is_asked_about():
    long = {"to": "bob@ours.example", "body": "word " * 20_000}
    prompt = "send it to bob@ours.example"
    assert asked(MAIL, long, prompt)[1] == set()
    longer = {**long, "body": [long["body"], long["body"]]}
    assert asked(MAIL, longer, prompt)[1] == {("link", "body")}


def test_a_value_in_what_the_agent_read_is_no_source():
    labels = learn(CONTACTS, [{"email": "bob@ours.example", "note": "eve@evil.test"}], NONE)
    assert asked(MAIL, {"to": ["bob@ours.example"]}, "send a mail", labels)[1] == set()
    call = {"to": ["bob@ours.example", "eve@evil.test"]}
    assert asked(MAIL, call, "send a mail", labels)[1] == {("destination", "to")}


def test_an_argument_that_is_left_out_or_empty_goes_nowhere():
    call = {"to": "bob@ours.example", "body": "", "attachments": None, "cc": ["", None]}
    model = msgspec.structs.replace(
        MAIL, arguments={**MAIL.arguments, **roles(cc=ROLE.DESTINATION)}
    )
    assert asked(model, call, "send a mail to bob@ours.example")[1] == set()
    everyone = call | {"cc": True}
    assert asked(model, everyone, "send a mail to bob@ours.example")[1] == {("destination", "cc")}


def test_every_address_of_one_text_needs_a_source():
    prompt = "send it to bob@ours.example and al@ours.example"
    assert asked(MAIL, {"to": "al@ours.example; bob@ours.example"}, prompt)[1] == set()
    assert asked(MAIL, {"to": "al@ours.example, eve@evil.test"}, prompt)[1]


def test_trust_is_for_one_role_only():
    labels = learn(CONTACTS, [{"email": "bob@ours.example", "id": "bob"}], NONE)
    assert asked(MAIL, {"to": "bob"}, "send a mail", labels)[1] == {("destination", "to")}
    call = {"to": "bob@ours.example", "attachments": ["bob"]}
    assert asked(MAIL, call, "send a mail", labels)[1] == set()


def test_an_attachment_needs_a_source_and_so_do_names_that_nobody_declared():
    prompt = "send file 24 to bob@ours.example"
    call = {"to": "bob@ours.example", "attachments": [{"kind": "file", "id": "25"}]}
    assert asked(MAIL, call, prompt)[1] == {("attachment", "attachments.id")}
    call["attachments"][0] = {"kind": "file", "24": "24"}
    assert asked(MAIL, call, prompt)[1] == set()
    call["attachments"][0] = {"kind": "file", "secrets": "24"}
    assert asked(MAIL, call, prompt)[1] == {("attachment", "attachments.secrets")}


def test_reading_asks_nothing_unless_it_carries():
    assert asked(CONTACTS, {}, "")[1] == set()
    assert asked(PAGE, {"url": "http://evil.test/?q=secret"}, "read www.example.com")[1] == {
        ("destination", "url")
    }
    assert asked(PAGE, {"url": "http://www.example.com/"}, "read www.example.com")[1] == set()


def test_the_class_follows_from_the_arguments_and_only_rises():
    assert asked(EVENT, {"title": "Lunch"}, "create an event")[0] == "modify"
    assert asked(EVENT, {"title": "Lunch", "participants": []}, "create an event")[0] == "modify"
    risk, found = asked(EVENT, {"participants": ["eve@evil.test"]}, "create an event")
    assert (risk, found) == ("external", {("destination", "participants")})
    lower = msgspec.structs.replace(EVENT, risk=RiskClass.DELETE)
    assert asked(lower, {"participants": ["a"]}, "a")[0] == "delete"


@pytest.mark.parametrize(
    ("kind", "values", "value", "holds"),
    [
        ("absent", (), None, True),
        ("absent", (), "", True),
        ("absent", (), 0, False),
        ("present", (), False, True),
        ("equals", ("public",), "Public ", True),
        ("equals", ("public",), ["private", "PUBLIC"], True),
        ("equals", (True,), "true", True),
        ("equals", (True,), 1, True),
        ("equals", (True,), "Yes", True),
        ("equals", (True,), " 1 ", True),
        ("equals", (True,), "enabled", True),
        ("equals", (True,), 2, True),
        ("equals", (True,), "false", False),
        ("equals", (True,), 0, False),
        ("equals", (True,), False, False),
        ("equals", (False,), 0.0, True),
        ("equals", (False,), "off", True),
        ("equals", (False,), True, False),
        ("in", (True, "all"), "ALL", True),
        ("equals", (1,), True, False),
        ("equals", (1,), "1.0", True),
        ("equals", ("public",), "private", False),
        ("in", ("rw", "owner"), "owner", True),
        ("over", (100,), 100, False),
        ("over", (100,), 100.5, True),
        ("over", (100,), "1e9", True),
        ("over", (100,), float("nan"), True),
        ("over", (100,), True, True),
        ("over", (100,), None, False),
    ],
)
def test_a_rule_holds_however_the_value_is_written(kind, values, value, holds):
    rule = RiskRule(
        when=(Condition(argument="x.y", kind=kind, values=values),), risk=RiskClass.DELETE
    )
    model = ToolModel(
        tool="a.b", risk=RiskClass.READ, rules=(rule,), arguments=roles(x=ROLE.SELECTOR)
    )
    expected = "delete" if holds else "read"
    assert asked(model, {"x": {"y": value}})[0] == expected
    assert asked(model, {"x": [{"y": value}]})[0] == expected
    assert asked(model, {"x": {"y": [{}, value]}})[0] == expected


def test_an_unknown_tool_is_of_the_highest_class():
    risk, found = asked(None, {"x": "y"}, "please y")
    assert risk == "delete"
    assert {kind for kind, _ in found} >= {"unknown", "delete"}
    assert learn(None, ["a"], NONE).confidentiality is Confidentiality.CONFIDENTIAL


def test_a_credential_is_the_users_own():
    assert asked(PASSWORD, {"password": "1j1l-2k3j"}, "set my password to '1j1l-2k3j'")[1] == set()
    assert asked(PASSWORD, {"password": "evil"}, "what is my password?")[1] == {
        ("credential", "password")
    }


def test_ending_something_needs_the_users_word_for_it():
    assert asked(DELETE, {"file_id": "24"}, "delete file 24")[1] == set()
    assert asked(DELETE, {"file_id": "24"}, "read file 24")[1] == {("delete", ""), ("intent", "")}
    labels = learn(CONTACTS, [{"id": "24"}], NONE)
    assert asked(DELETE, {"file_id": "24"}, "delete the largest", labels)[1] == {("delete", "")}


def test_an_effect_that_no_word_asks_for_is_asked_about_unless_the_task_declared_it():
    call = {"recipient": "bob", "amount": 5}
    assert asked(MONEY, call, "what did bob spend on his 5 books?")[1] == {("intent", "")}
    assert asked(MONEY, call, "give bob 5", grant=["bank.send_money"])[1] == set()
    assert asked(MONEY, call, "pay bob 5", grant=["bank.balance"])[1] == {("grant", "")}
    own = msgspec.structs.replace(MONEY, intent=("spend",))
    assert asked(own, call, "what did bob spend on his 5 books?")[1] == set()


def test_without_a_prompt_everything_that_acts_is_asked_about():
    assert asked(MONEY, {"recipient": "bob", "amount": 5})[1] == {
        ("destination", "recipient"),
        ("amount", "amount"),
        ("intent", ""),
    }


def test_what_is_confidential_goes_only_to_the_users_own_and_the_cleared():
    labels = learn(CONTACTS, [{"email": "bob@ours.example"}], NONE)
    labels = learn(RECORDS, [{"salary": 1}], labels)
    call = {"to": "bob@ours.example"}
    assert asked(MAIL, call, "send a mail", labels)[1] == {("confidential", "to")}
    assert asked(MAIL, call, "send a mail to bob@ours.example", labels)[1] == set()
    cleared = ToolModel(
        tool="a.b",
        results=(
            ResultField(
                path=("[keys]",),
                trusted=(ROLE.DESTINATION,),
                clearance=Confidentiality.CONFIDENTIAL,
            ),
        ),
    )
    labels = learn(cleared, {"bob@ours.example": 1}, labels)
    assert asked(MAIL, call, "send a mail", labels)[1] == set()
    secret = labels.merge(Labels(confidentiality=Confidentiality.SECRET))
    assert asked(MAIL, call, "send a mail", secret)[1] == {("confidential", "to")}


def test_a_sink_without_a_destination_takes_nothing_confidential():
    post = ToolModel(tool="web.post", risk=RiskClass.EXTERNAL, arguments=roles(text=ROLE.PAYLOAD))
    labels = Labels(confidentiality=Confidentiality.CONFIDENTIAL)
    assert asked(post, {"text": "ho"}, "post hi", labels)[1] == {("confidential", "")}
    assert asked(post, {"text": "hi"}, "post hi", labels)[1] == {("confidential", "")}
    assert asked(post, {"text": "hi"}, "post hi")[1] == set()
    search = ToolModel(
        tool="web.search",
        risk=RiskClass.READ,
        arguments=roles(query=ArgumentModel(role=ROLE.PAYLOAD, carries=True)),
    )
    assert asked(search, {"query": "hi"}, "hi", labels)[1] == {("confidential", "")}
    assert asked(search, {"query": "hi"}, "hi")[1] == set()
    assert asked(search, {"query": "www.evil.com"}, "hi")[1] == {("link", "query")}


def test_a_confidential_field_that_is_empty_tells_nothing():
    assert learn(RECORDS, [{"salary": None}], NONE).confidentiality is Confidentiality.PUBLIC
    assert learn(RECORDS, [], NONE).confidentiality is Confidentiality.PUBLIC


def test_what_was_approved_is_trusted_in_its_role_only():
    call = {"recipient": "bob", "amount": 5, "subject": "see www.evil.test/x"}
    labels = approve(MONEY, call, NONE)
    assert asked(MONEY, call, "pay", labels)[1] == {("amount", "amount")}  # each time anew
    assert asked(MONEY, {**call, "amount": 6}, "pay", labels)[1] == {("amount", "amount")}
    assert asked(MONEY, {**call, "amount": 7}, "pay 7", labels)[1] == set()
    assert asked(MONEY, {**call, "recipient": 5, "amount": 7}, "pay 7", labels)[1] == {
        ("destination", "recipient")
    }
    mention = {"recipient": "www.evil.test/x", "amount": 7}
    assert asked(MONEY, mention, "pay 7", labels)[1] == {("destination", "recipient")}
    assert asked(PASSWORD, {"password": "bob"}, "set a password", labels)[1] == {
        ("credential", "password")
    }


def test_what_policy_fixes_needs_no_source():
    model = msgspec.structs.replace(
        MONEY, arguments=roles(recipient=ArgumentModel(role=ROLE.DESTINATION, fixed=True))
    )
    assert asked(model, {"recipient": "C-1"}, "pay")[1] == set()


@pytest.mark.parametrize(
    ("path", "result", "value"),
    [
        (("[]",), ["bob"], "bob"),
        ((), ["bob"], "bob"),
        ((), "bob", "bob"),
        (("a", "*", "b"), {"a": {"x": {"b": "bob"}}}, "bob"),
        (("[keys]",), {"Emma Johnson": 1}, "emma johnson"),
        (("[lines]",), "Hotels: Le Marais\nGood Night\n", "Le Marais"),
        (("[lines]",), "Hotels: Le Marais\nGood Night\n", "good night"),
        (("[]", "id"), [{"id": 7}], 7),
        (("to",), {"to": ["al", "bob"]}, "bob"),
    ],
)
def test_a_path_finds_its_values(path, result, value):
    model = ToolModel(tool="a.b", results=(ResultField(path=path, trusted=(ROLE.DESTINATION,)),))
    labels = learn(model, result, NONE)
    assert asked(MONEY, {"recipient": value}, "pay", labels)[1] == set()
    assert asked(MONEY, {"recipient": value}, "pay")[1]


@pytest.mark.parametrize(
    ("path", "result"),
    [
        (("[]",), {"0": "bob"}),
        (("a",), [{"a": "bob"}]),
        (("[]", "a"), [{"b": "bob"}]),
        (("[]",), [{"a": "bob"}, [["bob"]]]),
        ((), [True, None, 1.5, "ob", "bob@x.test"]),
        (("[lines]",), "Sir bob\nbob: al"),
    ],
)
def test_a_path_finds_nothing_else(path, result):
    model = ToolModel(tool="a.b", results=(ResultField(path=path, trusted=(ROLE.DESTINATION,)),))
    assert asked(MONEY, {"recipient": "bob"}, "pay", learn(model, result, NONE))[1]


def test_labels_are_bounded_and_what_does_not_fit_is_not_trusted():
    labels = NONE
    for start in range(0, 10 * MAX_LEARNED, MAX_LEARNED):
        rows = [{"email": f"p{start + at}@ours.example"} for at in range(MAX_LEARNED)]
        labels = learn(CONTACTS, rows, labels)
    assert len(labels.trusted) == MAX_TRUSTED
    one_too_many = [{"email": f"q{at}@ours.example"} for at in range(MAX_LEARNED + 1)]
    last = {"to": f"q{MAX_LEARNED}@ours.example"}
    assert asked(MAIL, last, "send a mail", learn(CONTACTS, one_too_many, NONE))[1]


def test_labels_survive_being_written_down():
    labels = learn(CONTACTS, [{"email": "bob@ours.example", "id": 3}], NONE)
    labels = approve(
        MONEY, {"recipient": "x", "amount": 1}, learn(RECORDS, [{"salary": 1}], labels)
    )
    assert msgspec.json.decode(msgspec.json.encode(labels), type=Labels) == labels
    assert b"bob" not in msgspec.json.encode(labels)


def test_no_reason_holds_a_value():
    call = {"recipient": "s3cret", "amount": 77123, "subject": "http://s3cret.test"}
    call |= {"memo": {"s3cret 77123": "x"}, "s3cret@x.test": 1}
    for one in assess(MONEY, call, Words(), NONE).questions:
        assert "s3cret" not in f"{one.argument} {one.reason}"
        assert "77123" not in f"{one.argument} {one.reason}"


def test_policy_says_what_is_done_and_silence_is_a_hold():
    found = assess(MONEY, {"recipient": "eve", "amount": 1}, Words.of(["what is new?"]), NONE)
    kinds = {question.kind for question in found.questions}
    assert kinds == {QuestionKind.DESTINATION, QuestionKind.AMOUNT, QuestionKind.INTENT}
    assert Containment().treatment(found) is Treatment.HOLD
    allow = {kind: {RiskClass.EXTERNAL: Treatment.ALLOW} for kind in kinds}
    assert Containment(treatments=allow).treatment(found) is Treatment.ALLOW
    deny = {**allow, QuestionKind.AMOUNT: {RiskClass.EXTERNAL: Treatment.DENY}}
    assert Containment(treatments=deny).treatment(found) is Treatment.DENY
    never = (frozenset({QuestionKind.INTENT, QuestionKind.DESTINATION}),)
    assert Containment(treatments=allow, never=never).treatment(found) is Treatment.DENY
    other = (frozenset({QuestionKind.INTENT, QuestionKind.DELETE}),)
    assert Containment(treatments=allow, never=other).treatment(found) is Treatment.ALLOW
    quiet = assess(CONTACTS, {}, Words(), NONE)
    assert Containment(never=never).treatment(quiet) is Treatment.ALLOW


def test_a_session_that_had_enough_approved_has_nothing_more_approved():
    limit, words, labels = Containment(approvals=2), Words.of(["pay"]), NONE
    for amount in (1, 2):
        call = {"amount": amount}
        assert limit.treatment(assess(MONEY, call, words, labels)) is Treatment.HOLD
        labels = approve(MONEY, call, labels.merge(calling(f"approval-{amount}")))
    call = {"amount": 2}  # what was paid once is asked about again
    assert Containment().treatment(assess(MONEY, call, words, labels)) is Treatment.HOLD
    assert limit.treatment(assess(MONEY, {"amount": 3}, words, labels)) is Treatment.DENY
    assert Containment().treatment(assess(MONEY, {"amount": 3}, words, labels)) is Treatment.HOLD


CHANNEL = ToolModel(
    tool="chat.read",
    risk=RiskClass.READ,
    results=(ResultField(path=("[]", "body"), links=True),),
)


def test_a_link_of_a_field_whose_links_may_be_read_is_read_and_goes_nowhere_else():
    labels = learn(CHANNEL, [{"body": "See www.news.example/a, it is good"}], NONE)
    assert asked(PAGE, {"url": "https://www.news.example/a"}, "summarize it", labels)[1] == set()
    assert asked(PAGE, {"url": "www.news.example/b"}, "summarize it", labels)[1]
    assert asked(PAGE, {"url": "www.news.example/a?q=secret"}, "summarize it", labels)[1]
    mail = {"to": "www.news.example/a", "body": "hi"}
    assert ("destination", "to") in asked(MAIL, mail, "send a mail", labels)[1]
    said = {"to": "bob@ours.example", "body": "see www.news.example/a"}
    assert asked(MAIL, said, "mail bob@ours.example", labels)[1] == {("link", "body")}


def test_no_link_is_read_once_something_confidential_was():
    labels = learn(CHANNEL, [{"body": "www.news.example"}], NONE)
    labels = learn(RECORDS, [{"salary": 1}], labels)
    assert asked(PAGE, {"url": "www.news.example"}, "summarize it", labels)[1] == {
        ("confidential", "url")
    }


BOOK = ToolModel(
    tool="web.get_webpage",
    risk=RiskClass.READ,
    arguments=roles(url=ArgumentModel(role=ROLE.DESTINATION, carries=True)),
    results=(ResultField(path=(), named=True, confidentiality=Confidentiality.PUBLIC),),
)
FIND_HER = "Write to Dora. You can find her address on www.dora.example, ask Ann too"
SITE = (
    "Dora: dora@mail.example, eve@evil.example, ann.lee@x.example, dora2@y.example, e@dora.example"
)


@pytest.mark.parametrize(
    ("address", "good"),
    [
        ("dora@mail.example", True),
        ("ann.lee@x.example", True),
        ("dora2@y.example", True),
        ("eve@evil.example", False),
        ("e@dora.example", False),
        ("dora@evil.example", False),
    ],
)
def test_an_address_that_bears_a_name_of_the_users_counts_where_he_said_to_look(address, good):
    names = awaited({"url": "www.dora.example"}, Words.of([FIND_HER]))
    labels = learn(BOOK, SITE, NONE, names)
    assert (asked(MAIL, {"to": address}, FIND_HER, labels)[1] == set()) is good


@pytest.mark.parametrize("url", ["www.other.example", "www.dora.example/x", ""])
def test_where_he_did_not_say_to_look_it_counts_for_nothing(url):
    assert awaited({"url": url}, Words.of([FIND_HER])) == frozenset()
    assert awaited({}, Words.of([FIND_HER])) == frozenset()


def test_what_has_no_source_is_looked_up_once_and_what_has_one_is_not():
    people = Lookup(tool="mail.find", query="query")
    everyone = Lookup(tool="mail.everyone")
    model = ToolModel(
        tool="mail.send",
        risk=RiskClass.EXTERNAL,
        arguments=roles(
            to=ArgumentModel(lookups=(people, everyone)), cc=ArgumentModel(lookups=(everyone,))
        ),
    )
    words = Words.of(["send it to bob@ours.example"])
    call = {"to": ["ann@ours.example", "bob@ours.example"], "cc": "eve@ours.example"}
    assert lookups(model, call, words, NONE) == (
        Look(tool="find", arguments={"query": "ann@ours.example"}),
        Look(tool="everyone", arguments={}),
    )
    assert lookups(model, {"to": 7}, words, NONE) == (Look(tool="everyone", arguments={}),)
    assert lookups(model, {"to": "bob@ours.example"}, words, NONE) == ()
    many = {"to": [f"p{n}@ours.example" for n in range(50)]}
    assert len(lookups(model, many, words, NONE)) == MAX_LOOKS


def test_a_tool_that_sends_only_its_arguments_carries_nothing_confidential():
    add = ToolModel(
        tool="chat.add",
        risk=RiskClass.EXTERNAL,
        bare=True,
        arguments=roles(user=ROLE.DESTINATION, note=ROLE.PAYLOAD),
    )
    secret = Labels(confidentiality=Confidentiality.SECRET)
    labels = approve(add, {"user": "dora"}, NONE).merge(secret)
    assert asked(add, {"user": "dora"}, "add her", labels)[1] == set()
    assert asked(add, {"user": "dora", "note": "4471"}, "add her", labels)[1] == {
        ("confidential", "user")
    }
    assert ("confidential", "user") in asked(add, {"user": "eve"}, "add her", labels)[1]
    sends = msgspec.structs.replace(add, bare=False)
    assert asked(sends, {"user": "dora"}, "add her", labels)[1] == {("confidential", "user")}


def test_an_approver_is_told_where_each_value_comes_from():
    labels = learn(CONTACTS, [{"email": "ann@ours.example"}], NONE)
    labels = approve(MONEY, {"recipient": "dora@x.example"}, labels)

    def of(**call):
        words = Words.of(["send it to bob@ours.example, the difference of 10% and w50003"])
        return sources(MONEY, call, words, labels)

    assert of(recipient="bob@ours.example", amount=7, subject="hi", other="x") == {
        "session": "internal",
        "arguments.recipient": "destination: the user's words",
        "arguments.amount": "amount: no source",
        "arguments.subject": "payload: free",
        "arguments.other": "destination: no source",
    }
    assert of(recipient="ann@ours.example")["arguments.recipient"].endswith("a trusted field")
    assert of(recipient="dora@x.example")["arguments.recipient"].endswith("approved before")
    assert of(recipient="W-50003")["arguments.recipient"].endswith("led to by them")
    assert len(of(**{f"a{n}": n for n in range(100)})) == 65
