"""``portcullis policy release``: from a proposal to a policy in force, and back."""

from __future__ import annotations

import json as codec
import sys
import time
from collections.abc import Callable, Iterator
from difflib import unified_diff
from pathlib import Path
from typing import Annotated, Final, TypeAlias

import typer

from portcullis.cli import principals
from portcullis.cli.approval_lines import rules
from portcullis.cli.audit_privacy import Reason, line
from portcullis.cli.operate import operations
from portcullis.cli.options import DEFAULT_CONFIG, ConfigFile, Json
from portcullis.cli.release_operations import DirectReleases, RemoteReleases
from portcullis.config import load
from portcullis.control.releases_api import ArmView, ReleaseDetail, ReleaseView
from portcullis.core.errors import Problem
from portcullis.core.release import MAX_SHARE, File
from portcullis.policy.bundles.signature import algorithm, key_id, public_pem
from portcullis.policy.delivery import files_of
from portcullis.policy.source import read

app = typer.Typer(no_args_is_help=True)

Number = Annotated[int, typer.Argument(min=1, help="The release's number, as `list` shows it.")]
Releases: TypeAlias = RemoteReleases | DirectReleases
_FOLLOW_SECONDS: Final = 1.0
_COUNTED: Final = frozenset({"shadow", "canary"})


@app.callback()
def releases() -> None:
    """Releases of policy: propose, try and activate one, and go back."""


@app.command()
def propose(
    directory: Annotated[
        Path | None,
        typer.Argument(metavar="[DIR]", help="The policy; default: the configuration's folder."),
    ] = None,
    *,
    note: Annotated[str, typer.Option(help="What is new about it, in one line; it is logged.")],
    release: Annotated[
        int | None, typer.Option(min=1, help="The text of this release again, instead of a folder.")
    ] = None,
    config: ConfigFile = DEFAULT_CONFIG,
    json: Json = False,
) -> None:
    """Propose a policy. Nothing of it takes force by that."""
    if directory is not None and release is not None:
        raise Problem("PC7004", "a folder or --release, not both")
    settings = load(config)
    with operations(settings) as work:
        if release is None:
            files = files_of(read(directory or settings.policy))
        else:
            files = _files(work.releases, release)
        done = work.releases.propose(files, line(note))
    _moved(done, json=json)


@app.command("list")
def list_all(*, config: ConfigFile = DEFAULT_CONFIG, json: Json = False) -> None:
    """List the newest releases."""
    with operations(load(config)) as work:
        found = work.releases.list()
    if json:
        print(codec.dumps(found.model_dump()))
        return
    if not found.releases:
        sys.stderr.write("there are no releases\n")
    for one in found.releases:
        print(_readable(_line(one, found.needed)))


@app.command()
def show(
    number: Number,
    *,
    follow: Annotated[
        bool, typer.Option("--follow", "-f", help="Go on as long as it is in shadow or canary.")
    ] = False,
    files: Annotated[bool, typer.Option("--files", help="Its text instead.")] = False,
    diff: Annotated[
        bool, typer.Option("--diff", help="How its text differs from the active release's instead.")
    ] = False,
    config: ConfigFile = DEFAULT_CONFIG,
    json: Json = False,
) -> None:
    """Show a release, and what differs in shadow or canary."""
    with operations(load(config)) as work:
        if diff:
            changed = "".join(_changes(work.releases, number))
            print(codec.dumps({"diff": changed})) if json else sys.stdout.write(_readable(changed))
            return
        if files:
            text = work.releases.files(number)
            print(codec.dumps(text.model_dump()) if json else _text(text.model_dump()["files"]))
            return
        last = ""
        while True:
            found = work.releases.show(number)
            said = codec.dumps(found.model_dump()) if json else _readable("\n".join(_shown(found)))
            if said != last:
                print(said, flush=True)
                last = said
            if not follow or found.release.stage not in _COUNTED:
                return
            time.sleep(_FOLLOW_SECONDS)


@app.command()
def approve(
    number: Number, reason: Reason, *, config: ConfigFile = DEFAULT_CONFIG, json: Json = False
) -> None:
    """Approve what another person proposed."""
    _move(config, lambda releases: releases.approve(number, line(reason)), json=json)


@app.command()
def reject(
    number: Number, reason: Reason, *, config: ConfigFile = DEFAULT_CONFIG, json: Json = False
) -> None:
    """Reject a release that never decided."""
    _move(config, lambda releases: releases.reject(number, line(reason)), json=json)


@app.command()
def shadow(number: Number, *, config: ConfigFile = DEFAULT_CONFIG, json: Json = False) -> None:
    """Hold a release against the one in force: it judges all calls too, and decides none."""
    _move(config, lambda releases: releases.shadow(number), json=json)


@app.command()
def canary(
    number: Number,
    share: Annotated[int, typer.Option(min=1, max=MAX_SHARE, help="Of the sessions, in percent.")],
    *,
    config: ConfigFile = DEFAULT_CONFIG,
    json: Json = False,
) -> None:
    """Let a release decide for some sessions; it is taken back when it denies too much."""
    with operations(load(config)) as work:
        done = work.releases.canary(number, share)
        found = work.releases.show(number)
    _moved(done, json=json)
    for untested in _untested(found):
        sys.stderr.write(f"{_readable(untested)}\n")


@app.command()
def activate(number: Number, *, config: ConfigFile = DEFAULT_CONFIG, json: Json = False) -> None:
    """Have a release take force, in every gateway."""
    _move(config, lambda releases: releases.activate(number), json=json)


