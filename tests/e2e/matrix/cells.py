"""Which cells a test fills: one case for each route, marked for the matrix."""

import pytest

LLM = ("llm-json", "llm-stream")
MCP = ("mcp-http", "mcp-http-legacy", "mcp-stdio")
MCP_HTTP = MCP[:2]
ALL = (*LLM, *MCP)


def cells(control: str, phase: str, *routes: str, argument: str = "route"):
    """Run the test on each route (on a model's, with both official clients).

    Another ``argument`` than the fixture ``route`` gets the name of the case.
    """
    cases = [
        pytest.param(case, marks=pytest.mark.control(control, name, phase), id=case)
        for name in routes
        for case in ([f"{name}/openai", f"{name}/anthropic"] if name in LLM else [name])
    ]
    return pytest.mark.parametrize(argument, cases, indirect=argument == "route")
