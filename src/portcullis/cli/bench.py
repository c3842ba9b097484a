"""``portcullis bench``: measure the gate on this machine. Nothing absolute is gated."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import typer
from typer.core import TyperGroup

from portcullis.bench import measure
from portcullis.bench.alerts import measure_alerts
from portcullis.bench.audit import measure_audit
from portcullis.bench.behaviour import measure_behaviour
from portcullis.bench.console import Settings as ConsoleSettings
from portcullis.bench.console import measure_console
from portcullis.bench.console_fill import Sizes as ConsoleSizes
from portcullis.bench.evidence import measure_evidence
from portcullis.bench.firewall import Settings as FirewallSettings
from portcullis.bench.firewall import measure_firewall
from portcullis.bench.firewall_peers import PEERS
from portcullis.bench.identity import Settings as IdentitySettings
from portcullis.bench.identity import measure_identity
from portcullis.bench.kill import Settings as KillSettings
from portcullis.bench.kill import measure_kill
from portcullis.bench.limits import Settings as LimitSettings
from portcullis.bench.limits import measure_limits
from portcullis.bench.limits_gates import measure_gates
from portcullis.bench.policy import Settings as PolicySettings
from portcullis.bench.policy import measure_policy
from portcullis.bench.policy_made import Sizes
from portcullis.bench.sandbox import PARTS as SANDBOX_PARTS
from portcullis.bench.sandbox import Settings as SandboxSettings
from portcullis.bench.sandbox import measure_sandbox
from portcullis.bench.subjects import JSON, SSE
from portcullis.cli.bench_fleets import Folder, Seconds, counts
from portcullis.cli.bench_fleets import app as fleets
from portcullis.cli.bench_table import costs, parts, show, write
from portcullis.cli.options import Json
from portcullis.cli.progress import status
from portcullis.core.errors import Problem


class _GateByDefault(TyperGroup):
    """``portcullis bench [OPTIONS]`` is ``portcullis bench gate [OPTIONS]``."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        if not args or (args[0].startswith("-") and args[0] not in ctx.help_option_names):
            args = ["gate", *args]
        return super().parse_args(ctx, args)


app = typer.Typer(cls=_GateByDefault, no_args_is_help=False)


@app.command("gate")
def gate(
    *,
    seconds: Seconds = 0.8,
    repeats: Annotated[int, typer.Option(min=1, max=20, help="Figures are medians.")] = 3,
    connections: Annotated[str, typer.Option(help="Counts, with commas.")] = "1,16,50,200",
    only: Annotated[Literal["json", "sse"] | None, typer.Option(help="One kind of call.")] = None,
    beside: Annotated[
        str | None,
        typer.Option(help="Another proxy's command, with {port} and {upstream}."),
    ] = None,
    folder: Folder = None,
    as_json: Json = False,
) -> None:
    """What the gate adds to a call, beside a bare proxy and a direct call in the same run."""
    settings = measure.Settings(
        seconds=seconds,
        repeats=repeats,
        connections=counts(connections),
        shapes=tuple(shape for shape in (JSON, SSE) if only in {None, shape.name}),
        beside=beside,
        folder=folder,
    )
    with status("measuring", quiet=as_json) as say:
        result = measure.measure(settings, say)
    if as_json:
        write(result)
    else:
        show(result, settings)


@app.command("policy")
def policy(
    *,
    seconds: Seconds = 2.0,
    decisions: Annotated[
        int, typer.Option(min=100, max=100_000_000, help="Over which memory is to stay flat.")
    ] = 1_000_000,
    agents: Annotated[int, typer.Option(min=1, max=100_000, help="In the policy.")] = 1000,
    roles: Annotated[int, typer.Option(min=10, max=1000, help="In the policy.")] = 200,
    tools: Annotated[int, typer.Option(min=100, max=5000, help="In the policy.")] = 2000,
    rules: Annotated[int, typer.Option(min=200, max=20_000, help="Grants, 20 a role.")] = 10_000,
    rounds: Annotated[int, typer.Option(min=1, max=20, help="Activations.")] = 3,
    gate: Annotated[bool, typer.Option(help="Activate it in a running gate as well.")] = True,
    as_json: Json = False,
) -> None:
    """What a decision costs with a large policy, and a new policy the calls beside it."""
    sizes = Sizes(agents=agents, roles=roles, tools=tools, rules=rules)
    settings = PolicySettings(
        seconds=seconds, decisions=decisions, rounds=rounds, gate=gate, sizes=sizes
    )
    with status("measuring", quiet=as_json) as say:
        result = measure_policy(settings, say)
    parts(result, as_json=as_json)


