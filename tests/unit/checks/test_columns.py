"""If these fail, a column or a record that policy hides is shown, or one that it shows is not."""

import hashlib

import pytest

from portcullis.checks.columns import OutOfReach, Unreadable, in_reach, places
from portcullis.checks.documents import FAILED, failed, rewritten
from portcullis.checks.masking import masked
from portcullis.core.errors import Problem
from portcullis.core.obligation import ColumnMask, MaskTreatment, RowScope

CUSTOMERS = {"customers": [{"name": "Ada", "iban": "DE12"}, {"name": "Bea", "iban": 7}]}


def mask(path, treatment="mask"):
    return ColumnMask(path=tuple(path.split(".")), treatment=MaskTreatment(treatment))


def scope(*paths, values=("monitoring",)):
    found = tuple(tuple(path.split(".")) for path in paths)
    return RowScope(name="namespaces", paths=found, values=values)


def commit(value):
    return hashlib.sha256(b"key" + value).hexdigest()


def hidden(document, *masks, **more):
    return masked(document, masks, commit, **more)[0]


def test_each_treatment_leaves_nothing_of_the_value():
    new, hit = masked(CUSTOMERS, [mask("customers.*.iban")], commit)
    assert new["customers"] == [{"name": n, "iban": "[IBAN]"} for n in ("Ada", "Bea")]
    assert [one.path for one in hit] == [("customers", "*", "iban")]
    assert hidden(CUSTOMERS, mask("customers.*.iban", "drop")) == {
        "customers": [{"name": "Ada"}, {"name": "Bea"}]
    }
    hashed = hidden({"customers": [{"iban": "x"}, {"iban": "x"}]}, mask("*.*.iban", "hash"))
    first, second = (one["iban"] for one in hashed["customers"])
    assert first == second
    assert first == f"<IBAN#{commit(bytes('IBAN', 'ascii') + bytes(1) + b'x')[-16:]}>"
    assert CUSTOMERS["customers"][0]["iban"] == "DE12", "the original is as it was"


def test_whole_branches_lists_and_empty_values_are_columns_too():
    document = {"a": {"b": [1, {"c": None}]}, "d": "x"}
    assert hidden(document, mask("a")) == {"a": "[A]", "d": "x"}
    assert hidden(document, mask("a.b.*", "drop")) == {"a": {"b": []}, "d": "x"}
    assert hidden({"a": {"c": None}}, mask("a.c")) == {"a": {"c": "[C]"}}
    assert hidden([{"iban": 1}, {"iban": 2}], mask("*.iban")) == [{"iban": "[IBAN]"}] * 2


def test_the_names_of_members_are_columns_of_their_own():
    document = {"by": {"ada@x.org": {"iban": "DE12"}, "bea@x.org": {"iban": "DE13"}}}
    starred = hidden(document, mask("by.*"))
    assert starred == {"by": {"ada@x.org": "[BY]", "bea@x.org": "[BY]"}}, "values only"
    plain = hidden(document, mask("by.{}"), mask("by.*.iban"))
    assert plain == {"by": {"[BY]": {"iban": "[IBAN]"}, "[BY]_2": {"iban": "[IBAN]"}}}
    hashed = hidden([document, document], mask("by.{}", "hash"))
    assert hashed[0] == hashed[1]
    assert f"<BY#{commit(b'BY' + bytes(1) + b'ada@x.org')[-16:]}>" in hashed[0]["by"]
    assert "x.org" not in repr(hidden(document, mask("by.{}"), mask("by.*")))
    assert hidden(document, mask("by.{}", "drop")) == {"by": {}}
    assert "x.org" not in repr(hidden({"by": [document["by"]]}, mask("by.{}")))
    assert hidden({"by": {}}, mask("by.{}")) == {"by": {}}
    with pytest.raises(Unreadable):
        hidden({"by": "ada@x.org"}, mask("by.{}"))
    with pytest.raises(Problem, match="names"):
        hidden(document, mask("by.{}"), fits=lambda new: "ada@x.org" in new["by"])
    fixed = {"ada@x.org": 1}
    with pytest.raises(Problem, match="names"):
        hidden(fixed, mask("{}", "drop"), fits=lambda new: new == fixed)


def test_a_list_stands_for_its_items_where_one_was_expected():
    several = {"customer": [{"iban": "DE12"}, [{"iban": "DE13"}]]}
    assert "DE1" not in repr(hidden(several, mask("customer.iban")))
    assert places(several, ("customer", "*", "iban")) == [
        ("customer", 0, "iban"),
        ("customer", 1, 0, "iban"),
    ]


def test_the_strictest_of_several_masks_holds():
    both = [mask("customers.*.iban", "hash"), mask("*.*.iban", "drop"), mask("customers.*.name")]
    assert hidden(CUSTOMERS, *both) == {"customers": [{"name": "[NAME]"}] * 2}
    over = [mask("customers.*.iban"), mask("customers", "drop")]
    assert hidden(CUSTOMERS | {"n": 2}, *over) == {"n": 2}


@pytest.mark.parametrize(
    "document",
    [{"customers": "[{}]"}, {"customers": [{"iban": 1}, "text"]}, "DE12", 7, {"others": [{}]}],
    ids=["text", "some-text", "root-text", "number", "other-shape"],
)
def test_what_has_another_shape_is_not_passed_on(document):
    with pytest.raises(Unreadable):
        hidden(document, mask("customers.*.iban"))


@pytest.mark.parametrize(
    "document",
    [{"customers": []}, {"customers": None}, {}, [], None, {"customers": [{"name": "x"}]}],
    ids=["empty", "null", "object", "list", "nothing", "no-column"],
)
def test_what_holds_nothing_to_mask_goes_on(document):
    assert hidden(document, mask("customers.*.iban")) == document


