"""What the docs say about controls and about what inspection finds."""

from importlib import resources

import msgspec
import yaml

from portcullis.core.call import Phase, Route
from portcullis.core.control import Control, Register
from portcullis.inspection.packs import builtin


def register() -> Register:
    """Read the register of controls."""
    text = resources.files("portcullis").joinpath("controls.yaml").read_text(encoding="utf-8")
    return msgspec.convert(yaml.safe_load(text), Register)


def controls_table(controls: tuple[Control, ...]) -> str:
    """The README's table."""
    rows = ["| control | what it stops |", "|---|---|"]
    rows += [f"| **{control.title}** (`{control.id}`) | {control.threat} |" for control in controls]
    return "\n".join(rows)


def entities_table() -> str:
    """What the rule packs find, by category."""
    rows = ["| category | entities |", "|---|---|"]
    found: dict[str, set[str]] = {}
    for pack in builtin():
        for rule in pack.rules:
            found.setdefault(rule.category, set()).add(rule.entity)
    rows += [
        f"| `{category}` | {', '.join(f'`{name}`' for name in sorted(names))} |"
        for category, names in sorted(found.items())
    ]
    return "\n".join(rows)


def threat_model(found: Register) -> str:
    """The threat model: threats, controls, the matrix, what is not covered."""
    lines = [
        "# Threat model",
        "",
        "Generated from `src/portcullis/controls.yaml` by `make docs`; do not edit.",
        "",
        "The agent is assumed to be hostile, and so is every upstream: model endpoints and MCP",
        "servers. Trusted are the machine that the gate runs on, its operators and the",
        "applications that open sessions. Each control names the asset it protects, the threat,",
        "where it acts, and the frameworks for which its records are evidence (evidence is not",
        "compliance).",
        "",
        "## Controls",
    ]
    for control in found.controls:
        frameworks = "; ".join(
            f"{name}: {', '.join(ids)}" for name, ids in control.frameworks.items()
        )
        lines += [
            "",
            f"### {control.title} (`{control.id}`)",
            "",
            f"- Threat: {control.threat}",
            f"- Asset: {control.asset}",
            f"- STRIDE: {', '.join(control.stride)}",
            f"- Acts in: {', '.join(f'`{place}`' for place in control.acts)}",
            f"- Evidence for: {frameworks}",
        ]
        lines += [
            f"- Not applicable to {_where(entry.routes, Route)}, {_where(entry.phases, Phase)}: "
            f"{entry.reason}"
            for entry in control.inapplicable
        ]
    lines += [
        "",
        "## The matrix",
        "",
        "q: the request, r: the result, s: each piece of a stream. A letter is a cell that an",
        "end-to-end test fills (`make test` fails when it does not); a dot is inapplicable.",
        "",
        "| control | " + " | ".join(Route) + " |",
        "|---|" + "---|" * len(Route),
    ]
    letters = {Phase.REQUEST: "q", Phase.RESULT: "r", Phase.STREAM: "s"}
    for control in found.controls:
        cells = [
            "".join("." if control.reason(route, phase) else letters[phase] for phase in Phase)
            for route in Route
        ]
        lines.append(f"| {control.id} | " + " | ".join(f"`{cell}`" for cell in cells) + " |")
    lines += ["", "## Not covered by this version", ""]
    lines += [f"- {limit}" for limit in found.limits]
    return "\n".join(lines) + "\n"


def _where(chosen: tuple[str, ...], every: type[Route | Phase]) -> str:
    if len(chosen) == len(every):
        return "all routes" if every is Route else "all phases"
    return ", ".join(chosen)