@app.command("audit")
def audit(
    *,
    seconds: Seconds = 2.0,
    slower: Annotated[
        float, typer.Option(min=0, max=100, help="Milliseconds more for each fdatasync.")
    ] = 0.0,
    folder: Folder = None,
    as_json: Json = False,
) -> None:
    """How fast events become durable, beside one commit for each, and are verified."""
    with status("measuring", quiet=as_json):
        result = measure_audit(seconds, folder, slower)
    parts(result, as_json=as_json)


@app.command("evidence")
def evidence(
    *,
    seconds: Seconds = 2.0,
    rounds: Annotated[int, typer.Option(min=1, max=50, help="Of each gate.")] = 20,
    folder: Folder = None,
    as_json: Json = False,
) -> None:
    """What evaluating evidence all the time costs the gate, and how fast a log is folded."""
    with status("measuring", quiet=as_json):
        result = measure_evidence(seconds, rounds, folder)
    parts(result, as_json=as_json)


@app.command("console")
def console(
    *,
    approvals: Annotated[int, typer.Option(min=10, max=100_000, help="That wait.")] = 10_000,
    agents: Annotated[int, typer.Option(min=10, max=10_000, help="That are registered.")] = 1_000,
    sessions: Annotated[int, typer.Option(min=10, max=10_000, help="That are open.")] = 1_000,
    events: Annotated[int, typer.Option(min=100, max=10_000_000, help="In the log.")] = 1_000_000,
    repeats: Annotated[int, typer.Option(min=2, max=1000, help="Of each page.")] = 50,
    folder: Folder = None,
    as_json: Json = False,
) -> None:
    """How long an operator waits for each page of a gate that has seen much, and for an event."""
    settings = ConsoleSettings(
        sizes=ConsoleSizes(approvals=approvals, agents=agents, sessions=sessions, events=events),
        repeats=repeats,
        folder=folder,
    )
    with status("measuring", quiet=as_json) as say:
        result = measure_console(settings, say)
    parts(result, as_json=as_json)


@app.command("alerts")
def alerts(
    *,
    events: Annotated[
        int, typer.Option(min=1, max=1_000_000, help="Refused calls that are logged at once.")
    ] = 20_000,
    folder: Folder = None,
    as_json: Json = False,
) -> None:
    """How late an alert is when an agent floods the log before it."""
    with status("measuring", quiet=as_json) as say:
        result = measure_alerts(events, folder, say)
    parts(result, as_json=as_json)


@app.command("behaviour")
def behaviour(
    data: Annotated[Path, typer.Option(help="The folder of recorded weeks, with labels.")],
    *,
    ending: Annotated[
        str, typer.Option(help="Count only agents whose names end with one of these characters.")
    ] = "",
    as_json: Json = False,
) -> None:
    """How much misbehaviour is noticed in recorded weeks, and how often for nothing."""
    with status("replaying", quiet=as_json) as say:
        result = measure_behaviour(data, say, ending)
    parts(result, as_json=as_json)


@app.command("identity")
def identity(
    *,
    seconds: Annotated[float, typer.Option(min=0.01, max=60, help="Of each small part.")] = 0.5,
    repeats: Annotated[int, typer.Option(min=1, max=20, help="Revocations.")] = 5,
    connections: Annotated[
        int, typer.Option(min=1, max=5000, help="Open ones of the agent that is revoked.")
    ] = 1000,
    streams: Annotated[int, typer.Option(min=1, max=200, help="Live ones of that agent.")] = 100,
    folder: Folder = None,
    as_json: Json = False,
) -> None:
    """SVIDs per second, what authentication costs, and how long a revocation takes."""
    settings = IdentitySettings(
        seconds=seconds,
        repeats=repeats,
        connections=connections,
        streams=streams,
        folder=folder,
    )
    with status("measuring", quiet=as_json) as say:
        result = measure_identity(settings, say)
    parts(result, as_json=as_json)