@app.command()
def rollback(
    number: Number, reason: Reason, *, config: ConfigFile = DEFAULT_CONFIG, json: Json = False
) -> None:
    """End a shadow or a canary; or go back from the active release to the one before."""
    _move(config, lambda releases: releases.rollback(number, line(reason)), json=json)


@app.command()
def bundle(
    number: Number,
    output: Annotated[Path, typer.Option("--output", "-o", help="The archive; a new file.")],
    *,
    config: ConfigFile = DEFAULT_CONFIG,
    json: Json = False,
) -> None:
    """Write a release as a signed bundle, for OPA and for gates elsewhere."""
    from portcullis.bootstrap.bundles import archive_of  # noqa: PLC0415 - slow to load

    settings = load(config)
    with operations(settings) as work:
        files = _files(work.releases, number)
    archive = archive_of(settings, number, files, int(time.time()))
    try:
        with output.open("xb") as opened:
            opened.write(archive)
    except OSError as error:
        raise Problem("PC7004", f"cannot write {output}: {error.strerror}") from None
    if json:
        print(codec.dumps({"path": str(output), "bytes": len(archive)}))
    else:
        sys.stderr.write(f"{len(archive)} bytes in {output}\n")


@app.command()
def key(*, config: ConfigFile = DEFAULT_CONFIG, json: Json = False) -> None:
    """Print the public key of the bundles' signatures."""
    from portcullis.bootstrap.bundles import signing_key  # noqa: PLC0415 - slow to load

    public = signing_key(load(config)).public_key()
    if json:
        names = {"key_id": key_id(public), "algorithm": algorithm(public)}
        print(codec.dumps(names | {"key": public_pem(public)}))
    else:
        sys.stderr.write(f"{key_id(public)} {algorithm(public)}\n")
        sys.stdout.write(public_pem(public))


def _files(releases: Releases, number: int) -> tuple[File, ...]:
    return tuple(File(name=one.name, text=one.text) for one in releases.files(number).files)


def _changes(releases: Releases, number: int) -> Iterator[str]:
    """A unified diff of the files, from the active release's to this one's."""
    active = [one.number for one in releases.list().releases if one.stage == "active"]
    was = {one.name: one.text for one in releases.files(active[0]).files} if active else {}
    now = {one.name: one.text for one in releases.files(number).files}
    for name in sorted(was.keys() | now.keys()):
        before, after = (text.get(name, "").splitlines(keepends=True) for text in (was, now))
        yield from unified_diff(before, after, f"active/{name}", f"{number}/{name}")


def _move(config: Path, act: Callable[[Releases], ReleaseView], *, json: bool) -> None:
    with operations(load(config)) as work:
        done = act(work.releases)
    _moved(done, json=json)


def _moved(done: ReleaseView, *, json: bool) -> None:
    if json:
        print(codec.dumps(done.model_dump()))
        return
    share = f" for {done.share} % of the sessions" if done.share else ""
    sys.stderr.write(f"release {done.number} is {_stage(done)}{share}\n")


def _line(one: ReleaseView, needed: int) -> str:
    share = f" {one.share} %" if one.share else ""
    who = one.proposed_by or one.origin
    yes = f", {len(one.approvals)} of {needed} approvals" if needed and one.proposed_by else ""
    when = principals.moment(one.proposed_at)
    note = f": {one.note}" if one.note else ""
    return f"{one.number:4} {_stage(one) + share:13} {one.digest[:19]} {who} at {when}{yes}{note}"


def _stage(one: ReleaseView) -> str:
    return one.stage.replace("_", " ")


def _shown(found: ReleaseDetail) -> Iterator[str]:
    one = found.release
    yield _line(one, found.needed)
    yield f"policy {one.digest}"
    yield f"text   {one.text}"
    for yes in one.approvals:
        yield f"approved by {yes.by} at {principals.moment(yes.at)}: {yes.note}"
    yield from (f"{name} {said}" for name, said in rules(found))
    if one.reason and one.stage in {"rejected", "rolled_back"}:
        yield f"{_stage(one)} by {one.by or 'itself'}: {one.reason}"
    if found.canary.decisions or found.rest.decisions:
        yield f"canary {_arm(found.canary)}, beside it {_arm(found.rest)}"
    if found.hit:
        yield f"{found.hit} sessions were denied what the active release allows"
    if one.stage in _COUNTED:
        yield from _untested(found)
    if found.compared or found.dropped:
        yield f"compared {found.compared} calls, dropped {found.dropped}"
    for kind in found.differences:
        yield f"{kind.count:6} x {kind.agent} {kind.name}: {kind.was} -> {kind.now}"
    if found.others:
        yield f"{found.others:6} x other kinds"


def _arm(arm: ArmView) -> str:
    return f"{arm.denials} of {arm.decisions} denied, {arm.sessions} sessions"


def _untested(found: ReleaseDetail) -> Iterator[str]:
    """What the canary does not test."""
    for one in found.untested:
        yield f"not tested before it is active: {one.part} {', '.join(one.names)}"


def _text(files: list[dict[str, str]]) -> str:
    if not files:
        raise Problem("PC7030", "the release has no files")
    return "\n".join(f"# {one['name']}\n{_readable(one['text'])}" for one in files)


def _readable(text: str) -> str:
    """A text of somebody else's, in which nothing moves a cursor or hides what stands there."""
    return "".join(c if c.isprintable() or c == "\n" else ascii(c)[1:-1] for c in text)
