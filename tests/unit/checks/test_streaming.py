"""If these fail, a stream leaks what a whole answer would not, or holds back what it need not."""

import random
import time
from collections import defaultdict
from dataclasses import replace

import pytest

from firewalls import ATTACK, CARD, KEY, MAIL, Detector, Wall, chat, context, said, streamed
from portcullis.checks.inspect import Inspect
from portcullis.checks.looking import TAKEN
from portcullis.checks.rules import RuleBook
from portcullis.core.call import Result, ToolProposal
from portcullis.core.inspection import Category
from portcullis.inspection import packs
from portcullis.inspection.inspector import Inspector
from unit.inspection.engine.making import shipped

pytestmark = pytest.mark.anyio
TEXT = f"call {MAIL}, pay <CREDIT_CARD_1> with {KEY} or <CREDIT_CARD_9>, see ![a](https://x.example/?<CREDIT_CARD_1>)"
LAYERS = {
    "to_model": {"financial": "tokenise"},
    "from_model": {"secret": "mask", "exfiltration": "mask", "EMAIL_ADDRESS": "hash"},
    "canaries": True,
}


@pytest.fixture
async def wall():
    wall = Wall(**LAYERS)
    await wall.request(chat(("user", CARD)))
    return wall


def cuts(text, seed):
    chooser = random.Random(seed)
    places = sorted(chooser.sample(range(1, len(text)), chooser.randrange(len(text) // 2)))
    return [text[a:b] for a, b in zip([0, *places], [*places, len(text)], strict=True)]


@pytest.mark.parametrize("pieces", [list(TEXT), [TEXT], *(cuts(TEXT, seed) for seed in range(25))])
async def test_a_stream_becomes_what_the_whole_answer_becomes_however_it_is_cut(wall, pieces):
    whole = await wall.result(chat(), said(TEXT))
    judge = wall.stream()
    assert streamed(judge, pieces) == (whole.payload["choices"][0]["message"]["content"], None)
    assert [f.type for f in judge.findings] == [f.type for f in whole.findings]
    assert (
        judge.whole("choices[0].message.content", TEXT, json=False)
        == streamed(wall.stream(), [TEXT])[0]
    )


async def test_prose_is_not_held_back(wall):
    judge = wall.stream()
    for piece in ("Hello ", "there, ", "all is ", "well < x "):
        before = judge.text("t", piece, last=False)
    assert before.settled == len("Hello there, all is well < x ")


@pytest.mark.parametrize("first", ["s", "I", "1", "42", "Yes", "aGVs", "and a key: s"])
async def test_the_first_word_is_seen_at_once_even_if_a_long_secret_may_begin_so(first):
    for layers in ({"secret": "mask"}, {"exfiltration": "mask", "financial": "hash"}):
        judge = Wall(from_model=layers).stream()
        assert judge.text("t", first, last=False).settled == len(first)


async def test_of_a_secret_that_begins_an_answer_four_characters_go_on_at_most():
    for size in range(1, len(KEY)):
        wall = Wall(from_model={"secret": "mask"})
        out = streamed(wall.stream(), [KEY[:size], f"{KEY[size:]} it is"])
        before = KEY[:size] if size <= 2 else ""  # what follows is no letter
        assert out == (f"{before}[API_KEY] it is", None)
        later = streamed(wall.stream(), ["-", KEY[:size], f"{KEY[size:]} it is"])
        assert later == ("-[API_KEY] it is", None)


async def test_a_datum_is_masked_though_what_follows_it_in_the_first_piece_goes_on_ahead():
    wall = Wall(from_model={"secret": "mask", "exfiltration": "mask", "personal": "mask"})
    pieces = [f"{MAIL}:00A", "000 it is"]
    assert wall.stream().text("t", pieces[0], last=False).settled == len(pieces[0])
    assert streamed(wall.stream(), pieces) == ("[EMAIL_ADDRESS]:00A000 it is", None)


async def test_a_canary_that_begins_an_answer_ends_the_stream_after_four_digits_at_most(wall):
    wall = Wall(from_model={"secret": "mask"}, canaries=True)
    canary = wall.means.planted.canary("s1")
    for size in range(1, len(canary)):
        out, denied = streamed(wall.stream(), [canary[:size], f"{canary[size:]} it is"])
        assert denied.code == "PC3020"
        assert out == (canary[:size] if size <= 4 else "")


@pytest.mark.parametrize("treatment", ["block", "hold"])
async def test_nothing_of_a_secret_that_begins_an_answer_goes_on_where_policy_blocks(treatment):
    out, denied = streamed(Wall(from_model={"secret": treatment}).stream(), list(KEY))
    assert (out, denied.code) == ("", {"block": "PC3021", "hold": "PC3023"}[treatment])


async def test_of_short_data_nothing_goes_on_ahead():
    wall = Wall(from_model={"health": "mask", "secret": "mask"})
    assert wall.stream().text("t", "2024", last=False).settled == 0
    assert streamed(wall.stream(), ["2024", "-05-06 was it"]) == ("[VISIT_DATE] was it", None)


async def test_nothing_of_a_blocked_datum_gets_out(wall):
    wall = Wall(from_model={"secret": "block"})
    for pieces in (list(f"the key {KEY} ok"), ["the key " + KEY[:9], KEY[9:] + " ok"]):
        out, denied = streamed(wall.stream(), pieces)
        assert denied.code == "PC3021"
        assert out == "the key "


@pytest.mark.parametrize("size", [1, 2, 7, 13, 1000])
async def test_nothing_of_a_canary_gets_out(wall, size):
    canary = wall.means.planted.canary("s1")
    text = f"my number 12 is 3 and {canary} it is"
    pieces = [text[at : at + size] for at in range(0, len(text), size)]
    judge = wall.stream()
    out, denied = streamed(judge, pieces)
    assert denied.code == "PC3020"
    assert text.startswith(out)
    assert len(out) <= len("my number 12 is 3 and ")
    assert judge.text("t", "more", last=True) is denied
    assert judge.whole("t", "more", json=False) is denied


async def test_a_canary_in_the_arguments_of_a_call_ends_the_stream(wall):
    canary = wall.means.planted.canary("s1")
    denied = wall.stream().whole("c", f'{{"q": "{canary}"}}', json=True)
    assert denied.code == "PC3020"


async def test_a_canary_in_a_signature_ends_the_stream_and_chance_changes_none(wall):
    canary = wall.means.planted.canary("s1")
    signature = "Erq9x" * 20 + KEY + "zQ=="
    judge = wall.stream()
    assert judge.whole("s", signature, json=False, sealed=True) == signature
    assert judge.whole("s", f"{signature} {canary}", json=False, sealed=True).code == "PC3020"
    assert judge.findings[-1].where == "s, from system prompt of this session"


async def test_arguments_are_read_and_restored_as_json(wall):
    judge = wall.stream()
    assert judge.whole("c", f'{{"q":["<CREDIT_CARD_1>", "{KEY}"]}}', json=True) == (
        f'{{"q":["{CARD}","[API_KEY]"]}}'
    )
    assert judge.whole("c", '{ "q" : 1 }', json=True) == '{ "q" : 1 }'
    assert judge.whole("c", "", json=True) == ""
    assert [f.where for f in judge.findings] == ["c.q[1]"]


async def test_a_model_that_is_held_to_account_for_injections_is_not_ahead_of_its_score():
    wall = Wall(injection={"model": "block"})
    judge = wall.stream()
    assert judge.text("t", "All is well. And ", last=False).settled == 0
    assert judge.text("t", ATTACK, last=True).code == "PC3022"
    assert streamed(wall.stream(), ["All is ", "well."]) == ("All is well.", None)


async def test_data_hidden_in_an_encoding_ends_the_stream():
    wall = Wall(from_model={"secret": "mask"})
    hidden = f"the key is {KEY} ok".encode().hex()
    _, denied = streamed(wall.stream(), [f"see {hidden}", " done"])
    assert denied.code == "PC3021"
    assert denied.reason == "API_KEY in choices[0].message.content, hidden"


@pytest.mark.parametrize(
    "hidden",
    [
        "\u200b".join(KEY),
        f"{KEY[:9]}\u200b{KEY[9:]}",
        "".join(chr(ord(digit) + 0xFEE0) for digit in CARD),
        f"&#{ord(KEY[0])};{KEY[1:]}",
    ],
    ids=["zero-width", "one-zero-width", "full-width", "reference"],
)
async def test_data_spelt_in_odd_characters_ends_the_stream(hidden):
    wall = Wall(from_model={"secret": "mask", "financial": "mask"})
    _, denied = streamed(wall.stream(), ["see ", hidden, f" and {CARD}, \u00fc done"])
    assert denied.code == "PC3021"
    assert denied.reason.endswith("choices[0].message.content, hidden")
    passing = streamed(wall.stream(), ["se\u200be ", CARD, " and", f" {KEY} d\u00f6ne"])
    assert passing == ("se\u200be [CREDIT_CARD] and [API_KEY] d\u00f6ne", None)


OUTPUT = {"type": "object", "properties": {"total": {"type": "integer"}}, "required": ["total"]}
DONE = Result(payload=None, size=1)


async def test_an_answer_with_a_schema_is_held_until_it_fits():
    wall = Wall(from_model={"financial": "mask"})
    judge = wall.stream(context(output_schema=OUTPUT))
    key = "content[0].text"
    assert judge.text(key, '{"total":', last=False).settled == 0
    assert streamed(wall.stream(context(output_schema=OUTPUT)), ['{"total"', ": 3}"], key) == (
        '{"total": 3}',
        None,
    )
    thinking = wall.stream(context(output_schema=OUTPUT))
    assert streamed(thinking, ["let me see"], "content[0].thinking") == ("let me see", None)


async def test_nothing_of_an_answer_that_does_not_fit_gets_out_and_the_stream_ends_badly():
    judge = Wall().stream(context(output_schema=OUTPUT))
    assert streamed(judge, ["it is ", "three"], "content[0].text") == ("", None)
    assert judge.end(DONE).code == "PC3028"
    called = Result(
        payload=None, size=1, proposals=(ToolProposal(id="c", name="n", arguments="{}"),)
    )
    assert judge.end(called) is None  # it was not the final answer
    assert [(f.type, f.treatment) for f in judge.findings] == [("OUTPUT_SCHEMA", "strip")]


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
async def test_a_choice_that_calls_a_tool_frees_no_other_from_the_schema(order):
    call = ToolProposal(id="c", name="n", arguments="{}", choice=order[0])
    result = Result(payload=None, size=1, proposals=(call,))
    texts = {order[0]: "let me see", order[1]: "it is three"}
    bad, good = (Wall().stream(context(output_schema=OUTPUT)) for _ in range(2))
    for choice, text in texts.items():
        key = f"choices[{choice}].message.content"
        assert streamed(bad, [text], key) == ("", None)
        streamed(good, [text if choice == order[0] else '{"total": 3}'], key)
    assert bad.end(result).code == "PC3028"
    assert good.end(result) is None


@pytest.mark.parametrize("silent", [0, 1])
async def test_each_of_several_answers_that_were_asked_for_is_given(silent):
    asked, around = chat(("user", "hi"), n=2), context(output_schema=OUTPUT)
    said = f"choices[{1 - silent}].message.content"
    judge = Wall().check.judge_stream(asked, around)
    assert streamed(judge, ['{"total": 3}'], said)[1] is None
    assert judge.end(Result(payload=None, size=1)).code == "PC3028"
    call = ToolProposal(id="c", name="n", arguments="{}", choice=silent)
    assert judge.end(Result(payload=None, size=1, proposals=(call,))) is None


async def test_a_providers_error_is_told_without_what_may_not_go_on():
    wall = Wall(from_model={"secret": "block", "financial": "mask"}, canaries=True)
    judge = wall.stream()
    judge.text("choices[0].message.content", "Well, ", last=False)
    for text in (f"bad: {wall.means.planted.canary('s1')}", f"bad: {KEY}"):
        assert judge.whole("error.message", text, json=False, error=True) == TAKEN
    assert judge.whole("error.message", f"bad: {CARD}", json=False, error=True) == (
        "bad: [CREDIT_CARD]"
    )
    assert [f.treatment for f in judge.findings] == ["strip", "strip", "mask"]
    assert judge.whole("content", f"bad: {KEY}", json=False).code == "PC3021"


async def test_an_answer_that_comes_whole_or_not_at_all_is_held_to_the_schema_too():
    around, key = context(output_schema=OUTPUT), "output[0].content[0].text"
    silent = Wall().stream(around)
    assert silent.end(DONE).code == "PC3028"
    whole = Wall().stream(around)
    assert whole.whole(key, "it is three", json=False) == ""
    assert whole.end(DONE).code == "PC3028"
    fitting = Wall().stream(around)
    assert fitting.whole(key, '{"total": 3}', json=False) == '{"total": 3}'
    assert fitting.end(DONE) is None


async def test_speech_ends_the_stream_where_policy_wants_to_read_all_that_comes():
    judge = Wall(opaque={"from_model": "block"}).stream()
    denied = judge.opaque("choices[0].delta.audio.data")
    assert denied.code == "PC3024"
    assert judge.text("choices[0].message.content", "hi", last=True) == denied
    lenient = Wall().stream()
    assert lenient.opaque("choices[0].delta.audio.data") is None
    assert lenient.opaque("choices[0].delta.audio.data") is None
    assert [(f.type, f.treatment) for f in lenient.findings] == [("OPAQUE", "allow")]


@pytest.fixture(scope="module")
def strict():
    """Every rule that is shipped, each to be masked."""
    wall = Wall(canaries=True, from_model={one.value: "mask" for one in Category})
    entities = defaultdict(set)
    for rule in packs.select(packs.builtin()):
        entities[rule.entity].add(rule.category)
    inspector = Inspector(shipped(), Detector(), wall.canaries)
    book = RuleBook(wall.pdp, entities)
    means = replace(wall.means, patterns=shipped(), inspector=inspector, book=book)
    wall.check = Inspect(means)
    streamed(wall.stream(), ["warm"])
    return wall


@pytest.mark.parametrize(
    ("begin", "again"),
    [
        ("![x](https://a/", "'\""),
        ("![x](https://a/", "a."),
        ("![x](https://a/", "\\"),
        ("![x](<https://a/", "'\" "),
        ("<img srcset='", "a 1x, "),
        ("www.", "www."),
        ("", "1.1."),
        ("", "postgres://a:b"),
        ("Bearer ", "5"),
        ("", "((((("),
    ],
)
async def test_no_stream_of_single_characters_keeps_a_gate_busy(strict, begin, again):
    text = (begin + again * 4096)[:4096]
    judge = strict.stream()
    began = time.process_time()
    for piece in text:
        judge.text("t", piece, last=False)
    judge.text("t", "", last=True)
    assert time.process_time() - began < 1.2


async def test_what_follows_a_long_link_waits_for_few_characters_more(strict):
    link = f"see ![x](https://docs.example/{'a/' * 150}) "
    after = "and this is how it goes on from here"
    judge = strict.stream()
    settled = [judge.text("t", piece, last=False).settled for piece in link + after]
    assert settled[len(link) + len(link) // 32] >= len(link)
    assert settled[-1] >= len(link + after) - len("here")


async def test_texts_that_stand_for_themselves_are_clear_together_only_if_each_is(wall):
    wall = Wall(from_model={"secret": "mask"}, canaries=True)
    plain = [("id", "chatcmpl-1", False), ("model", "bench-1", False)]
    canary = wall.means.planted.canary("s1")
    assert wall.stream().clear(plain) is True
    for wrong in (KEY, "<EMAIL_ADDRESS_1>", canary):
        assert wall.stream().clear([*plain, ("note", wrong, False)]) is False
    judge = wall.stream()
    judge.text("id", "grows", last=False)
    assert judge.clear(plain) is False
    assert judge.findings == ()
    denied = judge.text("t", canary, last=True)
    assert judge.clear(plain) is denied


async def test_where_instructions_matter_each_text_is_looked_at(wall):
    wall = Wall(injection={"model": "block"})
    assert wall.stream().clear([("id", "chatcmpl-1", False), ("model", "m", False)]) is False
