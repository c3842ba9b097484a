"""Which credentials a subject could have learned or used, from configuration, policy and logs.

A secret counts when the policy let the agent reach what it opens, at any time of the period, or
when a call of its used it. Of a policy that was in force then and is not the one that lies here,
nobody knows what it granted: then everything counts that is configured.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any, Final

from portcullis.config import SECRET, Config
from portcullis.core.event import Event, EventType
from portcullis.core.incident import Access, Subject
from portcullis.core.incident_log_ports import Happened
from portcullis.core.principal import PrincipalKind
from portcullis.core.secret_ports import Leases
from portcullis.review.incident_about import POLICY, about
from portcullis.review.incident_logs import Late, Logs, Open, unprojected
from portcullis.review.incident_meaning import Meaning, Meant

IDENTITY: Final = "identity"
_DECISIONS: Final = frozenset({EventType.DECISION, EventType.TOOL_CALL, EventType.LLM_CALL})
_LATE: Final = 50_000
"""Entries of a log that are read because they have no row yet."""
_POLICIES: Final = 2000
_WILD: Final = "*?["
_WILD_RUN: Final = re.compile(r"[*?\[]")
_REFERENCE: Final = re.compile(SECRET)


@dataclass(frozen=True, slots=True)
class Secret:
    """A secret that the configuration names, and the upstream that it is for."""

    reference: str
    upstream: str
    models: tuple[str, ...] | None = None
    """The globs of the models that the upstream serves; None for one that has tools."""


def configured(config: Config) -> tuple[Secret, ...]:
    """The upstreams' secrets, by reference and upstream."""
    return tuple(sorted(_secrets(config), key=lambda one: (one.reference, one.upstream)))


def _secrets(config: Config) -> Iterator[Secret]:
    for name, model in config.models.items():
        for reference in _references(model.model_dump()):
            yield Secret(reference, name, model.serves)
    for section in (config.mcp, config.tools):
        for name, server in section.items():
            for reference in _references(server.model_dump()):
                yield Secret(reference, name)
    for name, one in config.egress.credentials.items():
        yield Secret(one.credential, f"egress.{name}")


def _references(given: Any) -> Iterator[str]:
    """The secrets that stand anywhere in what is configured for an upstream."""
    if isinstance(given, str):
        if _REFERENCE.match(given):
            yield given
    elif isinstance(given, dict):
        for one in given.values():
            yield from _references(one)
    elif isinstance(given, list | tuple):
        for one in given:
            yield from _references(one)


class LogAccess:
    """Says what a subject had access to. Blocks."""

    def __init__(
        self, config: Config, happened: Happened, logs: Open, meant: Meant, leases: Leases
    ) -> None:
        self._secrets = configured(config)
        self._happened = happened
        self._logs = logs
        self._meant = meant
        self._leases = leases

    def known(self, subject: Subject, since: float) -> tuple[Access, ...]:
        """Each credential once, by its reference; its own first.

        Raises Problem PC6002 when a log is damaged.
        """
        meaning, logs = self._meant(), self._logs()
        late = tuple(unprojected(self._happened, logs, _LATE))
        used = _last(self._happened, late, subject, since)
        unknown = self._unknown(meaning, since, logs, late)
        given = self._given(subject, since)
        found: dict[str, Access] = {}
        for secret in self._secrets:
            why = _why(secret, subject, meaning, unknown, used, given)
            if not why:
                continue
            known = found.get(secret.reference)
            last = max(used.get(secret.upstream, 0.0), given.get(_place(secret), 0.0))
            found[secret.reference] = Access(
                reference=secret.reference,
                source=secret.reference.partition(":")[0],
                upstream=_joined(known.upstream, secret.upstream) if known else secret.upstream,
                why=_joined(known.why, f"{secret.upstream}: {why}") if known else why,
                used=max(last, known.used) if known else last,
            )
        return (*_own(subject, used), *found.values())

    def _given(self, subject: Subject, since: float) -> dict[tuple[str, str], float]:
        """When each secret was last sent for the subject, by reference and upstream."""
        given: dict[tuple[str, str], float] = {}
        for use in self._leases.uses(agent=subject.agent, since=since):
            if not subject.session or use.session == subject.session:
                place = (use.reference, use.upstream.removeprefix("mcp:"))
                given[place] = max(use.last, given.get(place, 0.0))
        return given

    def _unknown(self, meaning: Meaning, since: float, logs: Logs, late: Collection[Late]) -> str:
        """Why it is not known what it could reach in the period; empty when it is."""
        if not meaning.known:
            return "the policy cannot be read"
        if any(one.cut for one in late):
            return "the logs are not projected yet"
        spots = self._happened.policies(since, _POLICIES)
        if len(spots) >= _POLICIES:
            return "too many policies came into force"
        read = (logs.event(spot.log, spot.number) for spot in spots)
        new = (one.event for one in late if POLICY in about(one.event))
        digests = {str(one.parameters.get("policy", "")) if one else "" for one in (*read, *new)}
        if not digests:
            return "no log says which policy was in force"
        if digests - {meaning.digest}:
            return "another policy was in force, and what it granted is not known here"
        return ""


