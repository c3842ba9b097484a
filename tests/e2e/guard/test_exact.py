"""If these fail, what a framework runs or shows is not what was decided on and judged."""

import json
from typing import Annotated, Any

import agents
import pydantic_ai
import pytest
from agents.testing import ScriptedModel, assistant_message, function_call
from agents.tool_context import ToolContext
from langchain_core.messages import AIMessage, ToolMessage
from langchain_core.tools import BaseTool, InjectedToolArg, StructuredTool, ToolException, tool
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import START, StateGraph
from langgraph.prebuilt import ToolNode
from langgraph.types import Command, RetryPolicy, interrupt
from pydantic import AfterValidator, BaseModel, ConfigDict, Field
from pydantic_ai.messages import ToolReturnPart

from e2e.guard.drivers import DRIVERS, Messages, scripted
from guard_api import standing_in
from portcullis.client.adapters import langchain, openai_agents
from portcullis.client.adapters import pydantic_ai as pydantic_adapter
from portcullis.client.guard import Guard
from portcullis.core.errors import Problem

SECRET = "only for the tool"  # noqa: S105 - it is none


@pytest.fixture
def api():
    with standing_in() as made:
        yield made


@pytest.fixture
def guard(api):
    with Guard(toolset="shop", url=api.url) as made:
        yield made


def openai_told(guard, made, call):
    """What the model is told of this call."""
    agent = agents.Agent(
        name="shop",
        tools=openai_agents.guarded(guard, [made]),
        model=ScriptedModel([[function_call(*call, call_id="c")], [assistant_message("done")]]),
    )
    silent = agents.RunConfig(tracing_disabled=True)
    result = agents.Runner.run_sync(agent, "go on", run_config=silent)
    outputs = [each for each in result.new_items if each.type == "tool_call_output_item"]
    return outputs[0].raw_item["output"]


def pydantic_told(guard, function, call):
    toolset = pydantic_adapter.guarded(guard, [function])
    result = pydantic_ai.Agent(scripted([call]), toolsets=[toolset]).run_sync("go on")
    parts = [part for message in result.all_messages() for part in message.parts]
    return next(part.model_response_str() for part in parts if isinstance(part, ToolReturnPart))


def langchain_told(guard, made, call):
    [made] = langchain.guarded(guard, [made])
    said = {"name": call[0], "args": call[1], "id": "c", "type": "tool_call"}
    return made.invoke(said).content


def told_by(driver, guard, function, call):
    if driver.toolset == "langchain":
        return langchain_told(guard, tool(function), call)
    if driver.toolset == "openai":
        return openai_told(guard, agents.function_tool(function), call)
    return pydantic_told(guard, function, call)


class Page(BaseModel):
    title: str
    hidden: str = Field(default=SECRET, exclude=True)


class Odd:
    def __str__(self):
        return "a text"

    def __repr__(self):
        return SECRET


RESULTS = {
    "model": Page(title="a"),
    "models": [Page(title="a")],
    "keys": {1: SECRET, "1": "a"},
    "message": ToolMessage(SECRET, tool_call_id="c", artifact=1),
    "command": Command(update={"messages": [ToolMessage(SECRET, tool_call_id="c")]}),
    "extra": pydantic_ai.ToolReturn("a", content=[SECRET], metadata={"m": 1}),
    "object": Odd(),
    "plain": {"a": [1, "b", None]},
}


@pytest.mark.parametrize("driver", DRIVERS, ids=lambda driver: driver.toolset)
def test_a_model_is_shown_what_was_judged_and_nothing_else(guard, api, driver):
    def read(which: str) -> Any:
        """Read."""
        return RESULTS[which]

    for which, result in RESULTS.items():
        shown = told_by(driver, guard, read, ("read", {"which": which}))
        judged = api.reported[-1]["result"]
        if which == "plain":
            assert judged == result
        else:
            assert shown == judged
            assert isinstance(judged, str)


class Renamed(BaseModel):
    amount: int = Field(default=1000, alias="amt")


class Both(BaseModel):
    model_config = ConfigDict(serialize_by_alias=True, populate_by_name=True)
    amount: int = Field(default=1000, alias="amt")


class Hundred(BaseModel):
    amount: Annotated[int, AfterValidator(lambda value: value * 100)]


