"""The named conditions under which evidence has a gap: pure functions, one by one.

A condition says None (it does not hold), a ``Gap``, or ``Unknown`` with what it would have to
know. What happened is a gap for 30 days, or throughout the period that a package is about; what
is so is a gap as long as it is so.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import timedelta
from typing import Final, TypeAlias

from portcullis.review.facts import UNANSWERED, Breach, Facts, Holder, Mark, Position
from portcullis.review.subject import RECENT, Gap, Review, Unknown

SILENT: Final = timedelta(days=7)
"""How long a log may say nothing before what it says is stale."""
AHEAD: Final = timedelta(minutes=5)
"""How far an event may be dated ahead of when it is evaluated."""
KEPT: Final = timedelta(days=183)
"""How far a log that does not begin with its first entry must reach back: six months."""
_SHOWN: Final = 5


Condition: TypeAlias = Callable[[Review], Gap | Unknown | None]


def agent_without_owner(review: Review) -> Gap | Unknown | None:
    """A program that can act and for which nobody answers."""
    found = _programs(review.facts, lambda holder: not holder.owner)
    return _holders(review.facts, found, "nobody is named as the owner of")


def agent_without_purpose(review: Review) -> Gap | Unknown | None:
    """A program that can act and of which nobody said what for."""
    found = _programs(review.facts, lambda holder: not holder.purpose)
    return _holders(review.facts, found, "no purpose is recorded for")


def agent_not_reviewed(review: Review) -> Gap | Unknown | None:
    """A program that can act although its review date has passed, or that has none."""
    now = review.at.timestamp()
    found = _programs(review.facts, lambda holder: holder.review_at <= now)
    return _holders(review.facts, found, "no review lies ahead of")


def agent_unregistered(review: Review) -> Gap | Unknown | None:
    """Somebody whose calls were allowed, and of whose registration the log knows nothing."""
    found = {
        name: holder
        for name, holder in review.facts.principals.items()
        if holder.created is None and holder.acted and name.startswith("agent:")
    }
    return _holders(review.facts, found, "the log holds no registration of")


def acted_while_cut_off(review: Review) -> Gap | Unknown | None:
    """A call of somebody who was suspended, expired or revoked was allowed."""
    return _breach(review, Breach.CUT_OFF, "calls of somebody who was cut off were allowed")


def result_without_decision(review: Review) -> Gap | Unknown | None:
    """Something was done of whose decision the log knows nothing."""
    found = _breach(review, Breach.NO_DECISION, "results of calls that the log never allowed")
    forgotten = review.facts.forgotten
    if found is None and forgotten and forgotten.last.time >= review.at - UNANSWERED:
        return Unknown("more decisions await their result than are remembered")
    return found


def action_without_result(review: Review) -> Gap | Unknown | None:
    """Something was allowed, and after a day the log does not say what came of it."""
    late = [
        mark
        for mark in review.facts.waiting.values()
        if review.begin <= mark.time < review.at - UNANSWERED
    ]
    reason = f"{len(late)} allowed calls have no recorded result after a day"
    since = [min(mark.time for mark in late)] if late else []
    forgotten = review.facts.forgotten
    if forgotten and review.begin <= forgotten.last.time < review.at - UNANSWERED:
        reason += f", and {forgotten.count} that were too many to remember one by one"
        since.append(forgotten.last.time)
    if not since:
        return None
    return Gap(reason=reason, since=min(since) + UNANSWERED, marks=_some(late))


def erasure_unfinished(review: Review) -> Gap | Unknown | None:
    """An erasure began, and after a day the log does not say that it is complete."""
    late = [mark for mark in review.facts.erasing.values() if mark.time < review.at - UNANSWERED]
    if not late:
        return None
    since = min(mark.time for mark in late) + UNANSWERED
    reason = f"{len(late)} erasures began and are not complete after a day"
    return Gap(reason=reason, since=since, marks=_some(late))


def incomplete_record(review: Review) -> Gap | Unknown | None:
    """A decision does not say who, by which way, under which policy, or what was decided."""
    return _breach(review, Breach.INCOMPLETE, "decisions lack caller, route, policy or verdict")


def clock_went_back(review: Review) -> Gap | Unknown | None:
    """Events are dated more than a second before ones recorded earlier, or in the future."""
    if ahead := _ahead(review):
        return Gap(reason=f"events are dated in the future in the log of {_names(ahead)}")
    return _breach(review, Breach.CLOCK, "events are dated before earlier ones")


def log_silent(review: Review) -> Gap | Unknown | None:
    """The newest evidence is older than a week. A log that is ahead of time says nothing of it."""
    ahead = _ahead(review)
    times = [at.newest for name, at in review.facts.logs.items() if at.newest and name not in ahead]
    newest = max(times, default=None)
    if newest is None:
        return Gap(reason="the logs hold no event of this period")
    if review.at - newest <= SILENT:
        return None
    return Gap(reason="the newest event is older than seven days", since=newest + SILENT)


def log_unverified(review: Review) -> Gap | Unknown | None:
    """A log does not verify, is not there, or holds what its writer has no say in."""
    if review.absent:
        started = review.facts.started
        since = min((started[one].time for one in review.absent if one in started), default=None)
        return Gap(reason=f"there is no log of {_names(review.absent)}", since=since)
    reason = "gateways wrote events that only who rules may write"
    if foreign := _breach(review, Breach.FOREIGN, reason):
        return foreign
    if review.verified is None:
        return Unknown("the whole log is verified when a package is made")
    if review.verified.ok:
        return None
    reasons = "; ".join(review.verified.reasons[:_SHOWN]) or "no reason given"
    return Gap(reason=f"the log does not verify: {reasons}", since=review.verified.at)


def log_unwitnessed(review: Review) -> Gap | Unknown | None:
    """Nobody but a log's own key vouches for its checkpoint."""
    if review.unwitnessed is None:
        return Gap(reason="no witness is configured: the log's own key alone vouches for it")
    if not review.unwitnessed:
        return None
    names = _names(review.unwitnessed)
    return Gap(reason=f"the witnesses' quorum has not vouched within the last hour for {names}")


