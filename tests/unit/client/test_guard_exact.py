"""If these fail, what runs or goes on is another thing than what was decided on and judged."""

import typing

import pytest
from pydantic import AfterValidator, BaseModel, Field, SecretStr

from guard_api import reports
from portcullis.client.guard import Refused, Tool, ToolError


def call(guard, result):
    """What a framework is given for this result, and what was judged."""
    tool = Tool(name="read", description="", input_schema={"type": "object"}, shown=str)
    return guard.call(tool, {}, lambda _: result, read=dict)


def test_frameworks_get_the_very_text_that_was_judged(guard, api):
    class Page(BaseModel):
        title: str
        hidden: str = Field(exclude=True)

    odd = {1: "hidden", "1": "shown"}
    for result in (Page(title="a", hidden="b"), odd, (1, 2), {"a": float("nan")}, pytest):
        assert call(guard, result) == api.reported[-1]["result"] == str(result)
    for result in ({"a": [1, None, True]}, "text", 7, None):
        assert call(guard, result) == api.reported[-1]["result"] == result


class Base(BaseModel):
    x: int


class More(Base):
    y: str


class Outer(BaseModel):
    base: Base


class Hiding(BaseModel):
    shown: str
    hidden: str = Field(default="", exclude=True)


def test_what_was_not_judged_is_not_returned(guard, api):
    made = {
        "excluded": Hiding(shown="a", hidden="secret"),
        "subclass": Outer(base=More(x=1, y="secret")),
        "two keys": {1: "secret", "1": "a"},
        "iterator": (each for each in "ab"),
    }

    @guard.tool
    def read(which: str) -> typing.Any:
        return made[which]

    @guard.tool
    def hiding() -> Hiding:
        return made["excluded"]

    assert read("excluded") == {"shown": "a"}
    assert read("subclass") == {"base": {"x": 1}}
    assert read("two keys") == {"1": "a"}
    assert read("iterator") == ["a", "b"]
    assert hiding() == Hiding(shown="a")
    growing = ["a"]

    def judge(body):
        growing.append("secret")
        return {"result": body["result"]}

    api.judge = judge
    assert guard.tool(lambda: growing)() == ["a"]


class Renamed(BaseModel):
    amount: int = Field(default=1000, validation_alias="amt", serialization_alias="amount")


class Refund(BaseModel):
    order: str


class Purge(BaseModel):
    order: str
    everything: bool = True


def _hundredfold(amount: typing.Annotated[int, AfterValidator(lambda value: value * 100)]):
    return amount


def _renamed(what: Renamed):
    return what


def _either(what: Purge | Refund):
    return what


def _bytes(what: bytes | str):
    return what


def _hidden(what: SecretStr):
    return what


@pytest.mark.parametrize(
    ("function", "argument"),
    [
        (_hundredfold, 5),
        (_renamed, Renamed(amt=5)),
        (_either, Refund(order="7")),
        (_bytes, "YWJj"),
        (_hidden, SecretStr("word")),
    ],
)
def test_nothing_runs_that_is_not_what_was_decided_on(guard, api, function, argument):
    with pytest.raises(ValueError, match="come back from JSON"):
        guard.tool(function)(argument)
    assert api.asked == []


def test_arguments_from_the_gate_that_would_run_as_others_do_not_run(guard, api):
    ran = []

    @guard.tool
    def act(what: Purge | Refund, times: int = 1) -> str:
        ran.append(what)
        return "done"

    given = {"what": {"order": "7", "everything": True}, "times": 1}
    for wrong in (
        given | {"what": {"order": "7"}},
        given | {"times": True},
        given | {"times": "many"},
        {"what": given["what"]},
    ):
        api.decide = lambda _, wrong=wrong: {"call": "c", "arguments": wrong}
        before = len(api.reported)
        with pytest.raises(Refused, match="PC1020") as raised:
            act(Purge(order="7"))
        assert not raised.value.ran
        assert reports(api, before + 1)[-1]["is_error"] is True
    assert ran == []