def test_aliases_inside_arguments_arrive_as_they_were_asked_about(guard, api):
    def pay(order: str, what: Renamed, more: Both) -> str:
        """Pay."""
        return f"paid {what.amount} {more.amount}"

    call = ("pay", {"order": "7", "what": {"amt": 5}, "more": {"amt": 6}})
    assert langchain_told(guard, tool(pay), call) == "paid 5 6"
    assert pydantic_told(guard, pay, call) == "paid 5 6"
    assert api.asked[0]["arguments"]["what"] == {"amount": 5}
    assert api.asked[1]["arguments"] == call[1]


def test_arguments_that_a_validator_makes_others_of_do_not_run(guard):
    ran = []

    def pay(order: str, what: Hundred) -> str:
        """Pay."""
        ran.append(what)
        return "paid"

    call = ("pay", {"order": "7", "what": {"amount": 5}})
    with pytest.raises(ToolException, match="PC1020"):
        langchain_told(guard, tool(pay), call)
    assert "PC1020" in pydantic_told(guard, pay, call)
    assert ran == []


def test_pydantic_ai_arguments_are_flat_only_where_the_model_writes_them_so(guard, api):
    class Query(BaseModel):
        query: str
        limit: int = 5

    def search(query: Query) -> str:
        """Search."""
        return f"{query.query} {query.limit}"

    def anything(**more: Any) -> str:
        """Do it."""
        return str(more)

    assert pydantic_told(guard, search, ("search", {"query": "x"})) == "x 5"
    assert pydantic_told(guard, anything, ("anything", {"a": {"b": 1}})) == "{'a': {'b': 1}}"
    asked = [each["arguments"] for each in api.asked]
    assert asked == [{"query": "x", "limit": 5}, {"a": {"b": 1}}]


def test_sets_are_no_reason_to_refuse(guard, api):
    def close(orders: set[int], note: str) -> str:
        """Close."""
        return f"{sorted(orders)}"

    api.decide = lambda body: {
        "call": "c",
        "arguments": body["arguments"] | {"orders": [3, 1, 2]},
    }
    call = ("close", {"orders": [1, 2, 3], "note": "a"})
    assert langchain_told(guard, tool(close), call) == "[1, 2, 3]"
    assert pydantic_told(guard, close, call) == "[1, 2, 3]"


class Session:
    pass


def test_langchain_arguments_that_a_program_injects_are_asked_about(guard, api):
    ran = []

    @tool
    def transfer(
        amount: int,
        session: Annotated[Any, InjectedToolArg] = None,
        to: Annotated[str, InjectedToolArg] = "own",
    ) -> str:
        """Transfer."""
        ran.append((amount, to))
        return "done"

    api.decide = lambda body: {"call": "c", "arguments": body["arguments"] | {"to": "[MASKED]"}}
    assert langchain_told(guard, transfer, ("transfer", {"amount": 5, "to": "evil"})) == "done"
    assert api.asked[0]["arguments"] == {"amount": 5, "session": None, "to": "evil"}
    assert "to" in api.asked[0]["tool"]["inputSchema"]["properties"]
    assert ran == [(5, "[MASKED]")]
    with pytest.raises(ToolException, match="PC1020"):
        langchain_told(guard, transfer, ("transfer", {"amount": 5, "session": Session()}))
    assert len(ran) == 1


def test_langchain_tools_that_have_another_way_in_are_refused(guard):
    class Mine(BaseTool):
        name: str = "mine"
        description: str = "Mine."

        def _run(self) -> str:
            return "ran"

    for way_in in ("run", "arun", "invoke", "ainvoke"):
        kind = type("Mine", (Mine,), {way_in: lambda *_, **__: "ran", "__module__": __name__})
        with pytest.raises(TypeError, match=way_in):
            langchain.guarded(guard, [kind()])


def test_langchain_arguments_that_no_schema_names_are_asked_about(guard, api):
    class Open(BaseModel):
        model_config = ConfigDict(extra="allow")
        a: int

    @tool(args_schema=Open)
    def act(a: int, **more: Any) -> str:
        """Act."""
        return f"{a} {more}"

    assert langchain_told(guard, act, ("act", {"a": 1, "note": "b"})) == "1 {'note': 'b'}"
    assert api.asked[0]["arguments"] == {"a": 1, "note": "b"}