def log_not_timestamped(review: Review) -> Gap | Unknown | None:
    """No authority but the machine's own clock says when something was in the log."""
    if review.deployment.timestamp_authorities:
        return None
    return Gap(reason="no time-stamping authority is configured")


def log_not_replicated(review: Review) -> Gap | Unknown | None:
    """The log is shipped nowhere."""
    return None if review.deployment.replicas else Gap(reason="no replica is configured")


def pruned_early(review: Review) -> Gap | Unknown | None:
    """Entries of a log that are younger than six months are gone."""
    if review.since is not None:
        return Unknown("a period says nothing about how far the log reaches back")
    found = {
        name: mark for name, at in review.facts.logs.items() if (mark := _shortened(review, at))
    }
    if not found:
        return None
    return Gap(
        reason=f"entries younger than six months are gone of {_names(found)}",
        since=min(mark.time for mark in found.values()),
        marks=_some(found.values()),
    )


def tool_not_pinned(review: Review) -> Gap | Unknown | None:
    """A tool was called that the catalogue does not hold."""
    facts = review.facts
    pinned = facts.pinned.keys() | facts.approved.keys() | review.deployment.pinned.keys()
    return _tools(review, lambda tool: tool not in pinned, "no catalogue holds", "pinned")


def tool_not_approved(review: Review) -> Gap | Unknown | None:
    """A tool was called that is trusted because it was seen, not because somebody approved it."""
    approved = review.facts.approved
    return _tools(review, lambda tool: tool not in approved, "nobody approved", "approved")


def tool_changed(review: Review) -> Gap | Unknown | None:
    """A server describes a tool otherwise than it was approved, and nobody has settled it."""
    changed = review.deployment.changed
    if not changed:
        return None
    reason = f"servers describe otherwise than approved: {_names(changed)}"
    return Gap(reason=reason, since=min(changed.values()))