def outdated(happened: Happened, logs: Logs, name: str, rotated_at: float) -> str:
    """What is wrong with taking an agent's own credentials for worthless; empty when they are.

    ``rotated_at`` is since when older ones are refused, 0 when none ever were.
    """
    if not rotated_at:
        return "its credentials were never revoked"
    late = tuple(unprojected(happened, logs, _LATE))
    if any(one.cut for one in late):
        return "the logs are not projected yet: try again in a moment"
    if _last(happened, late, Subject(agent=name), rotated_at):
        return "it was allowed a call after its credentials were last revoked"
    return ""


def _last(
    happened: Happened, late: Iterable[Late], subject: Subject, since: float
) -> dict[str, float]:
    """When the subject's calls last went to each upstream, since a time."""
    last: dict[str, float] = {}
    for (server, _), at in happened.servers(subject, since).items():
        last[server] = max(at, last.get(server, 0.0))
    for one in late:
        event = one.event
        at = event.time.timestamp()
        if at >= since and _called(subject, event):
            last[event.server] = max(at, last.get(event.server, 0.0))
    return last


def _called(subject: Subject, event: Event) -> bool:
    return (
        event.type in _DECISIONS
        and event.verdict == "allow"
        and event.principal == subject.agent
        and event.principal_kind == PrincipalKind.AGENT
        and (not subject.session or event.session == subject.session)
    )


def _own(subject: Subject, used: Mapping[str, float]) -> Iterator[Access]:
    """The agent's own tokens and certificates; a session has none but those that end with it."""
    if not subject.session:
        yield Access(
            reference=f"{IDENTITY}:{subject.agent}",
            source=IDENTITY,
            upstream="portcullis",
            why="its own tokens and certificates",
            used=max(used.values(), default=0.0),
        )


def _place(secret: Secret) -> tuple[str, str]:
    return secret.reference, secret.upstream


def _why(
    secret: Secret,
    subject: Subject,
    meaning: Meaning,
    unknown: str,
    used: Mapping[str, float],
    given: Mapping[tuple[str, str], float],
) -> str:
    reasons = []
    if given.get(_place(secret)):
        reasons.append("it was sent for its calls")
    if used.get(secret.upstream):
        reasons.append("it called this")
    if _granted(secret, subject.agent, meaning):
        reasons.append(f"its role {meaning.roles.get(subject.agent, '?')} is granted this")
    elif unknown:
        reasons.append(f"it may have been granted this: {unknown}")
    return " and ".join(reasons)


def _granted(secret: Secret, agent: str, meaning: Meaning) -> bool:
    if secret.models is None:
        return secret.upstream in meaning.servers.get(agent, frozenset())
    return any(
        _meet(granted, served)
        for granted in meaning.models.get(agent, ())
        for served in secret.models
    )


def _meet(granted: str, served: str) -> bool:
    """Whether a model's name may fit both globs; in doubt it does."""
    if not any(one in granted for one in _WILD):
        return fnmatchcase(granted, served)
    ours, theirs = _WILD_RUN.split(granted)[0], _WILD_RUN.split(served)[0]
    shorter, longer = sorted((ours, theirs), key=len)
    return longer.startswith(shorter)


def _joined(before: str, more: str) -> str:
    return before if more in before.split(", ") else f"{before}, {more}"