def test_a_graph_does_not_run_a_tool_again_whose_result_is_withheld(guard, api):
    ran = []

    @tool
    def refund(order: str) -> str:
        """Pay back."""
        ran.append(order)
        raise ConnectionError(order)

    def withhold(_):
        raise Problem("PC3023", "held back")

    call = {"name": "refund", "args": {"order": "7"}, "id": "c", "type": "tool_call"}
    for judge in (withhold, lambda _: {"result": "[MASKED]"}):
        api.judge = judge
        graph = StateGraph(dict)
        [made] = langchain.guarded(guard, [refund])
        graph.add_node(
            "pay",
            lambda _, made=made: {"done": made.invoke(call)},
            retry_policy=RetryPolicy(initial_interval=0.01),
        )
        graph.add_edge(START, "pay")
        with pytest.raises(ToolException):
            graph.compile().invoke({"start": True})
    assert ran == ["7"] * 2


def test_a_tool_may_still_interrupt_its_graph(guard):
    @tool
    def ask(order: str) -> str:
        """Ask."""
        return interrupt({"order": order})

    graph = StateGraph(Messages)
    graph.add_node("tools", ToolNode(langchain.guarded(guard, [ask])))
    graph.add_edge(START, "tools")
    graph = graph.compile(checkpointer=InMemorySaver())
    call = {"name": "ask", "args": {"order": "7"}, "id": "c"}
    thread = {"configurable": {"thread_id": "1"}}
    state = graph.invoke({"messages": [AIMessage("", tool_calls=[call])]}, thread)
    assert state["__interrupt__"][0].value == {"order": "7"}
    state = graph.invoke(Command(resume="yes"), thread)
    assert state["messages"][-1].content == "yes"


class Inner(BaseModel):
    amount: int = 1000


class Outer(BaseModel):
    inner: Inner | None = None
    more: list[Inner] = []


def test_defaults_that_only_a_schema_names_are_asked_about_at_any_depth(guard, api):
    def pay(order: str, outer: Outer, times: int = 2) -> str:
        """Pay."""
        return f"{outer.inner.amount} {[each.amount for each in outer.more]} {times}"

    made = agents.function_tool(pay, strict_mode=False)
    written = {"order": "7", "outer": {"inner": {}, "more": [{}]}}
    whole = {
        "order": "7",
        "outer": {"inner": {"amount": 1000}, "more": [{"amount": 1000}]},
        "times": 2,
    }
    assert openai_told(guard, made, ("pay", written)) == "1000 [1000] 2"
    loose = StructuredTool(
        name="pay",
        description="Pays.",
        args_schema=made.params_json_schema,
        func=lambda **arguments: json.dumps(arguments, sort_keys=True),
    )
    assert json.loads(langchain_told(guard, loose, ("pay", written))) == whole
    assert [each["arguments"] for each in api.asked] == [whole] * 2


class Other(BaseModel):
    amount: int = 5


def test_a_schema_whose_defaults_depend_on_its_reader_is_refused(guard):
    def pay(what: Inner | Other) -> str:
        """Pay."""
        return f"{what.amount}"

    made = agents.function_tool(pay, strict_mode=False)
    with pytest.raises(TypeError, match="defaults"):
        openai_agents.guarded(guard, [made])
    loose = StructuredTool(
        name="pay",
        description="Pays.",
        args_schema=made.params_json_schema,
        func=lambda **_: "paid",
    )
    with pytest.raises(TypeError, match="defaults"):
        langchain.guarded(guard, [loose])


INNER = {"type": "object", "properties": {"amount": {"default": 1000}}}
ITSELF = {"type": "object", "properties": {"a": {"$ref": "#/$defs/A", "default": {}}}}
REFERRING = {"$ref": "#/$defs/A"}
DOUBLING: dict = {"properties": {}}
for _ in range(40):
    DOUBLING = {"properties": {name: {"default": {}} | DOUBLING for name in "ab"}}