def test_sets_run_in_whatever_order_their_members_come(guard, api):
    ran = []

    @guard.tool
    def close(orders: dict[int, set[int]], more: frozenset[str] = frozenset()) -> str:
        ran.append(orders)
        return "done"

    for given in ([3, 1, 2], [1, 2, 3]):
        api.decide = lambda _, given=given: {
            "call": "c",
            "arguments": {"orders": {"7": given}, "more": ["a", "b", "c", "d"]},
        }
        assert close({7: {1, 2, 3}}) == "done"
    assert ran == [{7: {1, 2, 3}}] * 2
    for wrong in ([1, 1, 2], [True, 2, 3]):
        api.decide = lambda _, wrong=wrong: {
            "call": "c",
            "arguments": {"orders": {"7": wrong}, "more": []},
        }
        with pytest.raises(Refused, match="PC1020"):
            close({7: {1, 2, 3}})
    assert len(ran) == 2


def test_sets_of_sets_run_in_whatever_order_their_members_come(guard, api):
    @guard.tool
    def close(groups: set[frozenset[str]]) -> int:
        return sum(map(len, groups))

    def given(*groups: str) -> int:
        back = {"call": "c", "arguments": {"groups": [list(each) for each in groups]}}
        api.decide = lambda _: back
        return close({frozenset("abc"), frozenset("d")})

    assert [given("cab", "d"), given("d", "bca")] == [4, 4]
    for wrong in (["abca", "d"], ["d", "d"]):
        with pytest.raises(Refused, match="PC1020"):
            given(*wrong)


class Frozen(BaseModel, frozen=True):
    x: int


@pytest.mark.parametrize(
    ("value", "error"),
    [
        (2**63, r"PC1006.*argument 'what'"),
        ({"deep": [2**70]}, r"PC1006.*argument 'what'"),
        ("a\0b", r"PC1004.*argument 'what'"),
        ({frozenset("ab")}, "'what' would come back"),
    ],
    ids=["large", "larger", "nul", "sets"],
)
def test_what_the_gate_would_not_read_is_refused_by_the_name_of_its_argument(
    guard, api, value, error
):
    def read(what: typing.Any, which: int = 1) -> str:
        return f"{what} {which}"

    with pytest.raises((Refused, ValueError), match=error):
        guard.tool(read)(value)

    def models(what: set[Frozen]) -> int:
        return len(what)

    with pytest.raises(ValueError, match="'what' would come back"):
        guard.tool(models)({Frozen(x=1)})
    assert api.asked == []


class Terse(Exception):  # noqa: N818 - the point is what it says
    def __str__(self):
        return "failed"


class Mute(Exception):  # noqa: N818 - as above
    def __str__(self):
        raise RuntimeError("no words")


class Chatty(Exception):  # noqa: N818 - as above
    def __repr__(self):
        return "Chatty(secret)"


def _noted():
    error = ValueError("failed")
    error.add_note("secret")
    return error


def _caused():
    error = ValueError("failed")
    error.__cause__ = KeyError("secret")
    return error


def _during():
    error = ValueError("failed")
    error.__context__ = KeyError("secret")
    return error


@pytest.mark.parametrize(
    "error",
    [
        Terse("secret"),
        Mute("secret"),
        Mute(),
        Chatty("failed"),
        _noted(),
        _caused(),
        _during(),
        ExceptionGroup("several", [ValueError("secret")]),
        OSError("no file \udcff secret"),
        Refused("PC3001", "of another tool, inside this one"),
        ValueError("failed", ["secret"]),
    ],
    ids=lambda error: type(error).__name__,
)
def test_an_exception_that_holds_more_than_was_judged_is_not_raised(guard, api, error):
    @guard.tool
    def fail():
        raise error

    with pytest.raises(ToolError) as raised:
        fail()
    [reported] = api.reported
    assert str(raised.value) == reported["result"]
    assert reported["is_error"] is True
    assert raised.value.__context__ is None
    assert raised.value.__cause__ is None


@pytest.mark.parametrize("value", ["\udcff", {1, object()}, [float("inf"), object()]])
def test_arguments_that_json_cannot_hold_are_refused_before_the_gate_is_asked(guard, api, value):
    ran = []
    tool = Tool(name="read", description="", input_schema={"type": "object"})
    with pytest.raises(Refused, match="PC1020") as raised:
        guard.call(tool, {"a": value}, ran.append, read=dict)
    assert (ran, api.asked, raised.value.ran) == ([], [], False)
