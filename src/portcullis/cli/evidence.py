"""``portcullis evidence``: what the logs and the settings evidence, and where that is missing.

Reads files only. What an event says was chosen by others: nothing unprintable reaches a terminal.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Annotated

import msgspec
import typer

from portcullis import __version__
from portcullis.audit.verify import load_verifier
from portcullis.bootstrap import keys_of
from portcullis.bootstrap.evidence import evidence_signer, quorum_of, settings
from portcullis.bootstrap.evidence_logs import evidence_logs
from portcullis.bootstrap.floor import EVIDENCE
from portcullis.bootstrap.records import recorded, records
from portcullis.cli.audit_lines import clean, print_json
from portcullis.cli.audit_lines import moment as instant
from portcullis.cli.options import DEFAULT_CONFIG, ConfigFile, Json
from portcullis.cli.progress import progress
from portcullis.config import Config, load
from portcullis.core.errors import Problem
from portcullis.identity.sealing import Envelope
from portcullis.review.apart import checked
from portcullis.review.continuous import FACTS, saved, unwitnessed
from portcullis.review.deployment import Deployment, deployment
from portcullis.review.evaluate import Assessment, RowState, State, assess, judge
from portcullis.review.facts import Facts
from portcullis.review.logs import Logs, folded
from portcullis.review.mapping import FRAMEWORKS
from portcullis.review.package import require, write
from portcullis.review.package import verify as verify_package
from portcullis.review.subject import Review, Verified, moment
from portcullis.store.pins import SqlPins

_FAILED = 5
_PROCESSES = 2

app = typer.Typer(no_args_is_help=True, add_completion=False)

Frameworks = Annotated[str, typer.Option("--framework", help=f"One of {', '.join(FRAMEWORKS)}.")]


@app.command()
def gaps(
    framework: Frameworks = "",
    config: ConfigFile = DEFAULT_CONFIG,
    as_json: Json = False,
) -> None:
    """Print the gaps that are open now, with --json the state of every control.

    The logs are read from where the gate's own evaluation stands; an export reads and verifies all.
    """
    given = load(config)
    names = (_known(framework),) if framework else given.evidence.frameworks or FRAMEWORKS
    logs = evidence_logs(given, time.time(), patient=True)
    facts = saved(given.state / EVIDENCE / FACTS, logs)
    with progress("reading the logs", quiet=as_json):
        judged = judge(review := _review(given, logs, facts, facts), names)
    for name in names:
        _print(assess(review, name, judged), as_json=as_json)


@app.command()
def export(
    framework: Frameworks,
    output: Annotated[Path, typer.Option("--output", "-o", help="A new folder.")],
    since: Annotated[str, typer.Option(help="ISO 8601, included; UTC if it says nothing.")] = "",
    until: Annotated[str, typer.Option(help="ISO 8601, not included.")] = "",
    config: ConfigFile = DEFAULT_CONFIG,
    as_json: Json = False,
) -> None:
    """Write a signed package of evidence: OSCAL, a readable report, proofs of the events named.

    All logs are read and verified for it, the control plane's and each gateway's. Exit code 5 when
    one does not verify: what does not verify is no evidence, and no package is written.
    """
    given, name = load(config), _known(framework)
    begin, end = instant(since), instant(until)
    now = moment(time.time())
    logs = evidence_logs(given, now.timestamp())
    facts = Facts(origin=logs.own.verifier.name)
    with progress("verifying and reading the logs", quiet=as_json):
        verified = checked(logs, now, _PROCESSES)
        require(verified)
        known = saved(given.state / EVIDENCE / FACTS, logs)  # nothing of it counts but how far
        review = _review(given, logs, facts, known, since=begin, until=end, verified=verified)
    sealer = Envelope(keys_of(given))
    signer = evidence_signer(given, logs.own.name, logs.own.verifier.name, sealer)
    found = assess(review, name, judge(review, (name,)), until=end)
    digest = write(
        output,
        found,
        logs=logs,
        signer=signer,
        verified=verified,
        version=__version__,
    )
    counts = {state.value: found.count(state) for state in State}
    key = str(signer.verifier)
    if as_json:
        said = {"folder": str(output), "manifest": f"sha256:{digest}", "key": key}
        told = {"logs": found.logs, "missing": list(found.missing), "size": found.size}
        print_json(said | told | {"controls": counts})
    else:
        shown = ", ".join(f"{count} {state}" for state, count in counts.items())
        print(f"{output}: {name}, {found.size} entries of {len(found.logs)} logs, {shown}")
        for one in found.missing:
            print(f"missing: the log {clean(one)}")
        print(f"key {key}")


@app.command()
def verify(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="The package.")],
    key: Annotated[
        str, typer.Option("--key", help="The public key of evidence, or a file with it.")
    ],
    log_key: Annotated[
        list[str] | None,
        typer.Option("--log-key", help="A log's public key, as you got it elsewhere. Repeatable."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Check a package: signature, every file, every proof in it. Exit code 5 on failure."""
    if not folder.is_dir():
        raise Problem("PC7005", f"{folder} is not a folder")
    brought = [load_verifier(one) for one in log_key or ()]
    with progress("verifying", quiet=as_json):
        found = verify_package(folder, load_verifier(key), brought)
    if as_json:
        print_json(msgspec.structs.asdict(found))
    else:
        print(
            f"{'verified' if found.ok else 'FAILED'}: {clean(found.framework) or '-'} of "
            f"{clean(found.origin) or '-'}, made {clean(found.made) or '-'}, "
            f"{found.files} files, {found.proofs} proofs"
        )
        for one in found.logs:
            whose = "yours" if one in found.vouched else "the package's own"
            print(f"  log     {clean(one)}, with a key that is {whose}")
        for reason in found.reasons:
            print(f"  reason  {clean(reason)}")
    if not found.ok:
        raise typer.Exit(_FAILED)


