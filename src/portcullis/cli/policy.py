"""``portcullis policy``: check a policy folder, build it into Rego and data, ask it."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer

from portcullis.bootstrap.firewall import findable, known
from portcullis.bootstrap.keys import SystemClock
from portcullis.catalogue.schema import fault
from portcullis.cli import policy_explain
from portcullis.cli.json_lines import plain, write_line
from portcullis.cli.options import DEFAULT_CONFIG, ConfigFile, Json
from portcullis.cli.policy_certify import app as certify_app
from portcullis.cli.policy_diff import diff
from portcullis.cli.policy_mine import mine
from portcullis.cli.policy_reach import reach
from portcullis.cli.policy_release import app as release_app
from portcullis.cli.policy_review import review
from portcullis.cli.policy_schema import schema
from portcullis.cli.policy_test import run_tests
from portcullis.cli.policy_threats import threats
from portcullis.config import load as load_config
from portcullis.config.inspection import Inspection
from portcullis.core.call import Action
from portcullis.core.errors import Problem
from portcullis.core.verdict import Allow, Deny
from portcullis.policy.bundles.layout import ROOTS, compiled
from portcullis.policy.engine import CompiledPolicy, RegorusEngine
from portcullis.policy.explain import explained
from portcullis.policy.obligations import in_words
from portcullis.policy.observe import require_near
from portcullis.policy.pdp import PRODUCTION, RegoPdp, compile_files, load
from portcullis.policy.source import read
from portcullis.policy.testing.question import Around, Asked, call_of, context_of

_DENIED = 3

app = typer.Typer(no_args_is_help=True, add_completion=False)
app.command()(reach)
app.command()(schema)
app.add_typer(release_app, name="release")
app.add_typer(certify_app, name="certify")
app.command()(diff)
app.command()(mine)
app.command()(review)
app.command("test")(run_tests)
app.command()(threats)

Folder = Annotated[
    Path | None,
    typer.Argument(metavar="[DIR]", help="The policy folder; default: the configuration's."),
]


class SessionRequest(msgspec.Struct, forbid_unknown_fields=True):
    """The session around a question."""

    user: str = ""
    subject: dict[str, Any] = {}
    grant: tuple[str, ...] | None = None


class DecideRequest(msgspec.Struct, forbid_unknown_fields=True):
    """A question: an agent, exactly one of tool, model, resource, prompt and egress, and around it.

    Tool, resource and prompt are qualified by their server: ``server.name``. Egress is a URL that
    is asked with ``method``, or ``host:port`` to connect to.
    """

    agent: str
    tool: str = ""
    model: str = ""
    resource: str = ""
    prompt: str = ""
    egress: str = ""
    method: str = "GET"
    arguments: dict[str, Any] = {}
    features: tuple[str, ...] = ()
    session: SessionRequest | None = None


@app.command()
def check(
    directory: Folder = None, config: ConfigFile = DEFAULT_CONFIG, as_json: Json = False
) -> None:
    """Say whether the policy loads; an error shows file, line and column."""
    policy = _load(directory, config)
    data = msgspec.json.decode(policy.bundle.data)["policy"]
    counts = {part: len(data[part]) for part in ("agents", "roles", "catalogue")}
    if as_json:
        write_line({"ok": True, "digest": policy.digest, **counts})
    else:
        said = "{agents} agents, {roles} roles, {catalogue} tools".format(**counts)
        sys.stdout.write(f"ok: {said}\n{policy.digest}\n")


@app.command()
def build(
    output: Annotated[Path, typer.Option("--output", "-o", help="An empty or new folder.")],
    directory: Folder = None,
    config: ConfigFile = DEFAULT_CONFIG,
    as_json: Json = False,
) -> None:
    """Write the compiled policy: Rego modules, data.json and a .manifest with the digest."""
    policy = _load(directory, config)
    files = {name: body.decode() for name, body in compiled(policy.bundle).items()}
    manifest = {"revision": policy.digest, "roots": list(ROOTS), "rego_version": 1}
    files[".manifest"] = msgspec.json.encode(manifest).decode()
    try:
        if output.exists() and any(output.iterdir()):
            raise Problem("PC7004", f"{output} is not empty", hint="Name a new folder.")
        for name, text in files.items():
            place = output / name
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_text(text, encoding="utf-8")
    except OSError as error:
        raise Problem("PC7004", f"cannot write {output}: {error.strerror}") from None
    if as_json:
        write_line({"digest": policy.digest, "files": sorted(files)})
    else:
        sys.stdout.write(f"{len(files)} files in {output}\n{policy.digest}\n")


@app.command()
def decide(
    question: Annotated[str, typer.Argument(help="A JSON file, or - for standard input.")] = "-",
    directory: Annotated[
        Path | None, typer.Option("--dir", help="The policy folder; default: the configuration's.")
    ] = None,
    environment: Annotated[
        str | None, typer.Option(help="The gate's environment; default: the configuration's.")
    ] = None,
    explain: Annotated[bool, typer.Option("--explain", help="Say what held and what not.")] = False,
    config: ConfigFile = DEFAULT_CONFIG,
    as_json: Json = False,
) -> None:
    """Ask the policy one question, with no side effects. Exit code 3 when it denies.

    Example: {"agent": "a", "tool": "orders.search", "arguments": {"customer_id": "C-1"},
    "session": {"subject": {"customer_id": "C-1"}}}
    """
    request = _request(question)
    engine = RegorusEngine()
    policy = compile_files(read(_folder(directory, config)), fault, engine)
    call, context = call_of(_asked(request)), context_of(_around(request))
    pdp = RegoPdp(
        policy, engine, environment=environment or _environment(config), clock=SystemClock()
    )
    verdict = pdp.decide(call, context)
    steps = explained(policy.bundle, pdp.question(call, context)) if explain else ()
    if as_json:
        more = policy_explain.plain(steps, verdict) if explain else {}
        said = "allow" if isinstance(verdict, Allow) else "deny"
        write_line({"verdict": said, **plain(verdict), **more})
    else:
        _print(verdict)
        if explain:
            policy_explain.printed(steps, verdict)
    if isinstance(verdict, Deny):
        raise typer.Exit(_DENIED)


def _environment(config: Path) -> str:
    return load_config(config).environment if config.exists() else PRODUCTION


def _folder(directory: Path | None, config: Path) -> Path:
    return directory or load_config(config).policy


def _load(directory: Path | None, config: Path) -> CompiledPolicy:
    """As the gate would take it; without a configuration, with the rules that ship."""
    policy = load(_folder(directory, config), fault)
    require_near(policy.observed, time.time())
    if policy.entities or policy.tolerated:
        given = config.exists() or directory is None
        known(policy, findable(load_config(config).inspection if given else Inspection()))
    return policy


def _request(question: str) -> DecideRequest:
    try:
        text = sys.stdin.buffer.read() if question == "-" else Path(question).read_bytes()
        request = msgspec.json.decode(text, type=DecideRequest)
    except OSError as error:
        raise Problem("PC7004", f"cannot read {question}: {error.strerror}") from None
    except msgspec.MsgspecError as error:
        raise Problem("PC7004", f"not a question: {error}") from None
    asked = [
        name for name in ("tool", "model", "resource", "prompt", "egress") if getattr(request, name)
    ]
    if len(asked) != 1:
        raise Problem("PC7004", "name exactly one of tool, model, resource, prompt and egress")
    named = request.tool or request.resource or request.prompt
    if named and not all(named.partition(".")):
        raise Problem("PC7004", f"{asked[0]} is not of the form server.name")
    return request


def _asked(request: DecideRequest) -> Asked:
    named = {
        Action.TOOL: request.tool,
        Action.MODEL: request.model,
        Action.RESOURCE: request.resource,
        Action.PROMPT: request.prompt,
        Action.EGRESS: request.egress,
    }
    action, target = next((action, name) for action, name in named.items() if name)
    return Asked(action, target, request.arguments, request.features, request.method)


def _around(request: DecideRequest) -> Around:
    session = request.session
    if session is None:
        return Around(request.agent)
    return Around(
        request.agent,
        session=True,
        user=session.user,
        subject=session.subject,
        grant=session.grant,
    )


def _print(verdict: Allow | Deny) -> None:
    head = "allow" if isinstance(verdict, Allow) else f"deny {verdict.code}"
    lines = [f"{head}: {verdict.reason}"]
    lines += [f"rule: {verdict.rule}"] if verdict.rule else []
    lines += [f"risk: {verdict.risk}"] if verdict.risk else []
    owed = verdict.obligations if isinstance(verdict, Allow) else None
    lines += [f"owed: {one}" for one in in_words(owed)] if owed else []
    sys.stdout.write("\n".join(lines) + "\n")
