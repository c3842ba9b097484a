"""Weeks of made-up traffic, as a gate's log has it: agents of some roles, and what goes wrong."""

from __future__ import annotations

import hashlib
import json
import math
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec

from portcullis.core.event import Event, EventType, ResultSummary

START = datetime(2026, 3, 2, tzinfo=UTC)  # a Monday
DAY = 86400.0


@dataclass(frozen=True)
class Tool:
    """``arguments``: (name, where its values come from); upper-case pools stand in clear."""

    server: str
    name: str
    risk: str = "read"
    arguments: tuple[tuple[str, str], ...] = ()
    request: float = 200
    result: float = 2000


ROLES: dict[str, tuple[tuple[Tool, ...], tuple[float, float], float, float]] = {
    # tools in their usual order, working hours, sessions a day, share of weekends
    "support": (
        (
            Tool("crm", "find", arguments=(("customer", "people"),)),
            Tool("crm", "ticket", arguments=(("ticket", "ids"), ("queue", "QUEUES"))),
            Tool("kb", "search", arguments=(("query", "text"), ("lang", "LANGS"))),
            Tool("crm", "update", "modify", (("ticket", "ids"), ("status", "STATES")), 400, 300),
            Tool("mail", "send", "external", (("to", "people"), ("text", "text")), 900, 120),
        ),
        (8, 18),
        24,
        0.0,
    ),
    "analyst": (
        (
            Tool("db", "tables", result=900),
            Tool("db", "query", arguments=(("table", "TABLES"), ("sql", "text")), result=9000),
            Tool("db", "query", arguments=(("table", "TABLES"), ("sql", "text")), result=9000),
            Tool("report", "render", arguments=(("template", "STATES"),), result=20000),
            Tool("share", "upload", "external", (("folder", "folders"),), 30000, 200),
        ),
        (9, 17),
        9,
        0.1,
    ),
    "batch": (
        (
            Tool("queue", "take", "modify", (("queue", "QUEUES"),), 80, 600),
            Tool("store", "read", arguments=(("key", "ids"),), result=40000),
            Tool("store", "write", "modify", (("key", "ids"),), 40000, 60),
            Tool("queue", "done", "modify", (("queue", "QUEUES"), ("id", "ids")), 90, 40),
        ),
        (0, 24),
        40,
        1.0,
    ),
    "finance": (
        (
            Tool("ledger", "balance", arguments=(("account", "accounts"),), result=300),
            Tool("ledger", "entries", arguments=(("account", "accounts"),), result=5000),
            Tool(
                *("ledger", "transfer", "external"),
                (("payee", "payees"), ("amount", "AMOUNT"), ("currency", "LANGS")),
            ),
        ),
        (8, 17),
        10,
        0.0,
    ),
    "coder": (
        (
            Tool("git", "read", arguments=(("path", "paths"),), result=7000),
            Tool("git", "grep", arguments=(("text", "text"),), result=3000),
            Tool("git", "edit", "modify", (("path", "paths"), ("patch", "text")), 2500, 100),
            Tool("ci", "run", "modify", (("job", "STATES"),), 120, 4000),
            Tool("git", "push", "external", (("branch", "ids"),), 150, 200),
        ),
        (9, 20),
        14,
        0.2,
    ),
}
POOLS = {
    "people": 3000,
    "ids": 50000,
    "text": 10**9,
    "QUEUES": 5,
    "LANGS": 4,
    "STATES": 6,
    "TABLES": 9,
    "folders": 4,
    "accounts": 25,
    "payees": 14,
    "paths": 400,
}


@dataclass
class Agent:
    """One agent, as it is."""

    name: str
    role: str
    random: random.Random
    hosts: list[str] = field(default_factory=list)
    busy: float = 1.0
    restless: bool = False

    def value(self, pool: str) -> object:
        """A value: some come often, some rarely."""
        if pool == "AMOUNT":
            return round(self.random.lognormvariate(5, 0.8), 2)
        size = POOLS[pool]
        share = self.random.random() ** (2.0 if size < 1000 else 1.0)
        found = int(size * share)
        if pool.isupper():
            return f"{pool.lower()}-{found}"
        return f"{self.name}/{pool}/{found}"


@dataclass
class Wrong:
    """What goes wrong: its kind, and how a day's sessions are changed by it."""

    agent: str
    kind: str
    begin: float
    end: float


def _commitment(value: object) -> str:
    return "hmac-sha256:" + hashlib.sha256(str(value).encode()).hexdigest()


