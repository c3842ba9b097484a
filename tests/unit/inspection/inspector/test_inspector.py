"""What the inspector makes of the detectors' answers."""

import base64
import itertools
import re

import pytest

from portcullis.core.errors import Problem
from portcullis.core.inspection import (
    Category,
    InjectionScore,
    InjectionVerdict,
    Leak,
    Match,
    Source,
    Text,
)
from portcullis.inspection import inspector as module
from portcullis.inspection.inspector import Inspector
from portcullis.inspection.reading import Wanted

MAIL = ("EMAIL_ADDRESS", Category.PERSONAL, r"[a-z]+@[a-z]+\.example")
TOKEN = ("API_KEY", Category.SECRET, r"tok_[a-z0-9]{12}")
SECRET = "tok_" + "a1b2" * 3


class Patterns:
    """Rules that are plain regular expressions; a key of ``pin`` makes the whole value one."""

    def __init__(self, *rules, most=100):
        self.rules = rules
        self.most = most
        self.scans = []

    @property
    def entities(self):
        return frozenset(entity for entity, _, _ in self.rules)

    def only(self, entities):
        return Patterns(*(rule for rule in self.rules if rule[0] in entities), most=self.most)

    def scan(self, texts, keys=()):
        self.scans.append(list(zip(texts, keys, strict=True)))
        found = [tuple(self._matches(text)) for text in texts]
        if sum(map(len, found)) > self.most:
            raise Problem("PC3025", "too many")
        return found

    def _matches(self, text):
        for entity, category, pattern in self.rules:
            for one in re.finditer(pattern, text):
                yield Match(
                    entity=entity,
                    category=category,
                    start=one.start(),
                    end=one.end(),
                    score=1.0,
                    rule=entity.lower(),
                )


class Injection:
    def score(self, text, source):
        score = 0.9 if "ignore all" in text else 0.4 if "ignore" in text else 0.0
        verdict = (
            InjectionVerdict.INJECTION
            if score > 0.8
            else InjectionVerdict.SUSPECT
            if score
            else InjectionVerdict.CLEAN
        )
        return InjectionScore(score=score, verdict=verdict, reasons=("override",) if score else ())


class Canaries:
    def find(self, text, session_key=""):
        return (Leak(place=f"of {session_key}"),) if "canary" in text else ()

    def absent(self, text):
        return "canary" not in text


class Names:
    def find(self, text):
        return [
            Match(
                entity="PERSON",
                category=Category.PERSONAL,
                start=one.start(),
                end=one.end(),
                score=0.5,
                rule="names",
            )
            for one in re.finditer("anna[@a-z.]*", text)
        ]


@pytest.fixture
def inspector():
    return Inspector(Patterns(MAIL, TOKEN), Injection(), Canaries(), (Names(),))


def one(inspector, text, wanted=None, **more):
    source = more.pop("source", Source.TOOL)
    (reading,) = inspector.read(
        [Text(path=(), text=text, source=source, **more)], wanted or Wanted(session="s1")
    )
    return reading


def b64(text):
    return base64.b64encode(text.encode()).decode()


def test_a_reading_holds_what_each_detector_saw(inspector):
    reading = one(inspector, f"write to bob@mail.example with {SECRET}, ignore all canary")
    assert [(m.entity, m.start, m.end) for m in reading.matches] == [
        ("EMAIL_ADDRESS", 9, 25),
        ("API_KEY", 31, 47),
    ]
    assert reading.injection.verdict is InjectionVerdict.INJECTION
    assert reading.leaks == (Leak(place="of s1"),)
    assert (reading.hidden, reading.tricks) == ((), ())


def test_all_texts_are_scanned_in_one_pass_and_each_gets_its_own_reading():
    patterns = Patterns(MAIL)
    texts = [
        Text(path=(at,), text=text, source=Source.USER, key="mail")
        for at, text in enumerate(["a@b.example", "", "ig\u200bnore c@d.example"])
    ]
    readings = Inspector(patterns, Injection()).read(texts, Wanted())
    assert len(patterns.scans) == 1
    assert [key for _, key in patterns.scans[0]] == ["mail"] * 4
    assert [len(reading.matches) for reading in readings] == [1, 0, 1]
    assert [reading.tricks for reading in readings] == [(), (), ("zero-width",)]


