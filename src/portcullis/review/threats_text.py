"""A threat model as one list of headings, lines and tables, and that as Markdown or HTML.

Names in it were chosen by whoever writes the configuration, and some by servers: they are escaped
for the form that they stand in. Threats that are the same but for their subject stand in one row.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Callable, Iterable, Iterator
from typing import Final, NamedTuple

from msgspec.structs import replace

from portcullis.review.incident_text import Grid, Heading, Line, Part, in_html, in_markdown
from portcullis.review.threats import Cover, Model, Threat
from portcullis.review.threats_rating import Coverage
from portcullis.review.threats_since import Change
from portcullis.review.threats_svg import svg

_STYLE: Final = """
:root { color-scheme: light }
body { font: 15px/1.5 system-ui, "DejaVu Sans", sans-serif; max-width: 84rem; margin: 2rem auto;
  padding: 0 1rem; color: #1b1f24; background: #fff }
table { border-collapse: collapse; width: 100%; margin: .5rem 0; font-size: 14px }
th, td { border: 1px solid #c9ced6; padding: .35rem .55rem; text-align: left; vertical-align: top;
  overflow-wrap: anywhere }
th { background: #f0f2f5 }
td { min-width: 6.5rem }
h2 { margin-top: 2rem; font-size: 1.2rem }
figure { margin: 1rem 0; overflow-x: auto; border: 1px solid #c9ced6 }
figure svg { display: block; max-width: 100%; height: auto }
""".strip()
_HEAD: Final = ("Level", "Threat", "To whom", "What is so here", "What covers it", "Proof", "To do")
TITLES: Final = {
    Coverage.UNCOVERED: "Uncovered",
    Coverage.PARTLY: "Partly covered",
    Coverage.COVERED: "Covered",
}
_SAID: Final = {
    Coverage.UNCOVERED: "None of the controls against these acts in this deployment.",
    Coverage.PARTLY: "Some of the controls against these do not act in this deployment.",
    Coverage.COVERED: "All controls against these act. What is left is said beside them.",
}
_SHOWN: Final = 2
_CODE: Final = re.compile(r"`([^`]*)`")


def markdown(model: Model) -> str:
    """The model as Markdown (GFM)."""
    out = [f"# {in_markdown(_title(model))}", ""]
    for part in parts(model):
        match part:
            case Heading(text):
                out += [f"## {in_markdown(text)}", ""]
            case Line(text):
                out += [in_markdown(text), ""]
            case Grid(head, body):
                out += [_row(head), _row(["---"] * len(head), plain=True)]
                out += [*(_row(row) for row in body), ""]
    return "\n".join(out).rstrip("\n") + "\n"


def html(model: Model) -> str:
    """The model as one HTML file that loads nothing and runs nothing, with the diagram in it."""
    digest = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()
    policy = f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"
    title = in_html(_title(model))
    out = [
        '<!doctype html><html lang="en"><head><meta charset="utf-8">',
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        f"<title>{title}</title><style>{_STYLE}</style></head><body><main>",
        f"<h1>{title}</h1>",
    ]
    for part in parts(model):
        match part:
            case Heading(text):
                out.append(f"<h2>{in_html(text)}</h2>")
                if text == _DIAGRAM:
                    out.append(f"<figure>{svg(model)}</figure>")
            case Line(text):
                out.append(f"<p>{in_html(text)}</p>")
            case Grid(head, body):
                cells = "".join(f'<th scope="col">{in_html(one)}</th>' for one in head)
                out.append(f"<table><thead><tr>{cells}</tr></thead><tbody>")
                out += [
                    "<tr>" + "".join(f"<td>{_cell(one, _coded)}</td>" for one in row) + "</tr>"
                    for row in body
                ]
                out.append("</tbody></table>")
    return "\n".join([*out, "</main></body></html>\n"])


_DIAGRAM: Final = "Data flows and trust boundaries"


def parts(model: Model) -> Iterator[Part]:
    """What is said, in order: what is uncovered first."""
    counts = model.counts()
    said = ", ".join(f"{counts[one.value]} {TITLES[one].lower()}" for one in Coverage)
    yield Line(f"Made {model.made} from configuration and policy: {said}.")
    yield Line(_tested(model))
    for coverage in Coverage:
        yield Heading(TITLES[coverage])
        cells = tuple(_cells([one for one in model.threats if one.coverage is coverage]))
        yield Line(_SAID[coverage] if cells else "None.")
        if cells:
            yield Grid(_HEAD, cells)
    yield Heading(_DIAGRAM)
    yield Grid(
        ("Boundary", "Trust", "Within"),
        tuple(
            (zone.title, zone.trust, "\n".join(f"{n.name} ({n.detail})" for n in zone.nodes))
            for zone in model.boundaries
        ),
    )
    yield Heading("Assets")
    yield Grid(
        ("Asset", "Where"),
        tuple((asset, _some(about, 12)) for asset, about in model.assets.items()),
    )
    yield Heading("Adversaries")
    yield Grid(("Adversary", "Who"), tuple(model.adversaries.items()))
    yield Heading("Identifiers")
    yield Grid(
        ("Id", "Name", "Threats"),
        tuple(
            (name, said, ", ".join(sorted({t.id for t in model.threats if name in t.ids})))
            for name, said in model.names.items()
        ),
    )
    yield Heading("What the gate does not protect from")
    yield Grid(("Limit",), tuple((one,) for one in model.limits))


def _tested(model: Model) -> str:
    """Whose tests are named."""
    run = model.run
    if run is None:
        return "No record of a test run is here, so no control is known to be proven: see --proofs."
    age = "less than a day" if not run.days else f"{run.days} day{'s' if run.days > 1 else ''}"
    what = f"version {run.version}" + (f", commit {run.commit[:12]}" if run.commit else "")
    same = (
        "the code that runs here"
        if run.same
        else "other code than what runs here, of which nothing is proven by it"
    )
    return f"Tests are those of the full run of {run.made}, {age} ago, of {what}: {same}."


def differences(found: tuple[Change, ...]) -> Iterator[str]:
    """What changed, a line each."""
    for one in found:
        was = f" (was {one.was})" if one.was and one.now else ""
        what = f": {'; '.join(one.what)}" if one.what else ""
        yield f"{one.kind:8} {one.id}, {one.about}: {one.now or one.was}{was}{what}"


class Row(NamedTuple):
    """A threat, and all subjects of which the same is so, in words."""

    threat: Threat
    whom: str


def rows(threats: Iterable[Threat]) -> Iterator[Row]:
    """One row for all subjects of which the same is so, in the order of the first of each."""
    found: dict[Threat, list[Threat]] = {}
    for one in threats:
        found.setdefault(replace(one, about=""), []).append(one)
    for same in found.values():
        yield Row(same[0], _some([one.about for one in same], 12))


def _cells(threats: Iterable[Threat]) -> Iterator[tuple[str, ...]]:
    for one, whom in rows(threats):
        yield (
            f"{one.level}\n{one.impact}, {one.likelihood}\n{one.inherent} before",
            f"{one.title}\n{one.id}\n{', '.join(one.ids)}\n{', '.join(one.stride)}",
            whom,
            one.says,
            "\n".join(_covering(each) for each in one.controls),
            "\n".join(dict.fromkeys(_proof(each) for each in one.controls if not each.off)) or "-",
            "\n".join(each for each in (one.fix, one.residual) if each) or "-",
        )


def _covering(one: Cover) -> str:
    return f"{one.control} (not here: {one.off})" if one.off else one.control


def _proof(one: Cover) -> str:
    if not one.cells:
        return f"{one.control}: a setting"
    if not one.tests:
        return f"{one.control}: no test is known to have run"
    return f"{one.control}: {one.proven} of {one.cells} cells, {_some(one.tests, _SHOWN)}"


def _some(found: tuple[str, ...] | list[str], most: int) -> str:
    more = f" and {len(found) - most} more" if len(found) > most else ""
    return ", ".join(found[:most]) + more


def _title(model: Model) -> str:
    return f"Threat model of {model.trust_domain} ({model.environment})"


def _row(cells: tuple[str, ...] | list[str], *, plain: bool = False) -> str:
    return f"| {' | '.join(one if plain else _cell(one, in_markdown) or '-' for one in cells)} |"


def _cell(text: str, escaped: Callable[[str], str]) -> str:
    """A table's cell: what stands in several lines does so in it."""
    return "<br>".join(escaped(line) for line in text.split("\n") if line)


def _coded(text: str) -> str:
    """In HTML; what stands between two backticks is code."""
    return _CODE.sub(r"<code>\1</code>", in_html(text))