@app.command("kill")
def kill(
    *,
    gateways: Annotated[int, typer.Option(min=2, max=32, help="Processes that serve.")] = 8,
    connections: Annotated[
        int, typer.Option(min=1, max=20_000, help="Open ones of all victims together.")
    ] = 1000,
    streams: Annotated[int, typer.Option(min=1, max=5000, help="Live ones of those.")] = 200,
    kills: Annotated[int, typer.Option(min=4, max=1000, help="Agents that are killed.")] = 100,
    rate: Annotated[
        float, typer.Option(min=1, max=5000, help="A neighbour's calls in a second.")
    ] = 80.0,
    via: Annotated[
        Literal["unix", "redis"], typer.Option(help="What the kill feed goes over.")
    ] = "unix",
    store: Annotated[
        str | None,
        typer.Option(
            metavar="REFERENCE",
            help="Address of an empty PostgreSQL database for the records: env:NAME or file:PATH.",
        ),
    ] = None,
    folder: Folder = None,
    as_json: Json = False,
) -> None:
    """From the command to the last byte for whoever is killed, over several gateways."""
    settings = KillSettings(
        gateways=gateways,
        connections=connections,
        streams=streams,
        kills=kills,
        rate=rate,
        via=via,
        store=store,
        folder=folder,
    )
    with status("measuring", quiet=as_json) as say:
        result = measure_kill(settings, say)
    parts(result, as_json=as_json)


@app.command("limits")
def limits(
    *,
    clients: Annotated[int, typer.Option(min=8, max=512, help="Parallel clients.")] = 64,
    calls: Annotated[int, typer.Option(min=100, max=100_000, help="That fit a budget.")] = 2000,
    gateways: Annotated[int, typer.Option(min=1, max=16, help="Processes.")] = 4,
    via: Annotated[
        Literal["sqlite", "redis"] | None,
        typer.Option(help="Real gateways that count in this, and clients over HTTP."),
    ] = None,
    kill: Annotated[
        bool, typer.Option("--kill", help="With --via: kill one gateway in the middle.")
    ] = False,
    overhead_calls: Annotated[
        int, typer.Option(min=100, max=1_000_000, help="By which the overhead is measured.")
    ] = 20_000,
    redis: Annotated[
        str, typer.Option(help="A server's URL; auto starts one that is installed, none does not.")
    ] = "auto",
    as_json: Json = False,
) -> None:
    """What many clients spend of one budget at once, how it is shared, and what counting costs."""
    settings = LimitSettings(
        clients=clients,
        calls=calls,
        gateways=gateways,
        overhead_calls=overhead_calls,
        redis=redis,
    )
    if kill and (via is None or gateways < 2):  # noqa: PLR2004 - one is left
        raise Problem("PC7004", "--kill needs --via, and two gateways or more")
    with status("measuring", quiet=as_json) as say:
        if via is None:
            result = measure_limits(settings, say)
        else:
            result = measure_gates(settings, via, kill=kill, say=say)
    parts(result, as_json=as_json)


@app.command("sandbox")
def sandbox(
    *,
    only: Annotated[
        Literal["starts", "neighbour", "egress"] | None, typer.Option(help="One part.")
    ] = None,
    starts: Annotated[int, typer.Option(min=3, max=1000, help="Of each kind of box.")] = 30,
    seconds: Annotated[float, typer.Option(min=0.2, max=60, help="Of each round.")] = 2.0,
    rounds: Annotated[int, typer.Option(min=1, max=100, help="Beside each bad box.")] = 6,
    calls: Annotated[int, typer.Option(min=3, max=10_000, help="Through egress.")] = 100,
    as_json: Json = False,
) -> None:
    """What a box costs to start, a bad one its neighbour, and the way out its user."""
    settings = SandboxSettings(
        starts=starts,
        seconds=seconds,
        rounds=rounds,
        calls=calls,
        parts=(only,) if only else SANDBOX_PARTS,
    )
    with status("measuring", quiet=as_json) as say:
        result = measure_sandbox(settings, say)
    parts(result, as_json=as_json)


@app.command("firewall")
def firewall(
    *,
    only: Annotated[
        Literal["texts", "gate"] | None, typer.Option(help="Without a gate, or with nothing else.")
    ] = None,
    rounds: Annotated[int, typer.Option(min=1, max=100, help="The cheapest counts.")] = 9,
    seconds: Annotated[float, typer.Option(min=0.5, max=60, help="Of each load.")] = 3.0,
    repeats: Annotated[int, typer.Option(min=1, max=100, help="Of streamed answers.")] = 7,
    peers: Annotated[
        Path | None, typer.Option(help="A Python that has others' detectors: make bench-peers.")
    ] = None,
    folder: Folder = None,
    as_json: Json = False,
) -> None:
    """What it costs to look at what goes in and out: texts, streams, within a gate."""
    settings = FirewallSettings(
        only=only, rounds=rounds, seconds=seconds, repeats=repeats, peers=peers, folder=folder
    )
    with status("measuring", quiet=as_json) as say:
        result = measure_firewall(settings, say)
    if not as_json and only != "gate":
        costs(result.figures)
    parts(result, as_json=as_json, without=("read_", "channel_", "found_", *PEERS))


app.registered_commands += fleets.registered_commands
