"""If these fail, a refusal is not what a framework's users take for a tool's error."""

import asyncio
import contextlib
from datetime import date
from typing import Literal

import agents
import pydantic_ai
import pytest
from langchain_core.tools import StructuredTool, ToolException, tool
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.types import Command
from pydantic import BaseModel
from pydantic_ai import DeferredToolRequests, DeferredToolResults
from pydantic_ai.messages import ToolReturnPart

from e2e.guard.drivers import langchain_graph, scripted
from e2e.guard.shop import SECRET
from portcullis.client.adapters import langchain, openai_agents
from portcullis.client.adapters import pydantic_ai as pydantic_adapter
from portcullis.client.guard import Held, Refused


def test_langchain_raises_tool_exceptions_that_say_why(shop):
    remove = tool(shop.functions(asynchronous=False)[2])
    with shop.guard("langchain") as guard:
        [guarded] = langchain.guarded(guard, [remove])
        with pytest.raises(ToolException, match="PC3001") as raised:
            guarded.invoke({"order": "O-5001"})
        assert isinstance(raised.value.__cause__, Refused)
        with pytest.raises(ToolException, match="PC3001"):
            asyncio.run(guarded.ainvoke({"order": "O-5001"}))
        graph = langchain_graph([guarded], [("remove", {"order": "O-5001"})])
        with pytest.raises(ToolException, match="PC3001"):
            graph.invoke({"messages": [("user", "go on")]})
    assert isinstance(guarded, StructuredTool)
    assert guarded.args_schema is remove.args_schema
    assert remove.invoke({"order": "O-5001"}) == "gone"  # the one that was given is as it was


def test_langchain_interrupts_a_graph_until_a_human_has_decided(shop):
    refund = tool(shop.functions(asynchronous=False)[1])
    arguments = shop.held()
    thread = {"configurable": {"thread_id": "1"}}
    with shop.guard("langchain") as guard:
        tools = langchain.guarded(guard, [refund], defer=True)
        graph = langchain_graph(tools, [("refund", arguments)], checkpointer=InMemorySaver())
        state = graph.invoke({"messages": [("user", "go on")]}, thread)
        [stopped] = state["__interrupt__"]
        assert stopped.value["tool"] == "refund"
        state = graph.invoke(Command(resume=True), thread)
        assert state["__interrupt__"][0].value == stopped.value
        assert shop.done == []
        shop.approve(stopped.value["approval"])
        state = graph.invoke(Command(resume=True), thread)
    assert state["messages"][-2].content == f"paid {arguments['amount']}"
    assert shop.done == [("refund", *arguments.values())]


def test_openai_agents_asks_the_tools_own_policy_for_failures(shop):
    remove = shop.functions(asynchronous=True)[2]
    told = []

    async def failed(context, error):
        told.append(error)
        return f"no: {error.code}"

    with shop.guard("openai") as guard:
        for policy, outcome in ((failed, "no: PC3001"), (None, agents.UserError)):
            made = agents.function_tool(remove, failure_error_function=policy)
            [guarded] = openai_agents.guarded(guard, [made])
            agent = agents.Agent(
                name="shop",
                tools=[guarded],
                model=agents.testing.ScriptedModel(
                    [
                        [agents.testing.function_call("remove", {"order": "O-1"}, call_id="c")],
                        [agents.testing.assistant_message("done")],
                    ]
                ),
            )
            running = agents.Runner.run(
                agent, "go on", run_config=agents.RunConfig(tracing_disabled=True)
            )
            if policy is None:
                with pytest.raises(outcome, match="PC3001") as raised:
                    asyncio.run(running)
                assert isinstance(raised.value.__cause__, Refused)
            else:
                assert asyncio.run(running).new_items[1].output == outcome
    assert isinstance(told[0], Refused)
    assert shop.done == []


def test_openai_agents_hosted_tools_are_not_said_to_be_guarded(shop):
    with shop.guard("openai") as guard, pytest.raises(TypeError, match="WebSearchTool"):
        openai_agents.guarded(guard, [agents.WebSearchTool()])


