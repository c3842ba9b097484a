"""What policy wants done for a caller, and for everyone on whose behalf it acts."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

from portcullis.checks.authorize import on_behalf
from portcullis.core.call import Context
from portcullis.core.inspection import (
    STRICTNESS,
    Category,
    Channel,
    Envelope,
    Profile,
    Source,
    Treatment,
)
from portcullis.core.ports import PolicyDecisionPoint

_CATEGORIES: Final = frozenset(map(str, Category))


def whose(context: Context) -> str:
    """Whose placeholders, canaries and envelopes they are: the session's, or else the agent's."""
    principal, session = context.principal, context.session
    return session.id if session else f"{principal.kind}:{principal.id}"


def strictest(treatments: Iterable[Treatment]) -> Treatment:
    """The strictest of them; ALLOW when there is none."""
    return max(treatments, key=STRICTNESS.__getitem__, default=Treatment.ALLOW)


@dataclass(frozen=True, slots=True)
class Rules:
    """The profiles of a chain of delegation as one: for every question the strictest answer."""

    profiles: tuple[Profile, ...]
    entities: Mapping[str, Collection[Category]]
    _wanted: dict[Channel, frozenset[str]] = field(default_factory=dict, compare=False)
    _treated: dict[tuple[Channel, frozenset[Treatment]], bool] = field(
        default_factory=dict, compare=False
    )
    _injection: dict[Source, Treatment] = field(default_factory=dict, compare=False)
    _sets: dict[frozenset[str], frozenset[str]] = field(default_factory=dict, compare=False)

    def treatment(self, channel: Channel, entity: str, category: Category) -> Treatment:
        """What is done with an entity on a channel."""
        return strictest(p.treatment(channel, entity, category) for p in self.profiles)

    def injection(self, source: Source) -> Treatment:
        """What is done with a text of that source that looks like instructions."""
        found = self._injection.get(source)
        if found is None:
            found = strictest(p.injection.get(source, Treatment.BLOCK) for p in self.profiles)
            self._injection[source] = found
        return found

    def opaque(self, channel: Channel) -> Treatment:
        """What is done with content that cannot be read."""
        return strictest(p.opaque.get(channel, Treatment.BLOCK) for p in self.profiles)

    @property
    def envelope(self) -> Envelope:
        """How content is marked; OFF only where all say so."""
        marked = [p.envelope for p in self.profiles if p.envelope is not Envelope.OFF]
        return marked[0] if marked else Envelope.OFF

    @property
    def canaries(self) -> bool:
        """Whether canaries are planted and looked for."""
        return any(p.canaries for p in self.profiles)

    @property
    def links(self) -> tuple[str, ...]:
        """The hosts to which links may lead, by all profiles."""
        first, *others = (p.links for p in self.profiles)
        for other in others:
            first = tuple(dict.fromkeys((*_within(first, other), *_within(other, first))))
        return first

    def wanted(self, channel: Channel) -> frozenset[str]:
        """Which entities have to be looked for on a channel: those known, and those named."""
        found = self._wanted.get(channel)
        if found is None:
            found = frozenset(
                entity
                for entity, categories in self._all(channel).items()
                if strictest(self.treatment(channel, entity, c) for c in categories)
                is not Treatment.ALLOW
            )
            found = self._wanted[channel] = self._sets.setdefault(found, found)
        return found

    def _all(self, channel: Channel) -> dict[str, Collection[Category]]:
        """A recogniser may find what no rule does, when policy names it."""
        named = {
            name: tuple(Category)
            for profile in self.profiles
            for name in profile.treatments[channel]
            if name not in _CATEGORIES
        }
        return {**named, **self.entities}

    def rewrites(self, channel: Channel) -> bool:
        """Whether all that is looked for on a channel may go on in another form."""
        return not self._any(channel, frozenset({Treatment.HOLD, Treatment.BLOCK}))

    def tokenises(self, channel: Channel) -> bool:
        """Whether any known entity becomes a placeholder on a channel."""
        return self._any(channel, frozenset({Treatment.TOKENISE}))

    def _any(self, channel: Channel, treatments: frozenset[Treatment]) -> bool:
        """Whether any known entity is treated so."""
        found = self._treated.get((channel, treatments))
        if found is None:
            found = self._treated[channel, treatments] = any(
                self.treatment(channel, entity, category) in treatments
                for entity, categories in self._all(channel).items()
                for category in categories
            )
        return found


class RuleBook:
    """The rules for each caller. The profiles that a PDP remembers are put together once.

    ``entities`` are those that can be found, each with its categories. Equal sets of them are one
    object for all callers: whoever keeps something by them need not compare hundreds of names.
    """

    def __init__(
        self,
        pdp: PolicyDecisionPoint,
        entities: Mapping[str, Collection[Category]],
        remember: int = 1024,
    ) -> None:
        self._pdp = pdp
        self._entities = entities
        self._remember = remember
        self._known: dict[tuple[int, ...], Rules] = {}
        self._sets: dict[frozenset[str], frozenset[str]] = {}

    def rules(self, context: Context) -> Rules:
        """What holds for this caller by the policy in force."""
        profiles = tuple([self._pdp.profile(asker) for asker in on_behalf(context)])
        key = tuple(map(id, profiles))  # the entry keeps them alive, so an id is theirs
        found = self._known.get(key)
        if found is None:
            if len(self._known) >= self._remember:
                self._known.clear()
                self._sets.clear()
            found = self._known[key] = Rules(profiles, self._entities, _sets=self._sets)
        return found


def _within(hosts: tuple[str, ...], other: tuple[str, ...]) -> tuple[str, ...]:
    """Those hosts that are one of the others or below one."""
    return tuple(h for h in hosts if any(h == o or h.endswith(f".{o}") for o in other))
