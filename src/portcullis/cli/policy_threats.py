"""``portcullis policy threats``: the threat model of this deployment, and what changed of it."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import msgspec
import typer

from portcullis.catalogue.schema import fault
from portcullis.cli.audit_lines import clean, note
from portcullis.cli.options import DEFAULT_CONFIG, ConfigFile, Json, load
from portcullis.cli.progress import progress
from portcullis.core.errors import Problem
from portcullis.policy.grammar import parse
from portcullis.policy.source import read

if TYPE_CHECKING:
    from portcullis.config import Config
    from portcullis.core.inspection_ports import Pin
    from portcullis.policy.source import SourceFile
    from portcullis.review.threats import Model
    from portcullis.review.threats_scene import Scene

_FAILED = 5

Output = Annotated[Path | None, typer.Option(help="Write this file, too.")]


def threats(
    directory: Annotated[
        Path | None,
        typer.Argument(metavar="[DIR]", help="The policy folder; default: what is in force."),
    ] = None,
    *,
    html: Output = None,
    svg: Output = None,
    against: Annotated[
        Path | None,
        typer.Option(
            metavar="MODEL",
            help="Hold it against another model (--json): say what changed. Exit code 5 when a"
            " threat is new or worse.",
        ),
    ] = None,
    proofs: Annotated[
        Path | None,
        typer.Option(
            help="The record of a full test run: which tests proved the controls. Default: that of"
            " the clone which this runs from."
        ),
    ] = None,
    config: ConfigFile = DEFAULT_CONFIG,
    as_json: Json = False,
) -> None:
    """Draw the threat model of this deployment from its configuration and policy, as Markdown.

    What is uncovered comes first. A control that is switched off covers nothing.
    """
    from portcullis.review import threats as model  # noqa: PLC0415 - slow
    from portcullis.review import threats_proofs, threats_since  # noqa: PLC0415 - the same

    old = threats_since.read_model(against) if against else None
    record = threats_proofs.read_record(proofs) if proofs else threats_proofs.own_record()
    with progress("drawing", quiet=as_json):
        found = model.threat_model(_scene(load(config), directory), record)
    _files(found, html, svg)
    if old is not None:
        _since(old, found, as_json=as_json)
    elif as_json:
        sys.stdout.write(msgspec.json.encode(found).decode() + "\n")
    else:
        from portcullis.review.threats_text import markdown  # noqa: PLC0415 - slow

        sys.stdout.write(markdown(found))


def _scene(config: Config, directory: Path | None) -> Scene:
    from portcullis.review.threats_scene import Scene  # noqa: PLC0415 - slow

    files = read(directory) if directory else _released(config) or read(config.policy)
    return Scene(config=config, policy=parse(files, fault), now=time.time(), pins=_pins(config))


def _released(config: Config) -> tuple[SourceFile, ...] | None:
    """The active release's files; None where the folder is the policy, or nothing was released."""
    from portcullis.bootstrap.certifying import surveying  # noqa: PLC0415 - slow
    from portcullis.bootstrap.releases import binding  # noqa: PLC0415 - the same

    if not binding(config):
        return None
    with surveying(config) as survey:
        active = survey.active() if survey else None
    return active[1] if active else None


def _pins(config: Config) -> tuple[Pin, ...] | None:
    """What is pinned; None where there is no gate's database yet."""
    from portcullis.bootstrap.records import recorded, records  # noqa: PLC0415 - slow
    from portcullis.store.pins import SqlPins  # noqa: PLC0415 - the same

    if not recorded(config):
        return None
    engine = records(config)
    try:
        return SqlPins(engine).all()
    finally:
        engine.dispose()


def _files(found: Model, html: Path | None, svg: Path | None) -> None:
    from portcullis.review import threats_svg, threats_text  # noqa: PLC0415 - slow

    for place, drawn in ((html, threats_text.html), (svg, threats_svg.svg)):
        if place is None:
            continue
        try:
            place.write_text(drawn(found), encoding="utf-8")
        except OSError as error:
            raise Problem("PC7004", f"cannot write {place}: {error.strerror}") from None
        note(f"wrote {place}")


def _since(old: Model, new: Model, *, as_json: bool) -> None:
    from portcullis.review.threats_since import changes  # noqa: PLC0415 - slow
    from portcullis.review.threats_text import differences  # noqa: PLC0415 - the same

    found = changes(old, new)
    if as_json:
        for one in found:
            sys.stdout.write(msgspec.json.encode(one).decode() + "\n")
    else:
        for line in differences(found):
            sys.stdout.write(f"{clean(line)}\n")
    if any(one.alarming for one in found):
        raise typer.Exit(_FAILED)
