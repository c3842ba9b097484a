"""One decision, step by step: what was looked at, what held, and where each is written.

Nothing is decided here. Every step is a rule of the policy's own Rego, evaluated by its name over
the same bundle and the same input as the decision.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import Any, Final

import msgspec
import regorus

from portcullis.policy.compiler import Bundle

_ROOT: Final = "data.portcullis"
_ROLE: Final = f"{_ROOT}.role"
_TERMS: Final = (
    ("environments", "placed({})", "in this environment"),
    ("until", "lasting({})", "before its end"),
    ("during", "in_window({})", "within its window"),
    ("when", "met({}.when)", "on its condition"),
)
_PLAIN: Final = {
    "resource": "resource_grant(data.portcullis.target, input.name)",
    "prompt": "prompt_grant(data.portcullis.target)",
    "complete": "complete_grant",
    "list": "reach_grant",
    "protocol": "reach_grant",
    "server_request": "server_request_grant",
}


class Step(msgspec.Struct, frozen=True, kw_only=True):
    """Something that was looked at. ``held`` is whether it is so; ``rule`` is where it stands.

    ``depth`` is above 0 for a part of the step that follows at 0.
    """

    said: str
    held: bool
    rule: str = ""
    depth: int = 0


class _Trace:
    """The bundle with one question, to be asked rule by rule."""

    def __init__(self, bundle: Bundle, question: bytes) -> None:
        self._engine = regorus.Engine()
        for name, text in bundle.modules:
            self._engine.add_policy(name, text)
        self._engine.add_data_json(bundle.data)
        self._engine.set_input_json(question.decode())
        self.question: dict[str, Any] = json.loads(question)

    def value(self, expression: str) -> Any:
        """What an expression is; None where it is undefined or cannot be evaluated."""
        try:
            said = json.loads(self._engine.eval_query_as_json(expression))
            found = said["result"][0]["expressions"][0]["value"]
        except (RuntimeError, ValueError, LookupError):
            return None
        return None if found == "<undefined>" else found

    def rule(self, name: str) -> Any:
        """What a rule of ours is."""
        return self.value(f"{_ROOT}.{name}")

    def holds(self, name: str) -> bool:
        """Whether it is there and not false."""
        return self.rule(name) not in (None, False)


def explained(bundle: Bundle, question: bytes) -> tuple[Step, ...]:
    """The steps of the decision about a question (``RegoPdp.question``), in the order of the Rego.

    They end with the first that refuses, as the decision does.
    """
    steps = []
    for step in _steps(_Trace(bundle, question)):
        steps.append(step)
        if not step.held and not step.depth:
            break
    return tuple(steps)


def _steps(trace: _Trace) -> Iterator[Step]:
    agent = trace.question["principal"]["id"]
    known = trace.rule("agent")
    yield Step(said="the caller is an agent", held=trace.holds("is_agent"))
    if not isinstance(known, dict):
        yield Step(said=f"the policy names the agent {agent}", held=False)
        return
    role = known["role"]
    yield Step(said=f"the agent {agent} has the role {role}", held=True, rule=known["rule"])
    if "expires" in known:
        current, rule = trace.holds("agent_current"), known["expires"]["rule"]
        yield Step(said="the agent has not expired", held=current, rule=rule)
    own = trace.holds("session_is_own")
    if trace.question["session"] is not None or not own:
        yield Step(said="the session is this agent's", held=own)
    if trace.value("data.policy.custom") is not None:
        denial = trace.rule("handwritten_denial") or {}
        clear = trace.holds("handwritten_clear")
        rule = "" if clear else str(denial.get("rule", ""))
        yield Step(said="no hand-written rule denies it", held=clear, rule=rule)
    action = trace.question["action"]
    if action == "tool":
        yield from _tool(trace, role)
    elif action == "model":
        yield from _model(trace, role)
    elif action == "egress":
        yield from _egress(trace, role)
    else:
        rule = trace.rule(_PLAIN.get(action, "grant"))
        if not rule and trace.holds("observed_other"):
            rule = trace.rule("observed_rule")
        yield Step(
            said=f"the role grants it{_inherited(rule, role)}",
            held=bool(rule),
            rule=rule or "",
        )


def _tool(trace: _Trace, role: str) -> Iterator[Step]:
    target = trace.rule("target")
    denied = trace.rule("tool_denial(data.portcullis.target)")
    said = f"the role denies {target} nowhere"
    yield Step(said=said, held=denied is None, rule=denied or "")
    found = list(_tool_grants(trace, role, target))
    granted = trace.rule("tool_grant(data.portcullis.target)")
    yield from found
    yield Step(
        said=f"the role grants {target}{_inherited(granted, role)}",
        held=bool(granted),
        rule=granted or "",
    )
    session = trace.question["session"]
    if session is not None:
        within = trace.holds("in_session_grant(data.portcullis.target)")
        yield Step(said="the session's task declared the tool", held=within)
        yield Step(said="arguments are as the task declared", held=trace.holds("in_task_bounds"))
    for one in trace.rule("data_refused") or ():
        yield Step(said=str(one["reason"]), held=False, rule=str(one["rule"]))
    yield from _bounds(trace)


def _tool_grants(trace: _Trace, role: str, target: str) -> Iterator[Step]:
    """Each grant on terms that is of this tool, and each of its terms."""
    place = f"{_ROLE}.conditional.tools[{json.dumps(target)}]"
    for index, entry in enumerate(trace.value(place) or ()):
        where = f"{place}[{index}].terms"
        held = trace.rule(f"terms.hold({where})") is not None
        said = f"a grant on terms{_inherited(entry['rule'], role)}"
        yield Step(said=said, held=held, rule=entry["rule"], depth=1)
        yield from _terms(trace, entry["terms"], where)


def _terms(trace: _Trace, terms: dict[str, Any], where: str) -> Iterator[Step]:
    for name, function, said in _TERMS:
        if terms.get(name) is not None:
            held = trace.holds(f"terms.{function.format(where)}")
            yield Step(said=said, held=held, rule=str(terms["rules"].get(name, "")), depth=2)


def _bounds(trace: _Trace) -> Iterator[Step]:
    listed = trace.rule("listed.bounds") or {}
    held = set(trace.rule("held") or ())
    broken = [one for one in sorted(listed) if one not in held]
    for name in sorted(listed):
        said = name.replace(".", ": ", 1)
        rule = str(listed[name]["rule"])
        yield Step(said=said, held=name in held, rule=rule, depth=1)
    if listed:
        rule = str(listed[broken[0]]["rule"]) if broken else ""
        yield Step(said="the arguments are within their bounds", held=not broken, rule=rule)


def _model(trace: _Trace, role: str) -> Iterator[Step]:
    name = json.dumps(trace.question["name"])
    place = f"{_ROLE}.models"
    for index, entry in enumerate(trace.value(place) or ()):
        if trace.value(f"regex.match({place}[{index}].regex, {name})") is not True:
            continue
        held = trace.rule(f"applies({place}[{index}])") is not None
        said = f"a pattern that the model fits{_inherited(entry['rule'], role)}"
        yield Step(said=said, held=held, rule=entry["rule"], depth=1)
        if "terms" in entry:
            yield from _terms(trace, entry["terms"], f"{place}[{index}].terms")
    granted = trace.rule("model_grants") or [""]
    yield Step(said="the role lists the model", held=bool(granted[0]), rule=granted[0])
    for feature in trace.question["features"]:
        held = trace.holds(f"feature_granted({json.dumps(feature)})")
        yield Step(said=f"provider_features name {feature}", held=held)


def _egress(trace: _Trace, role: str) -> Iterator[Step]:
    hosts = trace.rule("egress_narrowest") or []
    yield from _rules("a rule for this host", hosts, role)
    yield Step(said="the role may reach this host", held=bool(hosts))
    held = trace.rule("egress_held") or []
    missed = (trace.rule("unmet_of(data.portcullis.egress_narrowest)") or [""])[0]
    yield Step(said="on terms that hold", held=bool(held), rule="" if held else missed)
    way = trace.question["arguments"].get("way")
    if way == "dns":
        return
    ports = trace.rule("egress_ports") or []
    first = held[0]["rule"] if held else ""
    yield Step(said="at this port", held=bool(ports), rule=_first(ports) or first)
    within = trace.rule("egress_tunnels" if way == "connect" else "egress_requests") or []
    said = "as a tunnel" if way == "connect" else "with this scheme, method and path"
    yield Step(said=said, held=bool(within), rule=_first(within) or _first(ports))


def _rules(said: str, rules: Iterable[dict[str, Any]], role: str) -> Iterator[Step]:
    for one in rules:
        rule = str(one["rule"])
        yield Step(said=said + _inherited(rule, role), held=True, rule=rule, depth=1)


def _first(rules: list[dict[str, Any]]) -> str:
    return str(rules[0]["rule"]) if rules else ""


def _inherited(rule: object, role: str) -> str:
    """Whose rule it is, where it is not the role's own: its path says so."""
    if not isinstance(rule, str) or not rule.startswith("roles."):
        return ""
    whose = rule.removeprefix("roles.").partition(".")[0]
    return "" if whose == role else f" (inherited from {whose})"
