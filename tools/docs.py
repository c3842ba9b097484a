"""Generate what the docs say about the code from the data and the types that the code uses.

``python tools/docs.py`` writes; ``--check`` fails when a file is not what would be written.
"""

import sys
from pathlib import Path

import msgspec
from reference import (
    ROOT,
    alerts,
    api,
    cli,
    configuration,
    controls,
    errors,
    events,
    metrics,
    rights,
)
from reference.running import described

from portcullis.policy.schema import policy_schema

CONTROLS, ENTITIES, ALERTS, RIGHTS = "controls", "entities", "alerts", "rights"
AGENTS = (
    "What agents and applications use beside the protocols of models and MCP: see"
    " [the APIs](../api.md)."
)
CONTROL = (
    "What operators use: see [the APIs](../api.md). The control plane serves this description at"
    " `/api/v1/openapi.json`."
)


def _between(path: Path, name: str, table: str) -> str:
    begin, end = f"<!-- {name}:begin -->", f"<!-- {name}:end -->"
    before, _, rest = path.read_text(encoding="utf-8").partition(begin)
    return f"{before}{begin}\n{table}\n{end}{rest.partition(end)[2]}"


def _schema() -> str:
    return msgspec.json.format(msgspec.json.encode(policy_schema()), indent=2).decode() + "\n"


def wanted() -> dict[Path, str]:
    """Every generated file and what it should hold."""
    found, running = controls.register(), described()
    docs = ROOT / "docs"
    reference = docs / "reference"
    readme, inspection = ROOT / "README.md", docs / "inspection.md"
    return {
        readme: _between(readme, CONTROLS, controls.controls_table(found.controls)),
        inspection: _between(inspection, ENTITIES, controls.entities_table()),
        docs / "alerts.md": _between(docs / "alerts.md", ALERTS, alerts.rules_table()),
        docs / "operators.md": _between(docs / "operators.md", RIGHTS, rights.rights_table()),
        docs / "threat-model.md": controls.threat_model(found),
        docs / "errors.md": errors.page(),
        reference / "cli.md": cli.page(),
        reference / "policy.schema.json": _schema(),
        reference / "configuration.md": configuration.page(),
        reference / "events.md": events.page(),
        reference / "metrics.md": metrics.page(running.registry),
        reference / "api-agents.md": api.page("The gate's API", AGENTS, running.agents),
        reference / "api-control.md": api.page("The control plane's API", CONTROL, running.control),
    }


def main() -> int:
    """Write or check."""
    stale = []
    for path, text in wanted().items():
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            stale.append(path.relative_to(ROOT))
            if "--check" not in sys.argv:
                path.parent.mkdir(exist_ok=True)
                path.write_text(text, encoding="utf-8")
    if "--check" in sys.argv and stale:
        print(f"stale, run `make docs`: {', '.join(map(str, stale))}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