class Week:
    """Makes the events of one agent, session by session."""

    def __init__(self, agent: Agent, wrongs: list[Wrong]) -> None:
        self.agent = agent
        self.wrongs = wrongs
        self.random = agent.random
        self.events: list[Event] = []
        self._number = 0

    def run(self, days: int) -> list[Event]:
        tools, (begin, end), sessions, weekend = ROLES[self.agent.role]
        for day in range(days):
            level = self.agent.busy * self.random.lognormvariate(0, 0.2)
            if day % 7 >= 5:
                level *= weekend
            if self.random.random() < 0.02:
                level *= 1.6
            if self.agent.restless:
                self.restless(day)
                level *= self.random.lognormvariate(0, 0.25) * (0.1 if day % 11 == 9 else 1)
            for _ in range(_poisson(self.random, sessions * level)):
                hour = self.random.triangular(begin, end, (begin + end) / 2)
                if end - begin == 24:
                    hour = self.random.uniform(0, 24)
                elif self.random.random() < 0.01:
                    hour = min(23.9, end + self.random.random() * 1.5)
                self.session(day * DAY + hour * 3600, tools)
        for wrong in self.wrongs:
            WRONGS[wrong.kind](self, wrong, tools)
        return self.events

    def restless(self, day: int) -> None:
        """What happens in good faith: other hosts, other hours, other values, other tools."""
        agent, tools = self.agent, ROLES[self.agent.role][0]
        if day % 5 == 2:
            agent.hosts = [f"10.7.{day}.{self.random.randrange(250)}"]
        if self.random.random() < 0.12 and day % 7 < 5:
            self.session(day * DAY + self.random.uniform(19, 22) * 3600, tools)
        if self.random.random() < 0.1:
            at = day * DAY + 11 * 3600
            for _ in range(3):
                self.session(at, tools, calls=25, pause=8)
        if self.random.random() < 0.08:
            rare = Tool("wiki", self.random.choice(("read", "edit", "list")), "modify")
            self.session(day * DAY + 13 * 3600, (rare,), calls=2)
        if self.random.random() < 0.1:
            value = {
                "queue": f"q-{day}",
                "table": f"t-{day}",
                "job": f"j-{day}",
                "payee": f"p-{day}",
            }
            self.session(day * DAY + 14 * 3600, tools, values=value, calls=6)
        if self.random.random() < 0.05:
            self.session(day * DAY + 12 * 3600, tools, errors=0.4, calls=8)

    def session(
        self,
        at: float,
        tools: tuple[Tool, ...],
        *,
        host: str | None = None,
        credential: str | None = None,
        calls: int | None = None,
        pause: float = 25,
        order: bool = True,
        **how: float,
    ) -> None:
        self._number += 1
        name = f"{self.agent.name}-{self._number:05}"
        host = host or self.random.choice(self.agent.hosts)
        credential = credential or f"svid:{self.agent.name}-{int(at // DAY)}-{host}"
        count = calls or 2 + _poisson(self.random, 7)
        place = 0
        for _ in range(count):
            at += self.random.expovariate(1 / pause)
            if self.random.random() < 0.3:
                self.model(at, name, host, credential)
                at += self.random.expovariate(1 / 4)
            self.call(at, tools[place], name, host, credential, **how)
            step = self.random.random()
            if not order:
                place = self.random.randrange(len(tools))
            elif step < 0.8:
                place = (place + 1) % len(tools)
            elif step < 0.9:
                place = 0

    def model(self, at: float, session: str, host: str, credential: str) -> None:
        tokens = int(self.random.lognormvariate(7, 0.5))
        self.put(
            *(at, session, host, credential),
            server="openai",
            name="gpt-5",
            action="model",
            kind="llm",
            request_bytes=tokens * 4,
            result=ResultSummary(bytes=int(self.random.lognormvariate(6.5, 0.6))),
            tokens=(tokens, int(self.random.lognormvariate(5, 0.6))),
        )

    def call(
        self,
        at: float,
        tool: Tool,
        session: str,
        host: str,
        credential: str,
        *,
        more: float = 1.0,
        request: float = 1.0,
        errors: float = 0.015,
        denied: float = 0.004,
        values: dict[str, object] | None = None,
        extra: tuple[str, ...] = (),
    ) -> None:
        parameters, commitments = {}, {"request": _commitment(self.random.random())}
        for name, pool in (*tool.arguments, *((one, "text") for one in extra)):
            value = (values or {}).get(name, self.agent.value(pool))
            if pool.isupper():
                parameters[name] = value
            else:
                commitments[f"arguments.{name}"] = _commitment(value)
        size = tool.result * more * self.random.lognormvariate(0, 0.5)
        self.put(
            *(at, session, host, credential),
            server=tool.server,
            name=tool.name,
            action="tool",
            kind="tool",
            risk=tool.risk,
            parameters=parameters,
            commitments=commitments,
            request_bytes=int(tool.request * request * self.random.lognormvariate(0, 0.3)),
            result=ResultSummary(bytes=int(size), error=self.random.random() < errors),
            denied=self.random.random() < denied,
        )

    def put(
        self,
        at: float,
        session: str,
        host: str,
        credential: str,
        *,
        kind: str,
        result: ResultSummary,
        denied: bool = False,
        tokens: tuple[int, int] | None = None,
        **fields: object,
    ) -> None:
        self._n = getattr(self, "_n", 0) + 1
        same = {
            "v": 1,
            "gateway": "example.org/gate",
            "principal_kind": "agent",
            "principal": self.agent.name,
            "credential": credential,
            "session": session,
            "route": "mcp-http",
        }
        event_id = f"{self.agent.name}-{self._n}"
        self.events.append(
            Event(
                id=event_id,
                time=START + timedelta(seconds=at),
                type=EventType(f"{kind}_call"),
                source=f"{host}:{self.random.randrange(30000, 60000)}",
                application="shop",
                verdict="deny" if denied else "allow",
                code="PC3012" if denied else "",
                **same,
                **fields,
            )
        )
        if denied:
            return
        said = {name: fields[name] for name in ("server", "name", "action")}
        self.events.append(
            Event(
                id=f"{event_id}-r",
                time=START + timedelta(seconds=at + self.random.expovariate(2)),
                type=EventType(f"{kind}_result"),
                verdict="allow",
                result=result,
                decision=event_id,
                input_tokens=tokens and tokens[0],
                output_tokens=tokens and tokens[1],
                **same,
                **said,
            )
        )


