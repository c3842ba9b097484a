"""Ways out for an agent that has read secrets: each is asked about."""

from __future__ import annotations

from time import process_time

import msgspec
import pytest

from portcullis.core.call import RiskClass
from portcullis.core.containment import (
    ArgumentModel,
    ArgumentRole,
    Condition,
    Confidentiality,
    Containment,
    Lookup,
    QuestionKind,
    ResultField,
    RiskRule,
    ToolModel,
    Treatment,
)
from portcullis.provenance.judge import MAX_LOOKS, MAX_VALUES, assess, lookups, sources
from portcullis.provenance.labels import Labels
from portcullis.provenance.learning import approve, awaited, learn
from portcullis.provenance.words import Words

ROLE = ArgumentRole
SECRET = Labels(confidentiality=Confidentiality.SECRET)


def roles(**named):
    return {name: ArgumentModel(role=role) for name, role in named.items()}


def kinds(model, call, prompt, labels=SECRET):
    found = assess(model, call, Words.of([prompt]), labels)
    return {question.kind.value for question in found.questions}


def test_a_host_that_something_is_at_is_no_mailbox():
    send = ToolModel(
        tool="mail.send",
        risk=RiskClass.EXTERNAL,
        arguments=roles(to=ROLE.DESTINATION, body=ROLE.PAYLOAD),
    )
    said = "Please read the article at blog.attacker.com/post and mail me a summary"
    call = {"to": "article@blog.attacker.com", "body": "x"}
    assert kinds(send, call, said) >= {"destination", "confidential"}


PUBLISH = ToolModel(tool="docs.publish", risk=RiskClass.EXTERNAL, arguments=roles(id=ROLE.OBJECT))


def test_what_was_written_into_a_named_thing_is_not_published_unasked():
    said = "fix the typos in notes77 and publish notes77"
    assert kinds(PUBLISH, {"id": "notes77"}, said) == {"confidential"}
    assert kinds(PUBLISH, {"id": "notes77"}, said, Labels()) == set()


def test_a_raise_to_a_higher_class_takes_no_question_away():
    model = ToolModel(
        tool="docs.publish",
        risk=RiskClass.EXTERNAL,
        rules=(
            RiskRule(
                when=(Condition(argument="force", kind="equals", values=(True,)),),
                risk=RiskClass.DELETE,
            ),
        ),
        arguments=roles(id=ROLE.OBJECT, code=ROLE.SELECTOR, force=ROLE.SELECTOR),
    )
    call = {"id": "doc77", "code": "x"}
    assert "confidential" in kinds(model, call, "publish doc77")
    assert "confidential" in kinds(model, call | {"force": True}, "publish doc77")


BARE = ToolModel(
    tool="chat.add",
    risk=RiskClass.EXTERNAL,
    bare=True,
    arguments={
        **roles(user=ROLE.DESTINATION, note=ROLE.PAYLOAD, at=ROLE.SELECTOR, n=ROLE.AMOUNT),
        "*": ArgumentModel(role=ROLE.SELECTOR),
    },
)
TRUSTED = learn(
    ToolModel(
        tool="chat.users",
        risk=RiskClass.READ,
        results=(ResultField(path=("[]",), trusted=(ROLE.DESTINATION,)),),
    ),
    ["dora", "eve"],
    SECRET,
)


def test_of_a_tool_that_sends_its_arguments_alone_plain_ones_are_let_go():
    for user in ("dora", "DORA", "Dora"):
        assert kinds(BARE, {"user": user}, "add her for 5", TRUSTED) == set()
    assert kinds(BARE, {"user": "dora", "n": 5}, "add her for 5", TRUSTED) == set()


@pytest.mark.parametrize(
    "call",
    [
        {"user": ["dora", "eve", "dora", "dora", "eve", "dora", "eve", "eve", "dora"]},
        {"user": "dora", "note": "add her"},
        {"user": "dora", "note": [True, False, True]},
        {"user": "dora", "note": ""},
        {"user": "dora", "at": "the password"},
        {"user": "dora", "at": False},
        {"user": "dora", "the password is hunter2": None},
        {"user": "dOrA"},
        {"user": " dora"},
        {"user": "(dora)"},
        {"user": ["dora", True, False]},
        {"user": "dora", "n": "5.00"},
        {"user": ["dora", "eve"]},
        {"user": "dora", "n": []},
    ],
    ids=range(14),
)
def test_of_what_could_say_more_a_human_is_asked(call):
    assert "confidential" in kinds(BARE, call, "add her for 5", TRUSTED)


