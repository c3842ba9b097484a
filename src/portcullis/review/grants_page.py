"""A review as one HTML file: nothing is loaded, no script runs, and all text is escaped."""

from __future__ import annotations

import base64
import hashlib
from datetime import UTC, datetime
from functools import cache
from importlib import resources
from typing import Final

from jinja2 import Environment, StrictUndefined, Template

from portcullis.core.call import RiskClass
from portcullis.review.grants import SEVERITIES, AgentSets, Report

_FILES: Final = resources.files("portcullis.review") / "pages"
_TEMPLATE: Final = "grants.html"
_STYLE: Final = "grants.css"


def page(report: Report) -> str:
    """The page. Its content security policy allows its own style, by digest, and nothing else."""
    style = _text(_STYLE)
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    return _template().render(
        report=report,
        counts=report.counts,
        severities=SEVERITIES,
        style=style,
        csp=f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'",
        classes=classes,
    )


def classes(one: AgentSets) -> list[tuple[str, int]]:
    """How many tools of each class an agent may call, the gravest class last."""
    found = [(risk.value, sum(tool.risk is risk for tool in one.effective)) for risk in RiskClass]
    return [pair for pair in found if pair[1]]


@cache
def _template() -> Template:
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters["day"] = day
    return environment.from_string(_text(_TEMPLATE))


def _text(name: str) -> str:
    return (_FILES / name).read_text(encoding="utf-8")


def day(at: float | None) -> str:
    """A time as its day in UTC; "never" for none."""
    return f"{datetime.fromtimestamp(at, UTC):%Y-%m-%d}" if at else "never"