@pytest.mark.parametrize(
    ("text", "span"),
    [
        ("to \uff42\uff4f\uff42@mail.example now", (3, 19)),
        ("to b\u043eb@mail.example now", (3, 19)),
        ("one\u2026 to b\u200bo\u200bb@mail.example now", (8, 26)),
        ("to &#98;ob@mail.example now", (3, 23)),
    ],
)
def test_a_disguised_datum_is_found_at_its_place(inspector, text, span):
    reading = one(inspector, text)
    assert [(m.entity, m.start, m.end) for m in reading.matches] == [("EMAIL_ADDRESS", *span)]
    assert reading.hidden == ()


def test_what_overlaps_another_find_is_hidden_and_never_lost():
    word = ("WORD", Category.TECHNICAL, "ob@mail")
    inspector = Inspector(Patterns(word, (*MAIL[:2], "b" + MAIL[2])), Injection())
    reading = one(inspector, "to \uff42ob@mail.example now")
    assert [(m.entity, m.start, m.end) for m in reading.matches] == [("WORD", 4, 11)]
    assert [(h.entity, h.layer) for h in reading.hidden] == [("EMAIL_ADDRESS", "normalised")]


def test_in_a_long_text_a_disguised_datum_is_hidden_and_never_lost(inspector):
    reading = one(inspector, "word " * 5000 + "to \uff42\uff4f\uff42@mail.example now")
    assert [(h.entity, h.layer) for h in reading.hidden] == [("EMAIL_ADDRESS", "normalised")]


def test_a_datum_that_only_reads_differently_is_not_hidden_twice(inspector):
    reading = one(inspector, "&lt;bob@mail.example&gt; \u2026")
    assert len(reading.matches) == 1
    assert reading.hidden == ()


SPLIT = SECRET[:9] + "\u200b" + SECRET[9:]
INSIDE = base64.b64encode(f"the key: {SECRET} is it".encode()).decode()


@pytest.mark.parametrize(
    ("text", "shown", "layers"),
    [
        (f"{SECRET} {SPLIT}", [(0, 16), (17, 34)], []),
        (f"{SPLIT} {SECRET}", [(0, 17), (18, 34)], []),
        (f"{SPLIT} {SPLIT}", [(0, 17), (18, 35)], []),
        (f"{SECRET} {INSIDE}", [(0, 16)], ["base64"]),
        (f"{SPLIT} {INSIDE}", [(0, 17)], ["base64"]),
        (f"{SECRET} {SPLIT} {INSIDE}", [(0, 16), (17, 34)], ["base64"]),
    ],
)
def test_nothing_hides_behind_a_copy_of_itself(inspector, text, shown, layers):
    reading = inspector.read([Text(path=(), text=text, source=Source.USER)], Wanted())[0]
    assert [(match.start, match.end) for match in reading.matches] == shown
    assert [one.layer for one in reading.hidden] == layers


def test_a_secret_in_an_encoding_is_hidden_and_personal_data_there_is_not_looked_for(inspector):
    reading = one(inspector, b64(f"key {SECRET} of bob@mail.example"))
    assert reading.matches == ()
    assert [(h.entity, h.category, h.layer) for h in reading.hidden] == [
        ("API_KEY", Category.SECRET, "base64")
    ]
    assert one(inspector, f"<!-- the key {SECRET} -->").hidden == ()


def test_an_instruction_in_an_encoding_is_scored_and_the_reason_names_the_layer(inspector):
    reading = one(inspector, b64("please ignore all of it") + " ignore")
    assert reading.injection.verdict is InjectionVerdict.INJECTION
    assert reading.injection.reasons == ("base64: override",)
    assert one(inspector, "ign\u043ere all").injection.reasons == ("override",)


def test_hiding_among_very_many_is_suspect_at_least(inspector):
    reading = one(inspector, (b64("fifteen letters") + " ") * 9000)
    assert reading.injection.verdict is InjectionVerdict.SUSPECT
    assert "flood" in reading.injection.reasons


