"""If these fail, a kind of LangChain tool slips by the gate, or loses what its graph gives it."""

import asyncio
from typing import Annotated, Any

import pytest
from langchain_core.callbacks import CallbackManagerForToolRun
from langchain_core.messages import ToolMessage
from langchain_core.runnables import RunnableConfig
from langchain_core.tools import (
    BaseTool,
    InjectedToolCallId,
    StructuredTool,
    Tool,
    ToolException,
    tool,
)
from langgraph.prebuilt import InjectedState, ToolRuntime
from pydantic import BaseModel, Field

from e2e.guard.drivers import langchain_graph
from e2e.guard.shop import SECRET
from guard_api import standing_in
from portcullis.client.adapters.langchain import guarded
from portcullis.client.guard import Guard


@pytest.fixture
def api():
    with standing_in() as made:
        made.decide = lambda body: {"call": "c", "arguments": masked(body["arguments"])}
        yield made


@pytest.fixture
def guard(api):
    with Guard(toolset="shop", url=api.url) as made:
        yield made


def masked(arguments):
    return {
        name: "[MASKED]" if value == "ada@customer.example" else value
        for name, value in arguments.items()
    }


def told(state):
    return [each.content for each in state["messages"] if isinstance(each, ToolMessage)]


def test_what_a_graph_injects_reaches_the_tool_and_not_the_gate(guard, api):
    seen = []

    @tool
    def mail(
        to: str,
        state: Annotated[dict, InjectedState],
        call: Annotated[str, InjectedToolCallId],
        runtime: ToolRuntime,
        config: RunnableConfig,
        text: str = "hello",
    ) -> str:
        """Send a mail."""
        seen.append((to, text, call, runtime.tool_call_id, len(state["messages"]), bool(config)))
        return "sent"

    graph = langchain_graph(guarded(guard, [mail]), [("mail", {"to": "ada@customer.example"})])
    assert told(graph.invoke({"messages": [("user", "go on")]})) == ["sent"]
    assert seen == [("[MASKED]", "hello", "c0", "c0", 2, True)]
    assert api.asked[0]["arguments"] == {"to": "ada@customer.example", "text": "hello"}
    assert list(api.asked[0]["tool"]["inputSchema"]["properties"]) == ["to", "text"]


def test_an_artifact_stays_only_beside_the_content_it_came_with(guard, api):
    @tool(response_format="content_and_artifact")
    def chart(order: str) -> tuple[str, dict]:
        """Draw."""
        return f"a chart of {order}", {"points": [1]}

    call = {"name": "chart", "args": {"order": "7"}, "id": "c", "type": "tool_call"}
    [made] = guarded(guard, [chart])
    message = made.invoke(call)
    assert (message.content, message.artifact) == ("a chart of 7", {"points": [1]})
    api.judge = lambda _: {"result": "a chart of [MASKED]"}
    for message in (made.invoke(call), asyncio.run(made.ainvoke(call))):
        assert (message.content, message.artifact) == ("a chart of [MASKED]", None)


class Where(BaseModel):
    to: str = Field(alias="recipient")
    copies: int = 1


class Mailer(BaseTool):
    name: str = "mailer"
    description: str = "Sends."
    args_schema: type[BaseModel] = Where
    sent: list = Field(default_factory=list)

    def _run(
        self, to: str, copies: int = 1, run_manager: CallbackManagerForToolRun | None = None
    ) -> str:
        self.sent.append((to, copies, run_manager is not None))
        return "sent"


def test_tools_that_are_classes_ask_for_every_argument_also_one_with_an_alias(guard, api):
    mailer = Mailer()
    [made] = guarded(guard, [mailer])
    assert made.invoke({"recipient": "ada@customer.example"}) == "sent"
    assert asyncio.run(made.ainvoke({"recipient": "ada@customer.example"})) == "sent"
    assert mailer.sent == [("[MASKED]", 1, True)] * 2
    assert [asked["arguments"] for asked in api.asked] == [
        {"to": "ada@customer.example", "copies": 1}
    ] * 2
    assert isinstance(made, Mailer)


def test_a_tool_of_one_text_is_asked_about_too(guard, api):
    ran = []
    made = Tool(name="say", description="Says.", func=lambda text: ran.append(text) or "said")
    [made] = guarded(guard, [made])
    assert made.invoke("ada@customer.example") == "said"
    assert ran == ["[MASKED]"]
    assert api.asked[0]["tool"]["inputSchema"]["required"] == ["tool_input"]


def test_a_model_cannot_call_an_argument_one_of_the_frameworks(guard, api):
    ran = []

    def anything(**arguments: Any) -> str:
        ran.append(arguments)
        return "done"

    made = StructuredTool(
        name="anything",
        description="Does it.",
        args_schema={"type": "object", "properties": {"to": {"type": "string"}}},
        func=anything,
    )
    names = ("to", "state", "runtime", "callbacks")
    [made] = guarded(guard, [made])
    made.invoke(dict.fromkeys(names, "ada@customer.example"))
    assert set(api.asked[0]["arguments"]) == set(names)
    assert ran == [dict.fromkeys(names, "[MASKED]")]


def test_async_tools_without_a_sync_side_and_the_other_way_round(guard, api):
    async def mail(to: str) -> str:
        """Send."""
        return f"sent to {to}"

    [made] = guarded(guard, [tool(mail)])
    assert asyncio.run(made.ainvoke({"to": "ada@customer.example"})) == "sent to [MASKED]"
    [made] = guarded(guard, [lambda_tool()])
    assert asyncio.run(made.ainvoke({"to": "ada@customer.example"})) == "sent to [MASKED]"
    assert len(api.asked) == len(api.reported) == 2


def lambda_tool():
    @tool
    def mail(to: str) -> str:
        """Send."""
        return f"sent to {to}"

    return mail


def test_a_failure_that_the_gate_changed_is_the_frameworks_error(guard, api):
    @tool
    def fail(order: str) -> str:
        """Fail."""
        raise ValueError(SECRET)

    api.judge = lambda _: {"result": "ValueError: [MASKED]"}
    with pytest.raises(ToolException, match="MASKED"):
        guarded(guard, [fail])[0].invoke({"order": "7"})
