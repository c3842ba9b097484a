import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from effort import examples
from portcullis.core.call import RiskClass
from portcullis.core.containment import (
    LEVELS,
    ArgumentModel,
    ArgumentRole,
    Confidentiality,
    ResultField,
    ToolModel,
)
from portcullis.provenance import labels as module
from portcullis.provenance.judge import assess
from portcullis.provenance.labels import Labels, approving, calling, trusting
from portcullis.provenance.learning import approve, learn
from portcullis.provenance.words import Words

pytestmark = pytest.mark.nightly
NAMES = ("al", "bob", "eve", "7", "al@x.test")
NAME = st.sampled_from(NAMES)
ROLES = (
    ArgumentRole.DESTINATION,
    ArgumentRole.OBJECT,
    ArgumentRole.AMOUNT,
    ArgumentRole.CREDENTIAL,
)
ROLE = st.sampled_from(ROLES)
LEVEL = st.sampled_from(list(Confidentiality))
ROW = st.dictionaries(
    st.sampled_from(["open", "noted", "bob"]),
    NAME | st.integers(0, 9) | st.lists(NAME, max_size=2) | st.none() | st.dictionaries(NAME, NAME),
    max_size=3,
)
RESULT = ROW | st.lists(ROW, max_size=3) | NAME | st.lists(NAME, max_size=3)


def tool(role, level):
    """A tool in which ``open`` is trusted for a role and ``noted`` is not."""
    return ToolModel(
        tool="a.b",
        results=tuple(
            ResultField(path=path, trusted=trusted, confidentiality=level)
            for path, trusted in (
                (("[]", "open"), (role,)),
                (("open",), (role,)),
                (("[]", "noted"), ()),
                (("noted",), ()),
            )
        ),
    )


def acting(role):
    return ToolModel(
        tool="a.send",
        risk=RiskClass.EXTERNAL,
        arguments={"x": ArgumentModel(role=role)},
    )


def vouched(result):
    """What an oracle finds in the fields labelled trusted, as texts."""
    rows = result if isinstance(result, list) else [result]
    values = [row["open"] for row in rows if isinstance(row, dict) and "open" in row]
    flat = [one for value in values for one in (value if isinstance(value, list) else [value])]
    return {str(one) for one in flat if isinstance(one, str | int)}


def free(role, value, prompt, labels):
    words = Words.of([prompt])
    found = assess(acting(role), {"x": value}, words, labels)
    return not any(one.kind not in {"intent", "confidential"} for one in found.questions)


@st.composite
def label_sets(draw):
    found = Labels(confidentiality=draw(LEVEL))
    for role, names, level in draw(st.lists(st.tuples(ROLE, st.sets(NAME), LEVEL), max_size=4)):
        found = found.merge(trusting(role, names, level))
    for role, names in draw(st.lists(st.tuples(ROLE, st.sets(NAME)), max_size=4)):
        found = found.merge(approving(role, names))
    for name in draw(st.sets(NAME)):
        found = found.merge(calling(name))
    return found


@settings(max_examples=examples(100), deadline=None)
@given(
    st.lists(st.tuples(ROLE, LEVEL, RESULT), max_size=5),
    st.lists(st.tuples(ROLE, NAME), max_size=2),
    st.sets(NAME, max_size=2),
    ROLE,
    NAME,
)
def test_nothing_becomes_trusted_but_by_a_trusted_field_the_user_or_an_approval(
    results, approvals, spoken, role, value
):
    labels = Labels()
    for trusted, level, result in results:
        labels = learn(tool(trusted, level), result, labels)
    for approved, name in approvals:
        labels = approve(acting(approved), {"x": name}, labels)
    sources = {one for trusted, _, result in results if trusted is role for one in vouched(result)}
    if role not in {ArgumentRole.AMOUNT, ArgumentRole.CREDENTIAL}:  # approved once, for once
        sources |= {name for approved, name in approvals if approved is role}
    assert free(role, value, ", ".join(spoken), labels) == (value in sources | spoken)


@settings(max_examples=examples(60), deadline=None)
@given(st.lists(st.tuples(ROLE, LEVEL, RESULT), max_size=6))
def test_confidentiality_never_falls(results):
    labels = Labels()
    for role, level, result in results:
        after = learn(tool(role, level), result, labels)
        assert LEVELS[after.confidentiality] >= LEVELS[labels.confidentiality]
        assert labels.trusted <= after.trusted
        assert labels.approved <= after.approved
        labels = after


@settings(max_examples=examples(60), deadline=None)
@given(label_sets(), label_sets(), label_sets(), st.integers(0, 6))
def test_merging_is_commutative_associative_and_idempotent_whatever_fits(one, two, three, most):
    before = module.MAX_TRUSTED, module.MAX_APPROVED
    module.MAX_TRUSTED = module.MAX_APPROVED = most
    try:
        one, two, three = (part.merge(part) for part in (one, two, three))
        assert one.merge(two) == two.merge(one)
        assert one.merge(two).merge(three) == one.merge(two.merge(three))
        assert one.merge(one) == one
        assert one.merge(two).trusted <= one.trusted | two.trusted
        assert one.merge(two).approved <= one.approved | two.approved
        assert one.merge(two).calls <= one.calls | two.calls
    finally:
        module.MAX_TRUSTED, module.MAX_APPROVED = before


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=8,
)


@settings(max_examples=examples(60), deadline=None)
@given(st.dictionaries(st.text(max_size=5), JSON, max_size=3), JSON, ROLE, LEVEL)
def test_no_call_and_no_result_breaks_the_engine(arguments, result, role, level):
    labels = learn(tool(role, level), result, Labels())
    model = acting(role)
    found = assess(model, arguments, Words.of(["x"]), labels)
    assert found.risk is (
        RiskClass.DELETE if any(name != "x" for name in arguments) else RiskClass.EXTERNAL
    ) or any(isinstance(value, list | dict) for value in arguments.values())
    assess(None, arguments, Words(), approve(None, arguments, labels))


PLACES = ("news.example.com", "evil.example.com", "dora@x.example", "eve@x.example", "dora")
TEXT = st.lists(st.sampled_from([*PLACES, "see", "and"]), max_size=5).map(" ".join)
READS = ToolModel(
    tool="web.get",
    risk=RiskClass.READ,
    arguments={"x": ArgumentModel(role=ArgumentRole.DESTINATION, carries=True)},
)


@settings(max_examples=examples(100), deadline=None)
@given(
    st.lists(st.tuples(st.booleans(), st.booleans(), TEXT), max_size=4),
    st.sets(st.sampled_from(["dora", "eve"])),
    st.sampled_from(PLACES),
)
def test_links_are_good_for_reading_alone_and_addresses_for_those_who_were_named(
    results, names, value
):
    labels, linked, borne = Labels(), set(), set()
    for links, named, text in results:
        field = ResultField(path=(), links=links, named=named)
        labels = learn(ToolModel(tool="a.b", results=(field,)), text, labels, names)
        linked |= {one for one in text.split() if links and one.endswith(".com")}
        borne |= {one for one in text.split() if named and one.partition("@")[0] in names}
    borne = {one for one in borne if "@" in one}
    assert free(ArgumentRole.DESTINATION, value, "", labels) == (value in borne)
    for role in set(ROLES) - {ArgumentRole.DESTINATION}:
        assert not free(role, value, "", labels)
    read = assess(READS, {"x": value}, Words(), labels)
    assert (not read.questions) == (value in linked | borne)
