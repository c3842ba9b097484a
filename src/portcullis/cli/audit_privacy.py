"""``portcullis audit erase``, ``content``, ``hold`` and ``release``: all of them are recorded.

They ask the gate that runs, or act on the store and the log themselves while none does.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from portcullis.audit.query import find
from portcullis.audit.verify import own_verifier
from portcullis.cli.audit_lines import clean, note, print_json
from portcullis.cli.audit_sealed import IdentityFile, Passphrase, key_of, show
from portcullis.cli.options import DEFAULT_CONFIG, ConfigFile, Json, load
from portcullis.cli.progress import progress
from portcullis.core.errors import Problem

if TYPE_CHECKING:
    from portcullis.config import Config
    from portcullis.control.privacy_api import HoldView

Reason = Annotated[
    str, typer.Option(help="Why, in one line; it stays in the log, so it names no person.")
]


def erase(
    subject: Annotated[
        str,
        typer.Option(
            help="user:NAME, subject:NAME=VALUE (every subject with that member), "
            "subject:{JSON}, session:ID or agent:NAME."
        ),
    ],
    reason: Reason,
    config: ConfigFile = DEFAULT_CONFIG,
    as_json: Json = False,
) -> None:
    """Destroy a data subject's keys and the content under them, in all logs. There is no way back.

    The logs stay as they are and verify; what they committed to can nobody guess any more.
    """
    from portcullis.cli.operate import operations  # noqa: PLC0415 - slow

    settings = load(config)
    with operations(settings) as work, progress("erasing", quiet=as_json):
        done = work.erase(subject, line(reason))
    if as_json:
        print_json(done.model_dump())
        return
    print(f"erased: {done.keys} keys, {done.fields} fields of content")
    print(f"  recorded as {done.subject}")
    if done.elsewhere:
        note(f"{', '.join(done.elsewhere)}: they destroy what they have as soon as they run")
    if done.derived:
        note("commitments from before subjects had keys of their own cannot be linked any more")


def content(
    event: Annotated[str, typer.Argument(help="The event's id.")],
    reason: Reason,
    config: ConfigFile = DEFAULT_CONFIG,
    identity: IdentityFile = None,
    passphrase: Passphrase = False,
    as_json: Json = False,
) -> None:
    """Show the content of an event, where it was kept. Who reads it, and why, is recorded first.

    It is looked for in all logs of the state directory. What is sealed end to end opens with
    --identity alone. Exit code 5 when it is not what the event in its log commits to.
    """
    from portcullis.cli.operate import operations  # noqa: PLC0415 - slow

    settings = load(config)
    why = line(reason)
    key = None if identity is None else key_of(identity, passphrase=passphrase)
    log, committed = _committed(settings, event)
    with operations(settings, log) as work:
        found = work.content(event, why)
    if found.log != log:
        committed = {}
    show(event, found.fields, committed, key, as_json=as_json)


def hold(
    session: Annotated[str, typer.Option(help="Keep what belongs to this session (its id).")] = "",
    principal: Annotated[str, typer.Option(help="Keep what agent:NAME did.")] = "",
    subject: Annotated[str, typer.Option(help="Keep what is about a subject, as in erase.")] = "",
    reason: Annotated[str, typer.Option(help="Why, in one line that names no person.")] = "",
    config: ConfigFile = DEFAULT_CONFIG,
    as_json: Json = False,
) -> None:
    """Make a legal hold, or show those in force: what they cover is not destroyed."""
    from portcullis.cli.operate import operations  # noqa: PLC0415 - slow

    asked = {"session": session, "principal": principal, "subject": subject}
    given = [name for name, target in asked.items() if target]
    if len(given) > 1 or bool(given) != bool(reason):
        raise Problem("PC7004", "a hold is on one thing, and has a --reason")
    with operations(load(config)) as work:
        holds: tuple[HoldView, ...]
        if session:
            holds = (work.hold("session", session, line(reason)),)
        elif principal:
            holds = (work.hold("principal", principal, line(reason)),)
        elif subject:
            holds = (work.hold("subject", subject, line(reason)),)
        else:
            holds = work.holds()
    for one in holds:
        if as_json:
            print_json(one.model_dump())
        else:
            print(clean(f"{one.id}  {one.kind} {one.target}  by {one.by}  ({one.reason})"))


def release(
    hold_id: Annotated[str, typer.Argument(metavar="HOLD", help="The hold's id.")],
    reason: Reason,
    config: ConfigFile = DEFAULT_CONFIG,
    as_json: Json = False,
) -> None:
    """End a legal hold."""
    from portcullis.cli.operate import operations  # noqa: PLC0415 - slow

    if not hold_id.isascii() or not hold_id.isalnum():
        raise Problem("PC7004", "a hold's id is letters and digits")
    with operations(load(config)) as work:
        work.release(hold_id, line(reason))
    sys.stderr.write(f"hold {hold_id} released\n")
    if as_json:
        print_json({"id": hold_id, "state": "released"})


def line(reason: str) -> str:
    """A reason as it may stand in the log. Problem PC7004."""
    if not reason.strip() or not reason.isprintable() or len(reason) > 200:  # noqa: PLR2004 - said
        raise Problem("PC7004", "--reason is one line of 1 to 200 characters")
    return reason


def _committed(config: Config, event: str) -> tuple[str, dict[str, str]]:
    """The log that has the event, the gate's own first, and what it commits to there.

    The gate's own and nothing when none has it. Of a log that cannot be read, that is said.
    """
    from portcullis.config.places import logs_of, own_log  # noqa: PLC0415 - slow

    for log, directory in logs_of(config).items():
        try:
            return log, find(directory, own_verifier(directory), event).event.commitments
        except Problem as problem:
            if problem.code != "PC6004":
                note(f"the log {clean(log)} cannot be read: {clean(problem.detail)}")
    return own_log(config), {}
