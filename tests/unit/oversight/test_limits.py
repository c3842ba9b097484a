"""If these fail, a budget is for another time or another size than its policy says."""

import json
import time
from datetime import UTC, datetime

import pytest

from policies import call, context, session_of
from portcullis.core import limits as core
from portcullis.core.call import Action
from portcullis.core.limits import Dimension, Limit, Window, span
from portcullis.oversight import limits as rules
from portcullis.oversight import limits_size as size


def at(*when):
    return datetime(*when, tzinfo=UTC).timestamp()


@pytest.mark.parametrize(
    ("window", "start", "end"),
    [
        (Window.MINUTE, at(2028, 2, 29, 23, 59), at(2028, 3, 1)),
        (Window.HOUR, at(2028, 2, 29, 23), at(2028, 3, 1)),
        (Window.DAY, at(2028, 2, 29), at(2028, 3, 1)),
        (Window.MONTH, at(2028, 2, 1), at(2028, 3, 1)),
    ],
    ids=["minute", "hour", "day", "month"],
)
def test_windows_are_the_calendars_in_utc(window, start, end):
    assert span(window, at(2028, 2, 29, 23, 59, 30)) == (start, end)
    assert span(window, start) == (start, end)
    assert span(window, end)[0] == end


def test_a_years_end_is_a_months_end():
    assert span(Window.MONTH, at(2027, 12, 31, 23)) == (at(2027, 12, 1), at(2028, 1, 1))


@pytest.mark.parametrize(
    ("payload", "rows"),
    [
        ({"structuredContent": {"result": [1, 2, {"x": [1, 2, 3, 4]}]}}, 4),
        ({"structuredContent": {"a": 1}, "content": [{"type": "text", "text": "[1,2]"}]}, 2),
        ({"structuredContent": {"result": " [[1, 2, 3]]"}}, 3),
        ({"content": [{"type": "text", "text": json.dumps({"rows": [1, 2, 3]})}] * 9}, 27),
        ({"content": [{"type": "text", "text": '{"id": 1}'}] * 9}, 9),
        ({"content": [{"type": "text", "text": '{"id": 1}'}]}, 0),
        ({"content": [{"type": "text", "text": '{"id": 1}\n{"id": 2}\n'}]}, 2),
        ({"content": [{"type": "text", "text": "[" + "1, " * 1_500_000 + "1]"}]}, 1_500_001),
        ({"content": [{"type": "text", "text": "a\nb\nc"}]}, 0),
        ({"content": [{"type": "text", "text": "[not json"}]}, 0),
        ({"contents": [{"uri": "x", "text": " [1, 2]"}]}, 2),
        ({"content": [{"type": "resource", "resource": {"text": "[1]"}}]}, 1),
        ({"content": "x"}, 0),
        ("[1, 2]", 0),
    ],
    ids=["structure", "both", "wrapped", "texts", "an-object-each", "one-object", "json-lines",
         "long", "lines", "broken", "resource", "embedded",
         "odd", "bare"],
)  # fmt: skip
def test_rows_are_the_items_of_the_largest_list(payload, rows):
    assert size.rows(payload) == rows


@pytest.mark.parametrize(
    ("glob", "name", "fits"),
    [
        ("gpt-5", "gpt-5", True), ("gpt-5", "gpt-55", False), ("gpt-*", "gpt-", True),
        ("*", "", True), ("*-big", "own-7-big", True), ("a*a", "a", False), ("a*a", "aa", True),
        ("a*b*c", "a-b-b-c", True), ("a*b*c", "a-c-b", False), ("a*bc*c", "abc", False),
        ("a.c", "abc", False), ("a*\n*c", "a\nc", True), ("*x*y*", "yx", False),
    ],
)  # fmt: skip
def test_in_a_glob_only_the_star_is_special(glob, name, fits):
    assert core.fits(glob, name) is fits


def test_a_name_that_an_agent_made_long_is_matched_in_time():
    began = time.process_time()
    assert not core.fits("gpt-*-*-*-x", "gpt-" + "-" * 2**20)
    assert time.process_time() - began < 1


def test_keys_name_whose_count_it_is_and_stay_short():
    limit = Limit(name="x", place="", per=(Dimension.AGENT, Dimension.TOOL, Dimension.USER))
    asked = call(target="orders.find|all&x=y")
    who = context("shop", session_of("shop", user="eve"))
    (subject,) = rules.subjects(asked, who, lambda _: "r", lambda user: "~masked")
    assert rules.who(limit, subject) == "agent=shop&tool=orders.find%7Call%26x%3Dy&user=~masked"
    long = rules.subjects(call(target="orders." + "x" * 500), who, lambda _: None, str)[0]
    assert len(rules.who(limit, long)) < 120
    (alone,) = rules.subjects(asked, context("shop"), lambda _: None, str)
    assert rules.who(limit, alone).endswith("user=none:shop"), "nobody's calls are the agent's own"


def test_estimates_are_of_the_whole_request_and_all_its_answers():
    asked = call(Action.MODEL, "openai.gpt-5")

    def of(**payload):
        return type(asked)(**{f: getattr(asked, f) for f in asked.__struct_fields__} | payload)

    assert size.read(of(body=b"x" * 9), 2) == 5
    assert size.read(of(method="POST /v1/messages/count_tokens", body=b"x"), 2) == 0
    assert size.written(of(payload={"max_tokens": 7, "n": 3}), 50, 0) == (21, True)
    assert size.written(of(payload={"max_tokens": 0}), 50, 0) == (50, False)
    assert size.written(of(payload={}), 50, 0) == (50, False)
    assert size.written(of(payload={}), 50, 80) == (80, False)
    assert size.written(of(method="POST /v1/embeddings"), 50, 80) == (0, True)