def grant_unused(review: Review) -> Gap | Unknown | None:
    """Policy grants a tool by its name that nobody has called for 30 days."""
    if fault := _policy_fault(review):
        return fault
    facts, begin = review.facts, review.at - RECENT
    if facts.first is None or facts.first.time > begin:
        return None  # too young to tell
    if "tools" in facts.full:
        return Unknown("more tools were called than are remembered by name")
    used = {tool for tool, seen in facts.tools.items() if seen.last.time >= begin}
    idle = [tool for tool in review.deployment.granted if tool not in used]
    return Gap(reason=f"granted and unused for 30 days: {_names(idle)}") if idle else None


def personal_data_passes(review: Review) -> Gap | Unknown | None:
    """Policy lets personal data pass to models as it is."""
    found = ("personal:", "financial:", "identity:", "health:")
    return _passing(review, found, "policy does nothing with")


def secrets_pass(review: Review) -> Gap | Unknown | None:
    """Policy lets secrets pass."""
    return _passing(review, ("secret:",), "policy does nothing with")


def injections_pass(review: Review) -> Gap | Unknown | None:
    """Policy lets content that instructs a model pass as it is, or looks for no canaries."""
    return _passing(review, ("injection:", "canaries"), "policy does nothing with")


def rules_switched_off(review: Review) -> Gap | Unknown | None:
    """Rules of inspection that ship are switched off."""
    rules = review.deployment.rules_switched_off
    return Gap(reason=f"rules are switched off: {_names(rules)}") if rules else None


def tool_without_box(review: Review) -> Gap | Unknown | None:
    """The gate starts a server that can do on its machine whatever the gate's user can."""
    found = review.deployment.unboxed
    return Gap(reason=f"no box holds {_names(found)}") if found else None


def unbound_tokens(review: Review) -> Gap | Unknown | None:
    """Tokens count that are bound to no key: whoever has one is its holder."""
    if review.deployment.tokens_bound:
        return None
    return Gap(reason="tokens.bearer accepts tokens that are bound to no key")


def plain_upstream(review: Review) -> Gap | Unknown | None:
    """An upstream is reached without TLS beyond this machine."""
    plain = review.deployment.plain
    return Gap(reason=f"reached without TLS: {_names(plain)}") if plain else None


def key_beside_data(review: Review) -> Gap | Unknown | None:
    """The key that seals keys and data lies in the folder of what it seals."""
    if not review.deployment.key_beside_data:
        return None
    return Gap(reason="the sealing key lies in the state directory, beside what it seals")


def certificate_stale(review: Review) -> Gap | Unknown | None:
    """A gate worked on after the life of its last recorded certificate."""
    life = timedelta(seconds=review.deployment.certificate_seconds)
    worked = {name: at for name, at in review.facts.logs.items() if at.newest is not None}
    late = {
        name: mark
        for name, at in worked.items()
        if (mark := at.certificate) and at.newest and at.newest > mark.time + life
    }
    if late:
        marks = _some(late.values())
        reason = f"the gate's own certificate was not renewed within its life: {_names(late)}"
        return Gap(reason=reason, since=min(mark.time for mark in marks) + life, marks=marks)
    without = [name for name, at in worked.items() if at.certificate is None]
    if without:
        return Unknown(f"no certificate of the gate in this period in the log {_names(without)}")
    return None


CONDITIONS: Final[dict[str, Condition]] = {
    condition.__name__.replace("_", "-"): condition
    for condition in (
        agent_without_owner,
        agent_without_purpose,
        agent_not_reviewed,
        agent_unregistered,
        acted_while_cut_off,
        result_without_decision,
        action_without_result,
        erasure_unfinished,
        incomplete_record,
        clock_went_back,
        log_silent,
        log_unverified,
        log_unwitnessed,
        log_not_timestamped,
        log_not_replicated,
        pruned_early,
        tool_not_pinned,
        tool_not_approved,
        tool_changed,
        grant_unused,
        personal_data_passes,
        secrets_pass,
        injections_pass,
        rules_switched_off,
        tool_without_box,
        unbound_tokens,
        plain_upstream,
        key_beside_data,
        certificate_stale,
    )
}
"""By the names that rows use."""