def _volume(week: Week, wrong: Wrong, tools: tuple[Tool, ...]) -> None:
    for _ in range(12):
        at = week.random.uniform(wrong.begin, wrong.end - 600)
        week.session(at, tools, calls=90, pause=2)


def _table(week: Week, wrong: Wrong, tools: tuple[Tool, ...]) -> None:
    pool = next((one for t in tools for one in t.arguments if one[1] == "TABLES"), None)
    pool = pool or next(one for t in tools for one in t.arguments if POOLS.get(one[1], 99) < 30)
    some = tuple(t for t in tools if pool in t.arguments)
    for _ in range(3):
        at = week.random.uniform(wrong.begin, wrong.end - 300)
        week.session(at, some, calls=4, values={pool[0]: "salaries"})


def _exfiltration(week: Week, wrong: Wrong, tools: tuple[Tool, ...]) -> None:
    reads = tuple(tool for tool in tools if tool.risk == "read" and tool.arguments)
    day = wrong.begin
    while day < wrong.end:
        for _ in range(int(ROLES[week.agent.role][2] * 0.9)):
            week.session(week.random.uniform(day, day + 7.5 * 3600), reads, calls=11, more=1.2)
        day += DAY


def _destination(week: Week, wrong: Wrong, tools: tuple[Tool, ...]) -> None:
    external = tuple(tool for tool in tools if tool.risk == "external") or tools[-1:]
    name = external[0].arguments[0][0]
    for _ in range(2):
        at = week.random.uniform(wrong.begin, wrong.end - 300)
        week.session(at, external, calls=4, values={name: "attacker"})


def _night(week: Week, wrong: Wrong, tools: tuple[Tool, ...]) -> None:
    night = wrong.begin - wrong.begin % DAY + 2 * 3600
    wrong.begin, wrong.end = night, night + 2.5 * 3600
    for _ in range(5):
        week.session(week.random.uniform(night, night + 2 * 3600), tools)


def _order(week: Week, wrong: Wrong, tools: tuple[Tool, ...]) -> None:
    for _ in range(5):
        at = week.random.uniform(wrong.begin, wrong.end - 300)
        week.session(at, tools[::-1], calls=10)