def _known(name: str) -> str:
    if name not in FRAMEWORKS:
        hint = f"Known: {', '.join(FRAMEWORKS)}"
        raise Problem("PC7004", f"there is no framework {clean(name)}", hint=hint)
    return name


def _review(
    config: Config,
    logs: Logs,
    facts: Facts,
    known: Facts,
    *,
    since: datetime | None = None,
    until: datetime | None = None,
    verified: Verified | None = None,
) -> Review:
    """Go on from ``facts`` to the end of the signed logs, which hold what was ``known`` of them."""
    now = moment(time.time())
    found, notes = folded(logs, facts, since=since, until=until, known=known.logs)
    there = {log.name for log in logs.each}
    return Review(
        facts=found,
        deployment=_deployment(config),
        at=min(until, now) if until else now,
        since=since,
        unwitnessed=unwitnessed(quorum_of(config), logs, found, notes, now, until),
        missing=tuple(sorted({*logs.missing, *(found.logs.keys() - there)})),
        verified=verified,
    )


def _deployment(config: Config) -> Deployment:
    if not recorded(config):
        return deployment(config, (), ())
    with _engine(config) as pins:
        return settings(config, pins)


@contextlib.contextmanager
def _engine(config: Config) -> Iterator[SqlPins]:
    engine = records(config)
    try:
        yield SqlPins(engine)
    finally:
        engine.dispose()


def _print(found: Assessment, *, as_json: bool) -> None:
    if as_json:
        print_json(found)
        return
    print(f"{found.framework}: " + ", ".join(f"{found.count(s)} {s}" for s in State))
    if found.partial:
        print(f"  not all is known: {clean(found.partial)}")
    for row in found.rows:
        if row.state is State.GAP:
            _print_row(row)


def _print_row(row: RowState) -> None:
    print(f"  {clean(row.control)}  {clean(row.title)}")
    for gap in row.gaps:
        since = f" since {gap.since:%Y-%m-%dT%H:%M:%SZ}" if gap.since else ""
        print(f"    {gap.condition}{since}: {clean(gap.reason)}")
        for mark in gap.marks:
            print(
                f"      event {mark.index} of {clean(mark.log)} {clean(mark.who)} "
                f"{clean(mark.what)} id={clean(mark.id)}"
            )