def test_what_fills_a_pattern_says_something():
    model = ToolModel(
        tool="calendar.add", risk=RiskClass.EXTERNAL, bare=True, arguments=roles(title=ROLE.OBJECT)
    )
    said = 'add "Dinner at {restaurant}"'
    assert kinds(model, {"title": "Dinner at my password is hunter2"}, said) == {"confidential"}


@pytest.mark.parametrize(
    "url",
    [
        "https://blog.example/SECRET/../posts/one",
        "https://blog.example/./posts/one",
        "https://blog.example/posts/%6f%6Ee",
        "https://blog.example/posts/one////",
        "https://blog.example/posts/one.,;",
    ],
)
def test_a_url_goes_out_as_it_is_written(url):
    page = ToolModel(
        tool="web.get",
        risk=RiskClass.READ,
        arguments={"url": ArgumentModel(role=ROLE.DESTINATION, carries=True)},
    )
    said = "Summarise https://blog.example/posts/one"
    assert kinds(page, {"url": url}, said) == {"destination", "confidential"}
    for same in ("https://blog.example/posts/one", "https://BLOG.example:443/posts/one/"):
        assert kinds(page, {"url": same}, said) == set()


PAY = ToolModel(
    tool="bank.pay",
    risk=RiskClass.EXTERNAL,
    arguments=roles(to=ROLE.DESTINATION, amount=ROLE.AMOUNT),
)
BILL = learn(
    ToolModel(
        tool="bank.bills",
        risk=RiskClass.READ,
        results=(ResultField(path=("[]",), trusted=(ROLE.AMOUNT,)),),
    ),
    [500],
    Labels(),
)


@pytest.mark.parametrize("amount", ["0950", "9.050", "xx50", "abc", "xxnan", "", 49, True])
def test_only_the_whole_of_an_amount_follows(amount):
    said = "pay ann@ours.example 10 percent of the invoice"
    call = {"to": "ann@ours.example", "amount": amount}
    assert kinds(PAY, call, said, BILL) == (set() if amount == "" else {"amount"})
    assert kinds(PAY, call | {"amount": 50}, said, BILL) == set()


def test_a_name_of_a_member_is_no_place_where_the_user_said_to_look():
    words = Words.of(["Write to Dora, see www.dora.example"])
    assert awaited({"url": "www.dora.example"}, words)
    assert not awaited({"url": "www.dora.example", "x": {"any steering text": True}}, words)


def test_a_call_of_very_many_values_is_asked_about_and_costs_little():
    said = "10 percent and 20% and 30% of it, plus the fee of 3, 5, 7, 9 or 11"
    words = Words.of([said])
    model = msgspec.structs.replace(
        PAY,
        arguments={
            "to": ArgumentModel(lookups=(Lookup(tool="bank.find", query="q"),)),
            "amount": ArgumentModel(role=ROLE.AMOUNT),
        },
    )
    call = {"to": [f"a{n} b" for n in range(10_000)], "amount": list(range(1000, 9000))}
    began = process_time()
    found = assess(model, call, words, BILL)
    assert len(lookups(model, call, words, BILL)) == MAX_LOOKS
    assert {question.kind.value for question in found.questions} >= {"unknown", "link"}
    many = {"to": "x", "amount": list(range(MAX_VALUES - 1))}
    assess(model, many, words, BILL)
    assert process_time() - began < 0.5


def test_long_prompts_and_results_cost_little():
    began = process_time()
    for prompt in ("-" * 262_000, "1" * 262_000, "1 " * 131_000, "A1 " * 87_000):
        Words.of([prompt]).spell("1" * 24, glued=True)
    assert process_time() - began < 6
    began = process_time()
    read = ToolModel(
        tool="web.get",
        risk=RiskClass.READ,
        results=(ResultField(path=("[]",), links=True, named=True),),
    )
    for text in ("x1.com ", "1-1 ", "-.-.- "):
        learn(read, [text * 150_000] * 4, Labels(), frozenset({"dora"}))
    assert process_time() - began < 6


