"""The section ``guard``: toolsets, whose tools are functions in agents' own programs."""

from __future__ import annotations

from pydantic import Field

from portcullis.config.common import Section


class Toolset(Section):
    """One toolset. Policy names its tools ``NAME.tool``, as those of an MCP server.

    ``result_seconds`` is how long a call may run from its decision to its result; without it,
    ``limits.request_seconds``. What a tool returns is the agent's word alone: only with
    ``trusted`` are its results good for what policy says that they are good for (``trusted`` of
    ``results``, docs/containment.md).
    """

    trusted: bool = False
    result_seconds: float | None = Field(default=None, gt=0, le=3600)