def test_pydantic_ai_does_not_have_the_model_try_again(shop):
    remove = shop.functions(asynchronous=False)[2]
    with shop.guard("pydantic") as guard:
        toolset = pydantic_adapter.guarded(guard, [remove])
        model = scripted([("remove", {"order": "O-1"})] * 4)
        result = pydantic_ai.Agent(model, toolsets=[toolset], retries=0).run_sync("go on")
    returns = [
        part
        for message in result.all_messages()
        for part in message.parts
        if isinstance(part, ToolReturnPart)
    ]
    assert [part.outcome for part in returns] == ["failed"] * 4
    assert shop.done == []


def test_pydantic_ai_defers_what_a_human_has_to_decide(shop):
    refund = shop.functions(asynchronous=True)[1]
    arguments = shop.held()
    with shop.guard("pydantic") as guard:
        toolset = pydantic_adapter.guarded(guard, [refund], defer=True)
        agent = pydantic_ai.Agent(
            scripted([("refund", arguments)]),
            toolsets=[toolset],
            output_type=[str, DeferredToolRequests],
        )
        first = agent.run_sync("go on")
        [call] = first.output.approvals
        approval = first.output.metadata[call.tool_call_id]["approval"]
        yes = DeferredToolResults(approvals={call.tool_call_id: True})
        history = first.all_messages()
        still = agent.run_sync(message_history=history, deferred_tool_results=yes)
        assert still.output.metadata[call.tool_call_id]["approval"] == approval
        assert shop.done == []
        shop.approve(approval)
        last = agent.run_sync(message_history=history, deferred_tool_results=yes)
    assert last.output == "done"
    assert shop.done == [("refund", *arguments.values())]


class Place(BaseModel):
    order: str
    limit: int = 5


def test_pydantic_ai_tools_of_one_model_are_asked_about_as_the_model_writes_them(shop):
    def lookup(place: Place) -> str:
        """Look an order up."""
        shop.done.append(place)
        return "found"

    with shop.guard("python") as guard:
        toolset = pydantic_adapter.guarded(guard, [lookup])
        model = scripted([("lookup", {"order": "mail ada@customer.example"})])
        pydantic_ai.Agent(model, toolsets=[toolset]).run_sync("go on")
    assert shop.done == [Place(order="mail [EMAIL_ADDRESS]", limit=5)]


class Booking(BaseModel):
    place: Place
    on: date
    note: str | None = None


def test_structures_pass_the_gate_both_ways_in_their_types(shop):
    def book(place: Place, on: date, kind: Literal["a", "b"] = "a", to: list[str] = []) -> Booking:  # noqa: B006 - never changed
        """Book a place."""
        shop.done.append((place, on, kind, to))
        return Booking(place=place, on=on, note=SECRET)

    day = date(2031, 5, 4)
    with shop.guard("python") as guard:
        made = guard.tool(book)(Place(order="O-5001"), day, to=["ada@customer.example"])
    assert made == Booking(place=Place(order="O-5001"), on=day, note="[GITHUB_TOKEN]")
    assert shop.done == [(Place(order="O-5001"), day, "a", ["[EMAIL_ADDRESS]"])]


def test_what_a_tool_fails_with_is_judged_too(shop):
    refund = shop.functions(asynchronous=False)[1]
    with shop.guard("python") as guard, pytest.raises(Exception, match="cannot be paid") as raised:
        guard.tool(refund)("O-5001", -1.0)
    assert SECRET not in str(raised.value)
    assert raised.value.__suppress_context__
    assert shop.done == [("refund", "O-5001", -1.0, "")]


def test_a_held_call_names_its_approval(shop):
    refund = shop.functions(asynchronous=True)[1]
    arguments = shop.held()
    with shop.guard("python") as guard:
        guarded = guard.tool(refund)
        with pytest.raises(Held) as raised:
            asyncio.run(guarded(**arguments))
        shop.approve(raised.value.approval)
        assert asyncio.run(guarded(**arguments)) == f"paid {arguments['amount']}"


@pytest.mark.parametrize(("verb", "code"), [("approve", ""), ("deny", "PC3041")])
def test_a_tool_may_wait_for_the_human(shop, verb, code):
    arguments = shop.held()
    deciding = shop.deciding(verb)
    with shop.guard("python") as guard:
        guarded = guard.tool(wait=10)(shop.functions(asynchronous=False)[1])
        with pytest.raises(Refused, match=code) if code else contextlib.nullcontext():
            guarded(**arguments)
    deciding.result(1)
    assert len(shop.done) == (0 if code else 1)
