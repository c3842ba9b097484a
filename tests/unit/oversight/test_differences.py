"""If these fail, an approver is not shown what is new about a call, or is shown what is not."""

from collections import Counter

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from portcullis.core.desk import Difference
from portcullis.oversight.differences import MOST, REST, WINDOW, differences

SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-9, 9)
    | st.floats(-2, 2).map(lambda x: x + 0.0)
    | st.text(max_size=5)
)
NAMES = st.sampled_from(["to", "items", "a.b", "price", "", "\N{SNOWMAN}"])
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(NAMES, inner, max_size=4),
    max_leaves=12,
)
ARGUMENTS = st.dictionaries(NAMES, VALUES, max_size=5)
SWAPPED = {"added": "removed", "removed": "added", "changed": "changed"}


def told(path, kind, before="", after=""):
    return Difference(path=path, kind=kind, before=before, after=after)


@given(ARGUMENTS)
def test_the_same_call_differs_in_nothing(arguments):
    again = msgspec.json.decode(msgspec.json.encode(arguments))
    assert differences(arguments, again)[1] == ()


@given(ARGUMENTS, ARGUMENTS)
def test_nothing_is_told_exactly_when_nothing_differs(before, after):
    same = msgspec.json.encode(before, order="sorted") == msgspec.json.encode(after, order="sorted")
    assert (differences(before, after)[1] == ()) == same


@given(ARGUMENTS, ARGUMENTS)
def test_seen_from_the_other_side_it_is_the_same(before, after):
    same, found = differences(before, after)
    back, turned = differences(after, before)
    assert same == back
    swapped = Counter((SWAPPED[one.kind], one.after, one.before) for one in turned)
    assert Counter((one.kind, one.before, one.after) for one in found) == swapped


@given(ARGUMENTS, st.dictionaries(st.text(max_size=300), VALUES, max_size=300))
@settings(max_examples=20)
def test_whatever_an_agent_writes_the_account_of_it_is_bounded(before, after):
    _, found = differences(before, after)
    assert len(found) <= MOST
    assert all(len(text) <= WINDOW + 2 for one in found for text in (one.before, one.after))
    assert all(len(one.path) <= 240 for one in found)


def test_each_kind_of_difference_is_named_by_its_place():
    before = {
        "to": "bob@a.example",
        "items": [{"n": 1, "price": 5}, {"n": 2}],
        "note": "x",
        "on": 1,
    }
    after = {"to": "eve@b.example", "items": [{"n": 1, "price": 50}], "on": True, "cc": ["m@c"]}
    same, found = differences(before, after)
    assert same == 1
    assert found == (
        told("to", "changed", "bob@a.example", "eve@b.example"),
        told("items[0].price", "changed", "5", "50"),
        told("on", "changed", "1", "true"),
        told("items[1]", "removed", '{"n":2}'),
        told("cc", "added", "", '["m@c"]'),
        told("note", "removed", "x"),
    )


def test_of_a_long_text_is_shown_where_it_first_differs():
    text = "word " * 100
    _, (found,) = differences({"body": text}, {"body": text[:300] + "WORSE" + text[305:]})
    assert "WORSE" in found.after
    assert "WORSE" not in found.before
    assert (found.after[0], found.after[-1], len(found.after)) == (REST, REST, WINDOW + 2)


def test_a_name_that_is_none_stands_in_quotes_and_of_too_many_the_number_is_told():
    _, (found,) = differences({}, {"a.b[0]": 1})
    assert found.path == '["a.b[0]"]'
    _, many = differences({}, {f"n{number}": number for number in range(1000)})
    assert many[-1] == told(REST, "changed", "", f"{1000 - MOST + 1} more differences")


def test_of_a_text_that_differs_at_many_places_the_last_is_shown_and_how_many_there_are():
    before = "order 1 " + "x " * 200 + "of May " + "x " * 200 + "pay alice"
    after = before.replace("1", "2").replace("May", "June").replace("alice", "mallory")
    _, (first, last) = differences({"q": before}, {"q": after})
    assert (first.path, last.path) == (
        "q (first of at least 3 places)",
        "q (last of at least 3 places)",
    )
    assert first.after.startswith("order 2")
    assert last.before.endswith("pay alice")
    assert last.after.endswith("pay mallory")
    _, (begins, ends) = differences({"q": "a" * 900}, {"q": "b" * 900})
    assert (begins.path, ends.path) == ("q (begins)", "q (ends)")


def test_texts_that_look_alike_are_spelt_out():
    _, (found,) = differences({"to": "caf\u00e9@x"}, {"to": "cafe\u0301@x"})
    assert (found.before, found.after) == (r"caf\xe9@x", r"cafe\u0301@x")
    _, (found,) = differences({"to": "paypal"}, {"to": "p\u0430ypal"})
    assert (found.before, found.after) == ("paypal", r"p\u0430ypal")
    _, (found,) = differences({"to": r"caf\xe9"}, {"to": "caf\u00e9"})
    assert found.before != found.after
    _, (found,) = differences({"to": "\u4f60"}, {"to": "\u597d"})
    assert (found.before, found.after) == ("\u4f60", "\u597d")


def test_a_zero_with_a_sign_is_another():
    assert differences({"n": -0.0}, {"n": 0.0})[1] == (told("n", "changed", "-0.0", "0.0"),)


def test_whatever_is_added_beside_it_what_changed_is_shown():
    junk = {f"k{number}": number for number in range(300)}
    _, found = differences({"z": "ok"}, {**junk, "z": "evil"})
    assert found[0] == told("z", "changed", "ok", "evil")


def test_what_is_put_before_the_items_of_a_list_leaves_them_the_same():
    same, found = differences({"l": ["a", "b", "c"]}, {"l": ["x", "a", "b", "c"]})
    assert (same, found) == (3, (told("l[0]", "added", "", "x"),))
    same, found = differences({"l": ["x", "a", "b", "c"]}, {"l": ["a", "B", "c"]})
    assert (same, found) == (
        2,
        (told("l[1]", "changed", "b", "B"), told("l[0]", "removed", "x")),
    )
    many = [*range(1000)]
    same, found = differences(
        {"l": many}, {"l": [*many[:300], -1, *many[301:700], -2, *many[701:]]}
    )
    assert (same, [one.path for one in found]) == (998, ["l[300]", "l[700]"])