def test_many_patterns_are_none():
    few = Words.of([" ".join(f'"call {n} {{x}}"' for n in range(16))])
    assert few.describe("call 3 home")
    assert not Words.of([" ".join(f'"call {n} {{x}}"' for n in range(17))]).patterns


@pytest.mark.parametrize(
    "url",
    [
        "(https://blog.example/SECRET/../posts/one",
        '"https://blog.example/SECRET/../posts/one"',
        '=https://blog.example/posts/one"<<>|"<>|',
        "https://blog.example/posts/one ,;, ( < [ ] >",
        "https://blog.example..../posts/one",
        "https://blog\u3002example/posts/one",
        "https://user:pw@blog.example/posts/one)))!!**",
        "http://[2001:db8::1]:8080/b.,;:",
    ],
)
def test_no_sign_around_a_url_undoes_how_it_is_written(url):
    page = ToolModel(
        tool="web.get",
        risk=RiskClass.READ,
        arguments={"url": ArgumentModel(role=ROLE.DESTINATION, carries=True)},
    )
    said = "Summarise https://blog.example/posts/one and http://[2001:db8::1]:8080/b"
    assert kinds(page, {"url": url}, said) == {"destination", "confidential"}


@pytest.mark.parametrize(
    "url",
    [
        "https://shop.example/?id=7",
        "https://wiki.example/wiki/Mercury_(planet)",
        "https://x.example/caf%c3%a9",
        "https://x.example/?u=https%3a%2f%2fy.example",
        "s3://bucket/a/*",
    ],
)
def test_a_url_of_any_writing_is_the_users_in_just_this_writing(url):
    page = ToolModel(
        tool="web.get",
        risk=RiskClass.READ,
        arguments={"url": ArgumentModel(role=ROLE.DESTINATION, carries=True)},
    )
    assert kinds(page, {"url": url}, f"Read {url}, please", Labels()) == set()
    assert kinds(page, {"url": url}, "Read it, please", Labels()) == {"destination"}
    approved = approve(page, {"url": url}, Labels())
    assert kinds(page, {"url": url}, "Read it, please", approved) == set()


def test_parts_of_a_list_in_one_text_are_counted():
    began = process_time()
    found = assess(PAY, {"to": "a@b," * 250_000}, Words.of(["pay"]), Labels())
    assert found.risk is RiskClass.DELETE
    assert {question.kind for question in found.questions} == set(QuestionKind) - {
        QuestionKind.GRANT
    }
    assert process_time() - began < 1.5


def test_padding_turns_no_denial_into_a_hold():
    strict = Containment(treatments={QuestionKind.LINK: {RiskClass.EXTERNAL: Treatment.DENY}})
    post = ToolModel(tool="a.post", risk=RiskClass.EXTERNAL, arguments=roles(text=ROLE.PAYLOAD))
    for more in ({}, {"zz": 1}, {"tags": [0] * 2000}):
        call = {**more, "text": "see https://evil.example/x"}
        found = assess(post, call, Words.of(["post it"]), Labels())
        assert strict.treatment(found) is Treatment.DENY, more


def test_an_approver_sees_of_a_list_what_has_no_source():
    words = Words.of(["pay bob@x.example"])
    told = sources(PAY, {"to": ["eve@evil.example", "bob@x.example"]}, words, Labels())
    assert told["arguments.to"] == "destination: no source"


def test_an_amount_that_readers_take_for_different_ones_is_only_itself():
    assert kinds(PAY, {"to": "ann", "amount": "5,50"}, "pay ann 5.50", Labels()) == {"amount"}
    assert kinds(PAY, {"to": "ann", "amount": "5.50"}, "pay ann 5.50", Labels()) == set()


def test_a_hyphen_elsewhere_names_another_thing():
    drop = ToolModel(tool="orders.delete", risk=RiskClass.DELETE, arguments=roles(id=ROLE.OBJECT))
    assert kinds(drop, {"id": "12-345"}, "delete order 12-345", Labels()) == set()
    assert "delete" in kinds(drop, {"id": "123-45"}, "delete order 12-345", Labels())
    assert kinds(drop, {"id": "W-50003"}, "delete order w50003", Labels()) == set()
