"""Agents as they are, run in a box. If these fail, an agent has to be written for the gate."""

import json

import pytest

from e2e.run.house import NODE, SITE
from needs import needs_boxes, needs_node
from portcullis.core.event import EventType

pytestmark = [pytest.mark.anyio, needs_boxes]

PYTHON = (str(SITE / "bin/python"), "agent.py")
NODE_JS = ("node", "agent.mjs")


@pytest.mark.parametrize(
    ("agent", "command"),
    [
        pytest.param("worker-1", PYTHON, id="python"),
        pytest.param("worker-2", NODE_JS, id="node", marks=needs_node),
    ],
)
async def test_every_call_of_an_unmodified_agent_takes_the_checks(house, agent, command):
    house.put(command[1])
    (house.home / "node_modules").symlink_to(NODE / "node_modules")
    how = ("--profile", "quick", "--mount", f"{NODE}:ro")
    ran = await house.run(agent, *how, "--", *command)
    assert ran.code == 0, ran.err
    found = json.loads(ran.out)
    assert "You said 5 characters" in found["model"]
    assert "three working days" in found["allowed"]["text"]
    assert found["denied"]["error"]["code"] == "PC3001"
    assert found["held"]["meta"]["portcullis/approval"] in found["held"]["text"]
    on_record = [(event.type, event.name, event.code) for event in house.events(agent)]
    assert on_record[:2] == [
        (EventType.LLM_CALL, "gpt-standin", ""),
        (EventType.LLM_RESULT, "gpt-standin", ""),
    ]
    tools = [(name, code) for kind, name, code in on_record if kind is EventType.TOOL_CALL]
    assert tools == [
        ("search_knowledge_base", ""),
        ("search_products", "PC3001"),
        ("search_knowledge_base", "PC3040"),
    ]