@pytest.mark.parametrize(
    ("field", "there"),
    [
        ({"additionalProperties": REFERRING}, INNER),
        ({"patternProperties": {"^a": REFERRING}}, INNER),
        ({"prefixItems": [REFERRING]}, INNER),
        (REFERRING, REFERRING),
        (REFERRING, {"anyOf": [REFERRING, {"type": "null"}]}),
        (REFERRING, ITSELF),
        ({"type": "array", "items": [REFERRING]}, INNER),
        ({"type": "array", "contains": REFERRING}, INNER),
        ({"if": {}, "then": REFERRING}, INNER),
        ({"dependentSchemas": {"a": REFERRING}}, INNER),
        (INNER | {"allOf": [{"properties": {"order": {}}}]}, {}),
        (REFERRING | INNER, {"type": "object"}),
        (REFERRING, {"type": "string", "default": "all"}),
        ({"$ref": "#there"}, {"$anchor": "there"} | INNER),
        ({"$dynamicRef": "#there"}, {"$dynamicAnchor": "there"} | INNER),
        ({"$ref": "https://schemas.example/A"}, INNER),
        ({"anyOf": [{"default": "all"}, {"type": "null"}]}, {}),
        (REFERRING, {"properties": {"a": {"default": {}} | DOUBLING}}),
        ({"properties": 5}, {}),
        ({"anyOf": [{"properties": {"a": {}}}, INNER | {"required": ["amount"]}]}, {}),
    ],
)
def test_defaults_that_are_not_filled_in_or_never_end_are_refused(guard, field, there):
    schema = {"type": "object", "properties": {"what": field}, "$defs": {"A": there}}
    made = StructuredTool(name="pay", description="Pays.", args_schema=schema, func=print)
    with pytest.raises(TypeError, match="defaults"):
        langchain.guarded(guard, [made])


def test_a_default_that_nobody_can_need_is_no_reason_to_refuse(guard):
    whole = INNER | {"required": ["amount"]}
    what = {"anyOf": [whole, whole | {"title": "Other"}, {"type": "null"}]}
    schema = {"type": "object", "properties": {"what": what}}
    made = StructuredTool(name="pay", description="Pays.", args_schema=schema, func=print)
    assert langchain.guarded(guard, [made])


def test_a_schema_that_doubles_at_each_reference_is_read_at_once(guard):
    twice = {str(n): {"anyOf": [{"$ref": f"#/$defs/{n + 1}"}] * 2} for n in range(200)}
    schema = {
        "type": "object",
        "properties": {"what": {"$ref": "#/$defs/0"}},
        "$defs": twice | {"200": {"type": "string"}},
    }
    made = StructuredTool(name="pay", description="Pays.", args_schema=schema, func=print)
    assert langchain.guarded(guard, [made])


def test_defaults_behind_a_name_with_a_slash_are_asked_about(guard, api):
    schema = {
        "type": "object",
        "properties": {"what": {"$ref": "#/$defs/a~1b%20c"}},
        "$defs": {"a/b c": INNER},
    }
    made = StructuredTool(name="pay", description="Pays.", args_schema=schema, func=lambda **_: "")
    langchain_told(guard, made, ("pay", {"what": {}}))
    assert api.asked[0]["arguments"] == {"what": {"amount": 1000}}


class Node(BaseModel):
    value: Any
    below: list["Node"] = []
    beside: "Node | None" = None


def test_a_schema_that_is_recursive_or_no_object_is_no_reason_to_refuse(guard, api):
    def grow(tree: Node, note: str = "") -> str:
        """Grow."""
        return f"{len(tree.below)}"

    made = agents.function_tool(grow, strict_mode=False)
    made.params_json_schema["properties"]["note"] = True
    made.params_json_schema["$defs"]["Node"]["properties"]["value"] = True
    written = {"tree": {"value": {}, "below": [{"value": 1}]}}
    assert openai_told(guard, made, ("grow", written)) == "1"
    leaf = {"value": 1, "below": [], "beside": None}
    whole = {"tree": {"value": {}, "below": [leaf], "beside": None}}
    assert api.asked[0]["arguments"] == whole


def test_openai_tools_find_what_was_decided_on_in_their_context_too(guard, api):
    seen = []

    def mail(context: ToolContext[Any], to: str) -> str:
        """Mail."""
        seen.append((to, context.tool_arguments, context.tool_call.arguments))
        return "sent"

    api.decide = lambda _: {"call": "c", "arguments": {"to": "[MASKED]"}}
    assert openai_told(guard, agents.function_tool(mail), ("mail", {"to": "ada"})) == "sent"
    assert seen == [("[MASKED]", '{"to":"[MASKED]"}', '{"to":"[MASKED]"}')]