def test_a_mask_has_a_form_that_the_tools_schema_lets_stand_there():
    schema = {
        "properties": {
            "iban": {"type": "string", "pattern": "^[A-Z]{2}[0-9]{2}$"},
            "total": {"type": "integer"},
        }
    }

    def fits(value):
        iban = value.get("iban", "")
        return len(iban) == 4 and iban[2:].isdigit() and type(value["total"]) is int

    document = {"iban": "DE12", "total": 991}
    both = [mask("iban"), mask("total")]
    new = hidden(document, *both, schema=schema, fits=fits)
    assert fits(new)
    assert new["iban"] != "DE12"
    assert new["total"] != 991
    must = hidden(document, mask("iban", "drop"), schema=schema, fits=fits)
    assert fits(must), "what has to be there is masked in place"
    assert must["iban"] != "DE12"
    with pytest.raises(Problem) as caught:
        hidden(document, *both, schema=schema, fits=lambda value: value == document)
    assert caught.value.code == "PC3030"


def test_records_of_others_are_taken_out_and_so_are_those_that_do_not_say():
    own = {"metadata": {"namespace": "monitoring"}}
    others = [{"metadata": {"namespace": "kube-system"}}, {"metadata": {}}, {}, "x", None]
    document = {"items": [*others, own]}
    found, hit = in_reach(document, [scope("items.*.metadata.namespace")])
    assert found == {"items": [own]}
    assert hit == {"namespaces"}
    assert in_reach({"items": None}, [scope("items.*.metadata.namespace")])[0] == {"items": None}
    assert in_reach([own], [scope("metadata.namespace")]) == ([own], frozenset())


def test_several_values_of_one_record_must_all_be_in_reach():
    rows = [{"of": ["monitoring"]}, {"of": ["monitoring", "x"]}, {"of": []}, {"of": [[]]}]
    assert in_reach(rows, [scope("*.of")])[0] == rows[:1]
    assert in_reach([{"of": 1}, {"of": True}, {"of": "1"}], [scope("*.of", values=(1,))])[0] == [
        {"of": 1}
    ]


@pytest.mark.parametrize(
    "document",
    [{"metadata": {"namespace": "kube-system"}}, {"metadata": {}}, {"kind": "List"}, "text", None],
    ids=["other", "silent", "other-shape", "text", "nothing"],
)
def test_a_whole_result_out_of_reach_is_withheld(document):
    with pytest.raises(OutOfReach) as caught:
        in_reach(document, [scope("items.*.metadata.namespace", "metadata.namespace")])
    assert caught.value.args == ("namespaces",)


def test_of_two_shapes_the_one_that_fits_counts_and_both_where_both_fit():
    both = scope("items.*.namespace", "namespace")
    assert in_reach({"namespace": "monitoring"}, [both])[0] == {"namespace": "monitoring"}
    with pytest.raises(OutOfReach):
        in_reach({"items": [], "namespace": "kube-system", "data": "secret"}, [both])


def block(text):
    return {"type": "text", "text": text}


def upper(document, under):
    del under
    return {"n": 2} if document == {"n": 1} else document


def test_structured_content_is_what_texts_repeat():
    payload = {"content": [block("one customer"), block("x")], "structuredContent": {"n": 1}}
    new = rewritten(payload, upper)
    assert new == {"content": [block('{"n":2}')], "structuredContent": {"n": 2}}
    same = {"content": [block("n is 5")], "structuredContent": {"n": 5}}
    assert rewritten(same, upper)["content"] == [block('{"n":5}')], "a text may say more"
    wrapped = {"content": [], "structuredContent": {"result": [1]}}
    seen = []
    rewritten(wrapped, lambda document, under: seen.append((document, under)) or document)
    assert seen == [({"result": [1]}, ("result",))]


def test_texts_are_documents_and_several_are_a_list():
    assert rewritten({"content": [block(' {"n": 1}')]}, upper)["content"] == [block('{"n":2}')]
    several = {"content": [block('{"n": 1}'), block('{"n": 3}')]}
    kept = rewritten(several, lambda items, _: [one for one in items if one["n"] > 1])
    assert kept == {"content": [block('{"n":3}')]}
    untouched = {"content": [block('{"n": 5}')]}
    assert rewritten(untouched, upper) is untouched
    noted = {"content": [block('{"n": 5}') | {"annotations": {"audience": ["DE12"]}}]}
    assert rewritten(noted, upper) == {"content": [block('{"n":5}')]}


@pytest.mark.parametrize(
    "payload",
    [
        {"content": [block("not json")]},
        {"content": [block('{"n": 1, "n": 2}')]},
        {"content": [block("{}"), {"type": "image", "data": "AA==", "mimeType": "image/png"}]},
        {"content": [{"type": "resource_link", "uri": "x"}]},
        {"content": [], "structuredContent": {}, "_meta": {"note": "x"}},
        {"content": [], "shadow": 1},
        "text",
    ],
    ids=["text", "two-readings", "image", "link", "meta", "member", "no-object"],
)
def test_what_is_not_json_through_and_through_is_withheld(payload):
    with pytest.raises(Problem) as caught:
        rewritten(payload, upper)
    assert caught.value.code == "PC3030"


def test_of_a_failure_only_that_it_failed_goes_on():
    said = failed({"isError": True, "content": [block("secret")], "structuredContent": {}})
    assert said == {"isError": True, "content": [block(FAILED)]}
    assert failed({"code": -32000, "message": "secret", "data": 1}) == {
        "code": -32000,
        "message": FAILED,
    }