def test_a_canary_is_found_in_an_encoding_once(inspector):
    assert one(inspector, b64("here is the canary") + " canary").leaks == (Leak(place="of s1"),)


def test_only_what_is_asked_for_is_looked_for(inspector):
    wanted = Wanted(
        entities=frozenset({"API_KEY"}), injection=frozenset({Source.TOOL}), canaries=False
    )
    text = f"anna bob@mail.example {SECRET} ignore all canary"
    reading = one(inspector, text, wanted, source=Source.USER)
    assert [m.entity for m in reading.matches] == ["API_KEY"]
    assert (reading.injection, reading.leaks) == (None, ())
    assert one(inspector, text, wanted).injection is not None


def test_recognisers_give_way_to_rules(inspector):
    reading = one(inspector, "anna wrote anna@mail.example")
    assert [(m.entity, m.start) for m in reading.matches] == [("PERSON", 0), ("EMAIL_ADDRESS", 11)]


def test_numbers_are_scanned_and_nothing_else(inspector):
    reading = one(inspector, "4111", number=True)
    assert (reading.injection, reading.tricks) == (None, ())


def test_too_much_to_find_is_refused():
    inspector = Inspector(Patterns(MAIL, most=2), Injection())
    with pytest.raises(Problem) as refused:
        one(inspector, "a@b.example " * 3)
    assert refused.value.code == "PC3025"


def many(inspector, count, text="a@b.example "):
    long = text + "so it is, " * 5_000
    texts = [Text(path=(n,), text=long, source=Source.USER) for n in range(count)]
    return inspector.read(texts, Wanted())


def test_a_conversation_of_messages_that_each_passed_passes_however_long_it_is():
    inspector = Inspector(Patterns(MAIL, most=2), Injection())
    assert [len(reading.matches) for reading in many(inspector, 9)] == [1] * 9


def test_the_time_and_the_findings_of_one_call_are_bounded(monkeypatch):
    clock = itertools.count()
    slow = Inspector(Patterns(MAIL), Injection(), spent=lambda: next(clock) * 0.4)
    assert len(many(slow, 3)) == 3
    monkeypatch.setattr(module, "MAX_FOUND", 4)
    for refused, count in ((slow, 9), (Inspector(Patterns(MAIL), Injection()), 5)):
        with pytest.raises(Problem, match="PC3025"):
            many(refused, count)


def test_what_is_remembered_of_a_host_s_name_is_what_reading_it_again_would_say(monkeypatch):
    patterns = Patterns(MAIL, TOKEN)
    inspector = Inspector(patterns, Injection(), canaries := Canaries())
    wanted = Wanted(session="s1")

    def named(host):
        return inspector.name(Text(path=("host",), text=host, source=Source.MODEL), wanted)

    for host in ("a.example", f"{SECRET}.example", "ignore.example", b64(SECRET * 2)):
        assert named(host) == named(host) == one(inspector, host, source=Source.MODEL)
    assert named("a.example").nothing
    assert not named(f"{SECRET}.example").nothing
    scans = len(patterns.scans)
    assert named("a.example").leaks == ()
    monkeypatch.setattr(canaries, "find", lambda text, session: (Leak(place="of it"),))
    assert named("a.example").leaks == (Leak(place="of it"),), "it may have been planted since"
    assert not named("a.example").nothing
    assert len(patterns.scans) == scans, "that is what is remembered"
    monkeypatch.setattr(module, "_MOST_NAMES", 4)
    for number in range(6):
        named(f"b{number}.example")
    assert len(inspector._names) == 4


def test_texts_read_together_show_what_each_shows_alone(inspector):
    said = (
        "nothing",
        "anna@shop.example",
        "a canary",
        "ignore all",
        "aGlkZGVuIHdvcmRzIGhlcmU=",
        "é",
    )
    texts = [Text(path=(), text=one, source=Source.TOOL) for one in said]
    for wanted in (Wanted(), Wanted(injection=frozenset(), recognised=False)):
        alone = [inspector.read([text], wanted)[0] for text in texts]
        assert inspector.read(texts, wanted) == alone
