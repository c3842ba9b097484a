"""Policies and questions to them, drawn from a seed: all of the language, and inputs of any type.

The same seed draws the same policy and the same questions, so that whoever finds a difference
between two engines can name it by one number.
"""

import copy
import json
import random

from policies import policy_of
from portcullis.core.errors import Problem

SERVERS = ("one", "two")
NAMES = ("a", "b", "c.d")
TOOLS = tuple(f"{server}.{name}" for server in SERVERS for name in NAMES)
VERBS = ("read", "write", "execute")
RESOURCES = ("x", "y")
TEXTS = (
    "",
    "a",
    "C-1",
    "p/",
    "p/a",
    "p/../a",
    "p//a",
    "p/%2e%2e/a",
    "P/A",
    "ä",
    "\u0000",
    "\U0001f600",
)
NUMBERS = (0, 1, 2, -1, 2.5, 1.0, 3, 10**15, -(10**15), 1e3)
VALUES = (*TEXTS, *NUMBERS, None, True, False, [], [1], ["a"], {}, {"a": 1}, "1", "true", "null")
MODELS = ("m-*", "*x", "exact", "a.b*", "[m]*", "m+1", "*")
ASKED_MODELS = ("m-1", "ax", "exact", "a.b", "aab", "[m]x", "m+1", "mm1", "m-\nx", "")
URIS = (
    "file:///srv/docs/a",
    "file:///srv/docs/../a",
    "file:///srv/docs//a",
    "memo://one",
    "memo://",
)
HOSTS = ("api.example.com", "*.example.com", "example.com", "**.example.org")
ASKED_HOSTS = (
    "api.example.com",
    "example.com",
    "a.b.example.com",
    "x.example.org",
    "evil.com",
    "apiXexample.com",
)
FEATURES = ("openai.f", "openai.g", "openai.h")
WINDOWS = {
    name: {"days": ["mon"], "from": start, "to": end, "zone": "Europe/Berlin"}
    for name, start, end in (("office", "08:00", "18:00"), ("night", "22:00", "06:00"))
}
CONDITIONS = (
    "session.user == 'ada'",
    "environment != 'staging' or exists session.subject.s",
    "not agent.owner == 'other'",
    "arguments.m > 1",
    "not arguments.m <= 2.5 or arguments.n == 'a'",
    "arguments.m in [1, 'a', true, null]",
    "arguments.n matches '[a-z]+' and not exists arguments.m",
    "arguments.n startswith 'p/'",
    "count(arguments.m) > 0",
    "arguments.m == session.subject.s",
    "'a' in arguments.n",
)
HANDWRITTEN = tuple(
    f"package portcullis.custom.own\n\nimport rego.v1\n\n{rules}\n"
    for rules in (
        'deny contains {"reason": "not a"} if input.name == "a"',
        'deny contains {"reason": "no more"} if {\n\tm := input.arguments.m\n\tm > 1\n}',
        'deny contains {"reason": "absent"} if not input.arguments.m',
        'deny contains {"reason": "not this user"} if input.session.user in {"ada"}',
    )
)
STRANGE = (None, True, 0, -1, 1.5, "", "zzz", [], {}, [None], {"": {}}, "agent", 10**18)
ACTIONS = (
    *(["tool"] * 6),
    *("model", "model", "egress", "egress", "resource", "prompt"),
    *("complete", "list", "protocol", "server_request", "unheard-of"),
)


def drawn(seed):
    """A policy that compiles, and where its questions come from."""
    source = random.Random(seed)
    for _ in range(200):
        try:
            texts = [json.dumps(_policy(source))]
            texts += some(source, HANDWRITTEN, 1) if source.random() < 0.4 else []
            names = ("main.yaml", "custom.rego")[: len(texts)]
            return policy_of(*texts, names=names), source
        except Problem as problem:
            if problem.code != "PC7002":
                raise
    raise AssertionError(f"seed {seed} draws no policy that compiles")


def some(source, values, most):
    values = list(dict.fromkeys(values))
    return source.sample(values, source.randint(0, min(most, len(values))))