def _stolen(week: Week, wrong: Wrong, tools: tuple[Tool, ...]) -> None:
    day = int(wrong.begin // DAY)
    its = [one for one in week.events if (one.time - START).days == day]
    credential = its[0].credential if its else "svid:none"
    for _ in range(2):
        at = week.random.uniform(wrong.begin, wrong.end - 300)
        week.session(at, tools, host="203.0.113.9", credential=credential)


def _with(**how: float) -> Callable[[Week, Wrong, tuple[Tool, ...]], None]:
    def run(week: Week, wrong: Wrong, tools: tuple[Tool, ...]) -> None:
        for _ in range(4):
            week.session(week.random.uniform(wrong.begin, wrong.end - 300), tools, **how)

    return run


def _tool(week: Week, wrong: Wrong, tools: tuple[Tool, ...]) -> None:
    del tools
    new = (Tool("admin", "grant", "modify", (("who", "people"),)),)
    for _ in range(2):
        week.session(week.random.uniform(wrong.begin, wrong.end - 300), new, calls=3)


WRONGS: dict[str, Callable[[Week, Wrong, tuple[Tool, ...]], None]] = {
    "volume": _volume,
    "new-table": _table,
    "slow-exfiltration": _exfiltration,
    "new-destination": _destination,
    "night-work": _night,
    "tool-order": _order,
    "credential-reuse": _stolen,
    "errors": _with(errors=0.7, calls=15),
    "denials": _with(denied=0.7, calls=15),
    "large-results": _with(more=40, calls=8),
    "large-requests": _with(request=40, calls=8),
    "new-tool": _tool,
    "argument-shape": _with(extra=("callback",), calls=6),
}
SLOW = {"slow-exfiltration": 4.0}
"""Days that it takes; of all others, three hours."""


def agents(count: int, seed: int, *, restless: float = 0.0) -> list[Agent]:
    """Agents of all roles; this share of them is restless."""
    roles = list(ROLES)
    found = []
    for index in range(count):
        rng = random.Random(f"{seed}-{index}")
        role = roles[index % len(roles)]
        hosts = [f"10.0.{index}.{n}" for n in range(1 + index % 3)]
        busy = rng.uniform(0.6, 1.5)
        unsteady = rng.random() < restless
        found.append(Agent(f"{role}-{index:02}", role, rng, hosts, busy, unsteady))
    return found


def weeks(
    count: int,
    seed: int,
    *,
    learn: int = 14,
    test: int = 7,
    share: float = 0.6,
    restless: float = 0.0,
) -> tuple[list[Agent], list[Event], list[Wrong]]:
    """So many agents over so many days; ``share`` of them misbehave once in the last days."""
    rng = random.Random(seed)
    kinds = list(WRONGS)
    events: list[Event] = []
    wrongs: list[Wrong] = []
    some = agents(count, seed, restless=restless)
    for index, agent in enumerate(some):
        own = []
        if rng.random() < share:
            kind = kinds[(index + seed) % len(kinds)]
            if agent.role == "batch" and kind == "night-work":
                kind = "new-tool"
            days = [day for day in range(learn, learn + test) if day % 7 < 5]
            slow = SLOW.get(kind)
            begin, _ = ROLES[agent.role][1]
            day = days[0] if slow else rng.choice(days)
            at = day * DAY + (max(begin, 8) + rng.uniform(0.5, 4)) * 3600
            length = DAY * (slow - 1) + 8 * 3600 if slow else 3 * 3600
            own = [Wrong(agent.name, kind, at, at + length)]
        events += Week(agent, own).run(learn + test)
        wrongs += own
    events.sort(key=lambda one: one.time)
    return some, events, wrongs


def write(folder: Path, count: int, seed: int, **how: float) -> None:
    """Write them as a corpus."""
    some, events, wrongs = weeks(count, seed, **how)
    folder.mkdir(parents=True, exist_ok=True)
    lines = b"".join(msgspec.json.encode(one) + b"\n" for one in events)
    (folder / "events-0001.jsonl").write_bytes(lines)
    labels = [
        {"agent": one.agent, "kind": one.kind, "from": _stamp(one.begin), "to": _stamp(one.end)}
        for one in wrongs
    ]
    (folder / "labels.json").write_text(json.dumps(labels))
    manifest = {
        "agents": [{"name": one.name, "role": one.role} for one in some],
        "start": START.isoformat(),
        "days": {"learn": how.get("learn", 14), "test": how.get("test", 7)},
        "files": {"events-0001.jsonl": hashlib.sha256(lines).hexdigest()},
    }
    (folder / "manifest.json").write_text(json.dumps(manifest))


def _stamp(at: float) -> str:
    return (START + timedelta(seconds=at)).isoformat()


def _poisson(rng: random.Random, mean: float) -> int:
    bound, product, count = math.exp(-mean), rng.random(), 0
    while product > bound:
        product *= rng.random()
        count += 1
    return count


def each(events: list[Event]) -> Iterator[Event]:
    """The events."""
    yield from events