OF_SETTINGS: Final = frozenset(
    {
        *("log-not-timestamped", "log-not-replicated", "tool-changed", "personal-data-passes"),
        *("secrets-pass", "injections-pass", "rules-switched-off", "unbound-tokens"),
        *("plain-upstream", "key-beside-data", "tool-without-box"),
    }
)
"""Those that the logs say nothing about. The others need all of them to find nothing amiss."""


def _programs(facts: Facts, wanted: Callable[[Holder], bool]) -> dict[str, Holder]:
    """The registered agents and applications that can act and are as ``wanted``."""
    return {
        name: holder
        for name, holder in facts.principals.items()
        if holder.created
        and holder.state == "active"
        and name.startswith(("agent:", "application:"))
        and wanted(holder)
    }


def _ahead(review: Review) -> frozenset[str]:
    """The logs with events that are dated in the future."""
    end = review.at + AHEAD
    logs = review.facts.logs.items()
    return frozenset(name for name, at in logs if at.newest is not None and at.newest > end)


def _shortened(review: Review, at: Position) -> Mark | None:
    """The event by which entries of a log that are younger than six months are known to be gone."""
    first, to = at.first, at.pruned_to
    if to is not None and review.at.timestamp() - to[0] < KEPT.total_seconds():
        return to[1]
    if first is None or first.index == 0 or review.at - first.time >= KEPT:
        return None
    return first


def _holders(facts: Facts, found: dict[str, Holder], reason: str) -> Gap | Unknown | None:
    if not found:
        full = "principals" in facts.full
        return Unknown("more principals act than are remembered by name") if full else None
    marks = [mark for holder in found.values() if (mark := holder.created or holder.acted)]
    since = min((mark.time for mark in marks), default=None)
    return Gap(reason=f"{reason} {_names(found)}", since=since, marks=_some(marks))


def _breach(review: Review, name: str, reason: str) -> Gap | None:
    seen = review.facts.breaches.get(name)
    if seen is None or seen.last.time < review.begin:
        return None
    marks = (seen.first,) if seen.count == 1 else (seen.first, seen.last)
    return Gap(reason=f"{reason} ({seen.count})", since=seen.first.time, marks=marks)


def _tools(
    review: Review, wanted: Callable[[str], bool], reason: str, table: str
) -> Gap | Unknown | None:
    facts = review.facts
    found = {
        tool: seen
        for tool, seen in facts.tools.items()
        if seen.last.time >= review.begin and wanted(tool)
    }
    if facts.full & {"tools", table}:
        return Unknown("more tools were called than are remembered by name")
    if not found:
        return None
    marks = [seen.first for seen in found.values()]
    since = min(mark.time for mark in marks)
    return Gap(reason=f"{reason} {_names(found)}", since=since, marks=_some(marks))


def _passing(review: Review, names: tuple[str, ...], reason: str) -> Gap | Unknown | None:
    found = [name for name in review.deployment.passing if name.startswith(names)]
    if found:
        return Gap(reason=f"{reason} {_names(found)}")
    return _policy_fault(review)


def _policy_fault(review: Review) -> Unknown | None:
    fault = review.deployment.policy_fault
    return Unknown(f"the policy folder cannot be read: {fault}") if fault else None


def _names(found: Iterable[str]) -> str:
    names = sorted(found)
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more


def _some(marks: Iterable[Mark]) -> tuple[Mark, ...]:
    return tuple(sorted(marks, key=lambda mark: (mark.time, mark.log, mark.index))[:_SHOWN])