def _policy(source):
    tools = {name: _tool(source) for name in source.sample(TOOLS, source.randint(1, 4))}
    roles = {f"r{number}": _role(source, tools) for number in range(source.randint(1, 2))}
    if len(roles) > 1 and source.random() < 0.5:
        roles["r1"]["inherits"] = ["r0"]
    for role in roles.values():
        if source.random() < 0.2:
            role["environments"] = ["production"]
    agents = {
        name: {"role": source.choice(list(roles)), "owner": "team"} for name in ("agent", "other")
    }
    if source.random() < 0.3:
        agents["other"]["expires"] = "2027-01-31"
    return {"version": 1, "windows": WINDOWS, "agents": agents, "roles": roles, "tools": tools}


def _terms(source, *, argued):
    """What a grant may be tied to; conditions on arguments only where there are any."""
    known = {
        "during": source.choice(["office", "night"]),
        "environments": source.choice([["production"], ["staging"]]),
        "until": "2027-01-31",
        "when": source.choice(CONDITIONS if argued else CONDITIONS[:3]),
        "obligations": {"approvers": 1, "log": ["m"]},
    }
    named = sorted(known) if argued else sorted(set(known) - {"obligations", "when"})
    return {name: known[name] for name in some(source, named, 2)}


def _granted(source, key, values, *, argued=False):
    """Each value plainly or on terms."""
    found = []
    for value in values:
        terms = _terms(source, argued=argued) if source.random() < 0.5 else {}
        found.append({key: value, **terms} if terms else value)
    return found


def _tool(source):
    tool = {"risk": source.choice(["read", "modify", "external", "delete"])}
    if source.random() < 0.6:
        tool |= {"verb": source.choice(VERBS), "resource": source.choice(RESOURCES)}
    arguments = {name: _bounds(source) for name in some(source, "mn", 2)}
    if arguments:
        tool["arguments"] = arguments
    return tool


def _bounds(source):
    if source.random() < 0.35:
        return {
            "equals": source.choice(
                ["session.subject.s", "session.user", "a", 1, True, 2.5, "session.subject.t"]
            )
        }
    every = {
        "minimum": source.choice([-1, 0, 1, 0.5]),
        "maximum": source.choice([2, 2.5, 10**15]),
        "enum": source.sample([1, "a", "p/a", True, 2.5], source.randint(1, 3)),
        "prefix": source.choice(["p/", "a", "C-"]),
        "max_length": source.randint(0, 3),
        "required": True,
    }
    kinds = source.sample(sorted(every), source.randint(1, 3))
    return {kind: every[kind] for kind in kinds} | (
        {"log": "clear"} if source.random() < 0.3 else {}
    )


def _role(source, tools):
    denied = some(source, [*TOOLS, "one.*"], 2)
    live = [name for name in TOOLS if name not in denied and f"{name[:3]}.*" not in denied]
    pairs = [
        (t["verb"], t["resource"]) for name, t in tools.items() if name in live and "verb" in t
    ]
    return {
        "permissions": [
            {verb: resource, **(_terms(source, argued=True) if source.random() < 0.5 else {})}
            for verb, resource in some(source, pairs, 3)
        ],
        "allowed_tools": _granted(source, "tool", some(source, live, 3), argued=True),
        "denied_tools": denied,
        "models": _granted(source, "model", some(source, MODELS, 3)),
        "provider_features": _granted(source, "feature", some(source, FEATURES[:2], 2)),
        "allowed_resources": some(
            source, ["one.file:///srv/docs/*", "two.memo://*", "one.memo://one"], 3
        ),
        "allowed_prompts": some(source, ["one.p", "two.p"], 2),
        "server_requests": some(source, ["one.sampling/createMessage", "two.roots/list"], 2),
        "egress": [_egress(source, host) for host in some(source, HOSTS[:3], 3)],
    }


