"""``portcullis secret``: which there are, who had access to them, rotating and sealing them."""

from __future__ import annotations

import json as codec
import os
import re
import stat
import sys
import time
from pathlib import Path
from typing import Annotated, Final

import typer

from portcullis.bootstrap.keys import keys_of
from portcullis.cli import principals
from portcullis.cli.audit_privacy import Reason, line
from portcullis.cli.operate import operations
from portcullis.cli.options import DEFAULT_CONFIG, ConfigFile, Json
from portcullis.config import SECRET, load
from portcullis.core.errors import Problem
from portcullis.execution.secrets.file import MAX_SECRET, purpose
from portcullis.execution.secrets.value import secret_of
from portcullis.identity.sealing import Envelope

app = typer.Typer(no_args_is_help=True)

_DAY: Final = 86400.0


@app.callback()
def secret() -> None:
    """Secrets: which there are, who had access to them, rotating and sealing them."""


@app.command("list")
def list_all(*, config: ConfigFile = DEFAULT_CONFIG, json: Json = False) -> None:
    """List the secrets that the configuration names: what they open and who used them."""
    with operations(load(config)) as work:
        found = work.secrets().secrets
    if json:
        print(codec.dumps([one.model_dump() for one in found]))
        return
    if not found:
        sys.stderr.write("the configuration names no secrets\n")
    for one in found:
        opens = "honeytoken" if one.honeytoken else ", ".join(one.upstreams) or "nothing"
        told = f"version {one.version}, {one.agents} agents" if one.used else "never used"
        rotated = f", rotated {principals.moment(one.rotated)}" if one.rotated else ""
        due = f", due {principals.moment(one.due)}" if one.due else ""
        fault = f", last try failed: {one.fault}" if one.fault else ""
        print(f"{one.reference:40} {opens}: {told}{rotated}{due}{fault}")


@app.command()
def access(
    *,
    agent: Annotated[str, typer.Option(help="What this agent had access to.")] = "",
    secret: Annotated[str, typer.Option(help="Who had access to this reference.")] = "",
    days: Annotated[float, typer.Option(min=0.0, help="How far back, in days.")] = 30.0,
    config: ConfigFile = DEFAULT_CONFIG,
    json: Json = False,
) -> None:
    """Say which agent used which secret: at which upstream, in which session, and when."""
    if secret and re.match(SECRET, secret) is None:
        raise Problem("PC7004", "--secret is a reference such as env:NAME or openbao:PATH#KEY")
    since = max(time.time() - days * _DAY, 0.0)
    with operations(load(config)) as work:
        found = work.secret_uses(agent, _anchored(secret, config), since).uses
    if json:
        print(codec.dumps([one.model_dump() for one in found]))
        return
    if not found:
        sys.stderr.write("nobody used any in that time\n")
    for one in found:
        who = one.agent or "the gate"
        where = f" in {one.session}" if one.session else ""
        what = f" for {one.scope}" if one.scope else ""
        print(
            f"{who:20} {one.reference}@{one.version} at {one.upstream}{what}{where}:"
            f" {one.count} times, {principals.moment(one.first)} to {principals.moment(one.last)}"
        )


@app.command()
def rotate(
    reference: Annotated[str, typer.Argument(help="As `list` shows it.")],
    reason: Reason,
    *,
    config: ConfigFile = DEFAULT_CONFIG,
    json: Json = False,
) -> None:
    """Rotate a secret at once, and see that it is another."""
    with operations(load(config)) as work:
        done = work.rotate_secret(_anchored(reference, config), line(reason))
    if json:
        print(codec.dumps(done.model_dump()))
    elif done.verified:
        sys.stderr.write(f"{reference} is another now\n")
    if not done.verified:
        raise Problem(done.fault or "PC7073", done.detail or "it is as it was before")


@app.command()
def seal(
    path: Annotated[Path, typer.Argument(help="The file to seal in place, or to write.")],
    *,
    stdin: Annotated[
        bool, typer.Option("--stdin", help="Read the secret from standard input, not the file.")
    ] = False,
    config: ConfigFile = DEFAULT_CONFIG,
    json: Json = False,
) -> None:
    """Seal a secret's file under the deployment's key, so that it does not lie in clear."""
    settings = load(config)
    try:
        content = sys.stdin.buffer.read(MAX_SECRET + 1) if stdin else _read(path)
    except OSError as error:
        raise Problem("PC7005", f"cannot read {path}: {error.strerror}") from None
    if len(content) > MAX_SECRET:
        raise Problem("PC7004", f"a secret has at most {MAX_SECRET} bytes")
    try:
        secret_of(str(path), content.decode("utf-8"))
    except UnicodeDecodeError:
        raise Problem("PC7004", "it is not UTF-8, or it is sealed already") from None
    sealed = Envelope(keys_of(settings)).seal(content, purpose(str(path)))
    _replace(path, sealed)
    sys.stderr.write(f"{path} is sealed; file:{path} goes on to work\n")
    if json:
        print(codec.dumps({"path": str(path), "reference": f"file:{path}"}))


def _anchored(reference: str, config: Path) -> str:
    """A reference as the configuration has it: relative paths lie below its file."""
    scheme, _, rest = reference.partition(":")
    if scheme == "vault":
        return f"openbao:{rest}"
    return f"file:{config.resolve().parent / rest}" if scheme == "file" and rest else reference


def _read(path: Path) -> bytes:
    """A file that is none but by this name: who follows a link seals what somebody else chose."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    with os.fdopen(descriptor, "rb") as opened:
        return opened.read(MAX_SECRET + 1)


def _replace(path: Path, content: bytes) -> None:
    """Put a file in another's place at once; whoever may not read it never could.

    It belongs to whom the other belonged to, and can be read by who could read that.
    """
    beside = path.with_name(f".{path.name}.sealing")
    try:
        before = path.lstat() if os.path.lexists(path) else None
        if before is not None and not stat.S_ISREG(before.st_mode):
            raise Problem("PC7005", f"{path} is a link, or no file: give the file itself")
        beside.unlink(missing_ok=True)
        file = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with os.fdopen(file, "wb") as opened:
            opened.write(content)
            opened.flush()
            if before is not None:
                os.fchown(file, before.st_uid, before.st_gid)
                os.fchmod(file, stat.S_IMODE(before.st_mode) & 0o777)
            os.fsync(file)
        beside.replace(path)
    except OSError as error:
        beside.unlink(missing_ok=True)
        raise Problem("PC7005", f"cannot write {path}: {error.strerror}") from None
