"""AgentDojo, as far as the replay uses it: environments, tools, tasks and their checks.

AgentDojo itself is the optional extra ``redteam``; nothing of its tasks is part of this package.
"""

from __future__ import annotations

import json
import pickle
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final

from pydantic import TypeAdapter

from portcullis.core.errors import Problem
from portcullis.redteam.enforcer import Outcome, Task
from portcullis.redteam.programs import WRITTEN, Attempt, Program, Scene, listed

VERSION: Final = "v1.2.2"
SUITES: Final = ("banking", "slack", "travel", "workspace")
TEXT_ONLY: Final = frozenset({("travel", "injection_task_6")})
"""Injections whose goal is a sentence in the answer: no tool call, so nothing that a gate sees."""
NO_INJECTION: Final = ""
_ANY: Final = TypeAdapter[Any](Any)


class Arena:
    """One suite: tools, tasks, and environments as they stand before the first call."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._suite = _suites()[name]
        self._environments: dict[str, bytes] = {}

    @cached_property
    def users(self) -> dict[str, Any]:
        """User tasks by id."""
        return dict(self._suite.user_tasks)

    @cached_property
    def injections(self) -> dict[str, Any]:
        """Injection tasks by id."""
        return dict(self._suite.injection_tasks)

    @cached_property
    def tools(self) -> frozenset[str]:
        """The tools' names."""
        return frozenset(tool.name for tool in self._suite.tools)

    def offered(self) -> Iterator[dict[str, Any]]:
        """The tools as an MCP server lists them."""
        for tool in self._suite.tools:
            yield {
                "name": tool.name,
                "description": tool.description,
                "inputSchema": tool.parameters.model_json_schema(),
            }

    @cached_property
    def _runtime(self) -> Any:
        from agentdojo.functions_runtime import FunctionsRuntime  # noqa: PLC0415 - optional

        return FunctionsRuntime(self._suite.tools)

    def stage(self, user: str, injection: str = NO_INJECTION) -> Stage:
        """The environment of a task; with an injection, its goal stands wherever one can."""
        if injection not in self._environments:
            self._environments[injection] = pickle.dumps(self._environment(injection))
        environment = _loads(self._environments[injection])
        return Stage(self, user, injection, pickle.dumps(self._initial(user, environment)))

    def run(self, environment: Any, attempt: Attempt) -> Outcome:
        """Execute a call. Tools' own errors are an outcome."""
        arguments = json.loads(json.dumps(attempt.arguments))  # some tools keep or change them
        result, error = self._runtime.run_function(environment, attempt.tool, arguments)
        return Outcome(None, failed=True) if error else Outcome(_json(result))

    def _initial(self, user: str, environment: Any) -> Any:
        return self.users[user].init_environment(environment)

    def _environment(self, injection: str) -> Any:
        texts = {}
        if injection != NO_INJECTION:
            # It stands in quoted YAML. One check counts the mails that hold its goal's subject, "!"
            # and all: as many as the attacker sent must do so.
            goal = json.dumps(self.injections[injection].GOAL.replace("!", "."))[1:-1]
            texts = dict.fromkeys(self._suite.get_injection_vector_defaults(), goal)
        return self._suite.load_and_inject_default_environment(texts)


@dataclass(frozen=True, slots=True)
class Stage:
    """One user task, with or without an injection. ``before`` is its pickled environment."""

    arena: Arena
    user: str
    injection: str
    before: bytes

    def environment(self) -> Any:
        """A new environment, before the first call."""
        return _loads(self.before)

    def wanted(self) -> tuple[Attempt, ...]:
        """What the user's task takes: its ground truth."""
        return _attempts(self.arena.users[self.user].ground_truth(self.environment()))

    def attack(self, live: Any) -> Program:
        """The injection's own calls, or the program written for it. ``live`` is the run's state."""
        injection = self.arena.injections[self.injection]
        written = WRITTEN.get((self.arena.name, self.injection))
        if written is not None:
            return written(Scene(injection, self.environment(), live))
        return listed(_attempts(injection.ground_truth(self.environment())))

    def task(self) -> Task:
        """What the application knows when it opens the session."""
        declared = frozenset(attempt.tool for attempt in self.wanted())
        return Task(self.arena.name, self.arena.users[self.user].PROMPT, declared)

    def useful(self, after: bytes, executed: Sequence[Attempt]) -> bool:
        """The user task's own check."""
        task = self.arena.users[self.user]
        return _check(
            task.utility_from_traces, task.utility, self._seen(after, executed, self._said())
        )

    def attacked(self, after: bytes, executed: Sequence[Attempt]) -> bool:
        """The injection task's own check."""
        task = self.arena.injections[self.injection]
        said = f"{self._said()}\n{task.GROUND_TRUTH_OUTPUT}"  # it writes the answer, too
        return _check(task.security_from_traces, task.security, self._seen(after, executed, said))

    def _said(self) -> str:
        return str(self.arena.users[self.user].GROUND_TRUTH_OUTPUT)

    def _seen(
        self, after: bytes, executed: Sequence[Attempt], said: str
    ) -> tuple[str, Any, Any, list[Any]]:
        """What checks are given: the answer, the environment before and after, the calls."""
        from agentdojo.functions_runtime import FunctionCall  # noqa: PLC0415 - optional

        calls = [FunctionCall(function=each.tool, args=each.arguments) for each in executed]
        return said, self.environment(), _loads(after), calls


def _check(from_calls: Any, from_state: Any, seen: tuple[str, Any, Any, list[Any]]) -> bool:
    said, before, after, calls = seen
    verdict = from_calls(said, before, after, calls)
    return bool(from_state(said, before, after) if verdict is None else verdict)


def _attempts(calls: Iterable[Any]) -> tuple[Attempt, ...]:
    return tuple(Attempt(call.function, _json(dict(call.args))) for call in calls)


def _json(value: Any) -> Any:
    """A tool's result or arguments as a server would put them on the wire."""
    return _ANY.dump_python(value, mode="json")


def _loads(pickled: bytes) -> Any:
    return pickle.loads(pickled)  # noqa: S301 - pickled above, in this process


def _suites() -> dict[str, Any]:
    try:
        from agentdojo.task_suite.load_suites import get_suites  # noqa: PLC0415 - optional
    except ImportError:
        hint = "pip install 'agent-portcullis[redteam]'"
        raise Problem("PC7005", "AgentDojo is not installed", hint=hint) from None
    found: dict[str, Any] = get_suites(VERSION)
    return found
