"""When a control covers a threat in a deployment: what is switched off covers nothing.

Each function says why a control does not act on a subject, empty when it does.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, TypeAlias
from urllib.parse import urlsplit

from portcullis.config.boxed import NONE, STRICT
from portcullis.config.identity import FileKeys
from portcullis.config.sandbox import lowered
from portcullis.core.call import RiskClass
from portcullis.core.containment import QuestionKind
from portcullis.core.containment import Treatment as Answer
from portcullis.core.inspection import Category, Channel, Envelope, Source, Treatment
from portcullis.review.threats_scene import Scene, Seen
from portcullis.review.threats_where import Subject, names

Acting: TypeAlias = Callable[[Scene, Subject], str]

_PERSONAL: Final = (Category.FINANCIAL, Category.IDENTITY, Category.HEALTH, Category.SECRET)
_SENDING: Final = (QuestionKind.DESTINATION, QuestionKind.LINK, QuestionKind.CONFIDENTIAL)


def _always(scene: Scene, subject: Subject) -> str:
    del scene, subject
    return ""


def _injection_looked_for(scene: Scene, subject: Subject) -> str:
    said = scene.by_name[subject.agent].profile.injection
    passing = [one for one in (Source.TOOL, Source.DOCUMENT) if said[one] is Treatment.ALLOW]
    return f"texts that instruct pass from {names(passing)}" if passing else ""


def _content_marked(scene: Scene, subject: Subject) -> str:
    off = scene.by_name[subject.agent].profile.envelope is Envelope.OFF
    return "`envelope` is off" if off else ""


def _canaries_planted(scene: Scene, subject: Subject) -> str:
    return "" if scene.by_name[subject.agent].profile.canaries else "`canaries` is false"


def _contained(scene: Scene, subject: Subject) -> str:
    there = scene.by_name[subject.agent].containment is not None
    return "" if there else "there is no `containment` for its role"


def _asks(scene: Scene, subject: Subject, kinds: tuple[QuestionKind, ...], risk: RiskClass) -> str:
    said = scene.by_name[subject.agent].containment
    if said is None:
        return _contained(scene, subject)
    free = [kind for kind in kinds if said.treatment_of(kind, risk) is Answer.ALLOW]
    return f"`containment` allows {names(free)}" if free else ""


def _asks_before_sending(scene: Scene, subject: Subject) -> str:
    return _asks(scene, subject, _SENDING, RiskClass.EXTERNAL)


def _asks_before_deleting(scene: Scene, subject: Subject) -> str:
    return _asks(scene, subject, (QuestionKind.OBJECT, QuestionKind.DELETE), RiskClass.DELETE)


def _asks_about_unknown(scene: Scene, subject: Subject) -> str:
    return _asks(scene, subject, (QuestionKind.UNKNOWN,), RiskClass.DELETE)


def _people_asked(scene: Scene, subject: Subject) -> str:
    seen = scene.by_name[subject.agent]
    free = [tool for tool in subject.tools if not scene.people(seen, tool)]
    if free:
        return f"nobody is asked about {names(free)}"
    return "" if subject.tools else "what goes out is no tool, and nobody is asked about it"


def _looked_at_afterwards(scene: Scene, subject: Subject) -> str:
    review = scene.config.review
    missed = [tool for tool in subject.tools if scene.risk(tool).value not in review.risks]
    if "tool" not in review.actions:
        return "`review.actions` leaves tools out"
    return f"`review.risks` leaves out the class of {names(missed)}" if missed else ""


def _rows_bound(scene: Scene, subject: Subject) -> str:
    seen = scene.by_name[subject.agent]
    wide = [tool for tool in subject.tools if not _bound(scene, seen, tool)]
    return f"nothing binds {names(wide)} to the session or to `data_access`" if wide else ""


def _bound(scene: Scene, seen: Seen, tool: str) -> bool:
    known = scene.tools.get(tool)
    if known is None:
        return False
    return any(one.session for one in known.bounds) or bool(
        known.data and seen.role.data_access is not None
    )


def _data_treated(scene: Scene, subject: Subject) -> str:
    said = scene.by_name[subject.agent].profile.treatments[Channel.TO_MODEL]
    passing = [one for one in _PERSONAL if said.get(one, Treatment.ALLOW) is Treatment.ALLOW]
    return f"{names(passing)} data goes to models as it is" if passing else ""


def _opaque_blocked(scene: Scene, subject: Subject) -> str:
    said = scene.by_name[subject.agent].profile.opaque[Channel.TO_MODEL]
    return "what cannot be read goes to models" if said is Treatment.ALLOW else ""


def _secrets_kept_in(scene: Scene, subject: Subject) -> str:
    said = scene.by_name[subject.agent].profile.treatments[Channel.TO_TOOL]
    passing = said.get(Category.SECRET, Treatment.ALLOW) is Treatment.ALLOW
    return "secrets go to tools as they are" if passing else ""


def _limited(scene: Scene, subject: Subject) -> str:
    there = scene.limited(scene.by_name[subject.agent])
    return "" if there else "no limit counts all that it does"


def _agents_stopped(scene: Scene, subject: Subject) -> str:
    del subject
    return "" if scene.config.breakers.agent.enabled else "`breakers.agent` is off"


def _nothing_granted(scene: Scene, subject: Subject) -> str:
    features = [one.value for one in scene.by_name[subject.agent].role.provider_features]
    return f"{names(features)} runs at the provider, where no check sees it" if features else ""


def _hosts_named(scene: Scene, subject: Subject) -> str:
    hosts = [one.host.value for one in scene.by_name[subject.agent].role.egress]
    wide = sorted({host for host in hosts if host.startswith("*.")})
    return f"{names(wide)} stands for any host below it" if wide else ""


def _requests_read(scene: Scene, subject: Subject) -> str:
    rules = scene.by_name[subject.agent].role.egress
    blind = sorted({one.host.value for one in rules if not (one.terminate or one.plain)})
    return f"what goes to {names(blind)} is encrypted, and not read" if blind else ""


def _not_observed(scene: Scene, subject: Subject) -> str:
    found = scene.by_name[subject.agent].agent.observe
    observed = found is not None and found.holds(scene.now)
    return "while it is observed, what no grant allows is let through" if observed else ""


def _owned(scene: Scene, subject: Subject) -> str:
    return "" if scene.by_name[subject.agent].agent.owner else "the policy names no owner"


def _boxed(scene: Scene, subject: Subject) -> str:
    box = scene.processes[subject.place]
    if box == NONE:
        return "`sandbox: none`"
    if box == STRICT:
        return ""
    less = lowered(scene.config.sandbox.named()[box])
    return f"the profile {box} holds less than strict: {names(less)}" if less else ""


def _pins_approved(scene: Scene, subject: Subject) -> str:
    if scene.pins is None:
        return "which of its tools are approved is not known here"
    found = [pin for pin in scene.pins if pin.server == subject.place]
    free = sorted(pin.tool for pin in found if not pin.approved_by)
    if not found:
        return "none of its tools is pinned yet"
    return f"nobody has approved {names(free)}, pinned as first seen" if free else ""


def _encrypted(scene: Scene, subject: Subject) -> str:
    plain = urlsplit(scene.upstreams[subject.place].url or "").scheme == "http"
    return "it is reached over http" if plain else ""


def _per_user(scene: Scene, subject: Subject) -> str:
    oauth = scene.upstreams[subject.place].oauth
    if oauth is None:
        return "one credential stands for everybody"
    return "tokens are the gate's own, for everybody" if oauth.mode == "client" else ""


def _mediated(scene: Scene, subject: Subject) -> str:
    if subject.place in scene.config.guard:
        return "the agent's own program runs the tool, asked or not"
    return "the gate decides there, and somebody else acts"


def _tokens_bound(scene: Scene, subject: Subject) -> str:
    del subject
    bound = scene.config.tokens.bearer == "never"
    return "" if bound else "`tokens.bearer: loopback` takes tokens that are bound to no key"


def _changes_approved(scene: Scene, subject: Subject) -> str:
    del subject
    alone = scene.config.policy_changes.approvals == 0
    return "`policy_changes.approvals` is 0: what the folder holds takes force" if alone else ""


def _approver_apart(scene: Scene, subject: Subject) -> str:
    del subject
    own = scene.config.approvals.owner_may_approve
    return "an agent's owner may approve what it asks for" if own else ""


def _rules_on(scene: Scene, subject: Subject) -> str:
    del subject
    off = sorted(scene.config.inspection.without)
    return f"switched off: {names(off)}" if off else ""


def _witnessed(scene: Scene, subject: Subject) -> str:
    del subject
    return "" if scene.config.audit.witnesses else "no witness cosigns it"


def _replicated(scene: Scene, subject: Subject) -> str:
    del subject
    found = scene.config.audit.replicate
    if not found:
        return "it is shipped nowhere"
    near = all(one.store.startswith("file:") for one in found)
    return f"{names([one.name for one in found])} is a folder of this machine" if near else ""


def _key_apart(scene: Scene, subject: Subject) -> str:
    del subject
    keys, state = scene.config.keys, scene.config.state.resolve()
    if not isinstance(keys, FileKeys):
        return ""
    beside = keys.path is None or keys.path.resolve().is_relative_to(state)
    return "the key lies in the directory that it seals" if beside else ""


ACTING: Final[dict[str, Acting]] = {
    found.__name__.strip("_").replace("_", "-"): found
    for found in (
        *(_always, _injection_looked_for, _content_marked, _canaries_planted, _contained),
        *(_asks_before_sending, _asks_before_deleting, _asks_about_unknown, _people_asked),
        *(_looked_at_afterwards, _rows_bound, _data_treated, _opaque_blocked, _secrets_kept_in),
        *(_limited, _agents_stopped, _nothing_granted, _hosts_named, _requests_read),
        *(_not_observed, _owned, _boxed, _pins_approved, _encrypted, _per_user, _mediated),
        *(_tokens_bound, _changes_approved, _approver_apart, _rules_on, _witnessed),
        *(_replicated, _key_apart),
    )
}
"""By the names that the data file uses."""
