"""The same agent in three frameworks, each with a model that says what a script says.

A driver's ``run`` gives the model's calls to the framework, one after the other, and returns what
the model was told of each.
"""

import asyncio
from typing import Annotated, TypedDict

import agents
import pydantic_ai
from agents.testing import ScriptedModel, assistant_message, function_call
from langchain_core.language_models import GenericFakeChatModel
from langchain_core.messages import AIMessage, ToolMessage
from langchain_core.tools import tool
from langgraph.graph import START, StateGraph
from langgraph.graph.message import add_messages
from langgraph.prebuilt import ToolNode, tools_condition
from pydantic_ai.messages import ModelResponse, TextPart, ToolCallPart, ToolReturnPart
from pydantic_ai.models.function import FunctionModel

from portcullis.client.adapters import langchain, openai_agents
from portcullis.client.adapters import pydantic_ai as pydantic_adapter


class Messages(TypedDict):
    messages: Annotated[list, add_messages]


def langchain_graph(tools, calls, *, asynchronous=False, checkpointer=None):
    """The usual graph of a model and its tools."""
    said = [
        AIMessage("", tool_calls=[{"name": name, "args": arguments, "id": f"c{at}"}])
        for at, (name, arguments) in enumerate(calls)
    ]
    model = GenericFakeChatModel(messages=iter([*said, AIMessage("done")]))

    def think(state):
        return {"messages": [model.invoke(state["messages"])]}

    async def athink(state):
        return {"messages": [await model.ainvoke(state["messages"])]}

    graph = StateGraph(Messages)
    graph.add_node("model", athink if asynchronous else think)
    graph.add_node("tools", ToolNode(tools))
    graph.add_edge(START, "model")
    graph.add_conditional_edges("model", tools_condition)
    graph.add_edge("tools", "model")
    return graph.compile(checkpointer=checkpointer)


class LangChain:
    toolset = "langchain"

    def run(self, guard, functions, calls, *, asynchronous, **options):
        made = [tool(each) for each in functions]
        for each in made:
            each.handle_tool_error = True
        guarded = langchain.guarded(guard, made, **options)
        graph = langchain_graph(guarded, calls, asynchronous=asynchronous)
        start = {"messages": [("user", "go on")]}
        state = asyncio.run(graph.ainvoke(start)) if asynchronous else graph.invoke(start)
        return [each.content for each in state["messages"] if isinstance(each, ToolMessage)]


class OpenAI:
    toolset = "openai"

    def run(self, guard, functions, calls, *, asynchronous, **options):
        made = [agents.function_tool(each) for each in functions]
        said = [
            [function_call(name, arguments, call_id=f"c{at}")]
            for at, (name, arguments) in enumerate(calls)
        ]
        agent = agents.Agent(
            name="shop",
            tools=openai_agents.guarded(guard, made, **options),
            model=ScriptedModel([*said, [assistant_message("done")]]),
        )
        silent = agents.RunConfig(tracing_disabled=True)
        if asynchronous:
            result = asyncio.run(agents.Runner.run(agent, "go on", run_config=silent))
        else:
            result = agents.Runner.run_sync(agent, "go on", run_config=silent)
        outputs = [each for each in result.new_items if each.type == "tool_call_output_item"]
        return [each.output for each in outputs]


def scripted(calls):
    """A model of PydanticAI's that makes these calls, then is done."""
    said = [
        ModelResponse([ToolCallPart(name, arguments, tool_call_id=f"c{at}")])
        for at, (name, arguments) in enumerate(calls)
    ]
    script = iter([*said, ModelResponse([TextPart("done")])])
    return FunctionModel(lambda *_: next(script))


class PydanticAI:
    toolset = "pydantic"

    def run(self, guard, functions, calls, *, asynchronous, **options):
        guarded = pydantic_adapter.guarded(guard, functions, **options)
        agent = pydantic_ai.Agent(scripted(calls), toolsets=[guarded])
        result = asyncio.run(agent.run("go on")) if asynchronous else agent.run_sync("go on")
        parts = [part for message in result.all_messages() for part in message.parts]
        return [part.content for part in parts if isinstance(part, ToolReturnPart)]


DRIVERS = (LangChain(), OpenAI(), PydanticAI())