def _egress(source, host):
    rule = {"host": host, "ports": source.choice([[443], [443, 8443], [80]])}
    way = source.choice(["", "terminate", "plain", "both"])
    if way:
        rule |= {"terminate": way != "plain", "plain": way != "terminate"}
        if source.random() < 0.6:
            rule["methods"] = source.sample(["GET", "POST", "DELETE"], 2)
        if source.random() < 0.6:
            rule["paths"] = source.sample(["/v1/*", "/a", "/*"], 1)
    return rule


def of(entry, asked):
    """An input without what only lists are asked with: a decision with it would be about a list."""
    listed = {"kind", "names"} if entry.endswith(".decision") else set()
    return {name: value for name, value in asked.items() if name not in listed}


def questions(source, count):
    """So many inputs of a decision; four in ten are bent out of their form."""
    for _ in range(count):
        asked = _question(source)
        for _ in range(source.choice([0, 0, 0, 1, 2])):
            asked = _bent(source, asked)
        yield asked


def _question(source):
    action, server = source.choice(ACTIONS), source.choice(SERVERS)
    session = None if source.random() < 0.4 else _session(source)
    named = {
        "model": ASKED_MODELS,
        "resource": URIS,
        "prompt": ("p", "q"),
        "complete": ("p", *URIS),
        "list": ("tools", "prompts"),
        "protocol": ("initialize", "ping"),
        "server_request": ("sampling/createMessage", "roots/list", "ping"),
    }
    arguments = {name: source.choice(VALUES) for name in some(source, "mn", 2)}
    if action == "egress":
        arguments = {
            "way": source.choice(["dns", "connect", "request"]),
            "host": source.choice(ASKED_HOSTS),
            "port": source.choice([443, 80, 8443, "443"]),
            "scheme": source.choice(["https", "http"]),
            "method": source.choice(["GET", "POST", "PUT"]),
            "path": source.choice(["/v1/x", "/a", "/", "/v1/../a"]),
        }
    return {
        "action": action,
        "server": server,
        "name": source.choice(named.get(action, NAMES)),
        "arguments": arguments,
        "features": some(source, FEATURES, 2) if action == "model" else [],
        "principal": {
            "kind": source.choice(["agent"] * 20 + ["operator"]),
            "id": source.choice(["agent"] * 12 + ["other", "stranger"]),
            "session": session and source.choice([session["id"]] * 8 + [None, "else"]),
        },
        "session": session,
        "environment": source.choice(["production", "staging"]),
        "time": source.choice(["1970-01-01T00:00:00Z", "2027-01-31T00:00:00Z", None]),
        "windows": some(source, ["office", "night"], 2),
        # What a list is asked with, so that one input serves each of the entry points.
        "kind": source.choice(["tools", "resources", "resource_templates", "prompts"]),
        "names": [*NAMES, "p", *URIS],
    }


def _session(source):
    bound = {
        "argument": source.choice("mn"),
        "kind": source.choice(
            ["required", "equals", "enum", "prefix", "maximum", "minimum", "max_length"]
        ),
        "value": source.choice(["a", 1, ["a", 1], "p/", 2]),
        "optional": source.random() < 0.3,
    }
    return {
        "id": "session",
        "agent": source.choice(["agent"] * 12 + ["other"]),
        "user": source.choice(["a", "ada"]),
        "subject": {name: source.choice(VALUES) for name in some(source, "st", 2)},
        "grant": None if source.random() < 0.6 else some(source, TOOLS, 5),
        "bounds": [bound] if source.random() < 0.3 else [],
    }


def _bent(source, asked):
    """The same with one member, anywhere in it, of another type, renamed or gone."""
    asked = copy.deepcopy(asked)
    path, here = [], asked
    while isinstance(here, dict) and here and (not path or source.random() < 0.6):
        path.append(source.choice(sorted(here)))
        here = here[path[-1]]
    holder = asked
    for step in path[:-1]:
        holder = holder[step]
    match source.randrange(4):
        case 0:
            del holder[path[-1]]
        case 1:
            holder[path[-1] + "_"] = holder.pop(path[-1])
        case _:
            holder[path[-1]] = copy.deepcopy(source.choice(STRANGE))
    return asked
