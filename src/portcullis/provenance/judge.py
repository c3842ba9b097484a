"""Whether a call is what the user asked for, judged by where its values come from.

Pure. A value has a source when it stands in the user's words, came out of a field labelled trusted
for its role, or was approved in its role; that it stands somewhere in what the agent has read is
no source.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from itertools import islice
from types import MappingProxyType
from typing import Any, Final

import msgspec

from portcullis.core.call import RiskClass
from portcullis.core.containment import (
    LEVELS,
    RISKS,
    ArgumentModel,
    ArgumentRole,
    Assessment,
    Confidentiality,
    Look,
    Question,
    QuestionKind,
    ToolModel,
)
from portcullis.provenance import intent, rules
from portcullis.provenance.arguments import (
    UNLISTED,
    counts,
    leaves,
    parts,
    resolved,
    says,
    shown_as,
)
from portcullis.provenance.canonical import NEXT, canonical, keys, mentions
from portcullis.provenance.labels import Labels
from portcullis.provenance.words import Words

MAX_PAYLOAD: Final = 1 << 17
"""Characters of a call's payloads that are looked through; what is longer is asked about."""

ANSWER: Final = "answers."
"""Before the path of an answer, where questions name it."""

NO_ANSWERS: Final[Mapping[str, Any]] = MappingProxyType({})

MAX_SOURCES: Final = 64
"""Arguments of which an approver is told where they come from."""

MAX_VALUES: Final = 1024
"""Values of one call that are judged; of more, a human is asked in any case."""

MAX_RECKONED: Final = 16
"""Amounts of one call that may follow from the user's words."""

NOWHERE: Final = "no source"
_FEW: Final = 8
"""Values of a call that says nothing."""

_SHORT: Final = 8
"""Characters of the longest destination that may stand in groups in the user's words."""

MAX_LOOKS: Final = 8
"""Calls of the gate's own for the sake of one of the agent's."""

_UNKNOWN: Final = ArgumentModel(role=ArgumentRole.DESTINATION, carries=True)
_KINDS: Final = {
    ArgumentRole.DESTINATION: QuestionKind.DESTINATION,
    ArgumentRole.AMOUNT: QuestionKind.AMOUNT,
    ArgumentRole.CREDENTIAL: QuestionKind.CREDENTIAL,
}
_DECIDING: Final = frozenset(
    {ArgumentRole.AMOUNT, ArgumentRole.CREDENTIAL, ArgumentRole.DESTINATION}
)
"""Roles in which a truth value decides something."""
_SENSITIVE: Final = LEVELS[Confidentiality.CONFIDENTIAL]


def assess(
    model: ToolModel | None,
    arguments: Mapping[str, Any],
    prompts: Words,
    labels: Labels,
    grant: Collection[str] | None = None,
    answers: Mapping[str, Any] = NO_ANSWERS,
) -> Assessment:
    """The class of a call and what there is to ask about it; without questions it may go.

    ``model`` is None for a tool that the catalogue does not know. ``prompts`` are the words of the
    session's user, empty when there is no authenticated prompt. ``grant`` are the tools that the
    task declared (``server.tool``), None when it declared none. ``answers`` are what goes to the
    server in answer to its questions: they are judged with the arguments, by ``model.answers``.
    """
    return _Judge(model, arguments, prompts, labels, answers).judge(grant)


def lookups(
    model: ToolModel, arguments: Mapping[str, Any], prompts: Words, labels: Labels
) -> tuple[Look, ...]:
    """Where the catalogue says that a source may be found for values that have none, each once."""
    return _Judge(model, arguments, prompts, labels, NO_ANSWERS).lookups()


def sources(
    model: ToolModel | None,
    arguments: Mapping[str, Any],
    prompts: Words,
    labels: Labels,
    answers: Mapping[str, Any] = NO_ANSWERS,
) -> dict[str, str]:
    """For an approver: how confidential the session is, and where each value comes from.

    By ``session`` and ``arguments.NAME``; of many arguments, the first ``MAX_SOURCES``.
    """
    found: dict[str, str] = {}
    for name, source in _Judge(model, arguments, prompts, labels, answers).sources():
        if name not in found and len(found) == MAX_SOURCES:
            break
        if name not in found or source.endswith(NOWHERE):  # of many, the one that has none
            found[name] = source
    return {"session": labels.confidentiality.value, **found}


class _Judge:
    """One call while it is judged."""

    def __init__(
        self,
        model: ToolModel | None,
        arguments: Mapping[str, Any],
        words: Words,
        labels: Labels,
        answers: Mapping[str, Any],
    ) -> None:
        self._listed = model is not None
        self._model = model or UNLISTED
        self._words = words
        self._labels = labels
        self._questions: dict[tuple[QuestionKind, str], Question] = {}
        self._arguments: list[tuple[str, Any, ArgumentModel | None]] = []
        self._take(leaves(arguments), self._model, "")
        if answers:
            answering = msgspec.structs.replace(self._model, arguments=self._model.answers)
            self._take(leaves(answers), answering, ANSWER)
        self._room = MAX_PAYLOAD
        self._reckoned = 0
        self._risk = rules.risk(self._model, arguments)
        many = len(self._arguments) > MAX_VALUES
        if many or any(argument is None for _, _, argument in self._arguments):
            self._risk = RiskClass.DELETE

    def _take(
        self, told: Iterator[tuple[tuple[str, ...], Any]], model: ToolModel, before: str
    ) -> None:
        """Each part of each value, and no more of them than show that there are too many."""
        for path, value in told:
            if len(self._arguments) > MAX_VALUES:
                return
            argument, names = resolved(model, path)
            role = (argument or _UNKNOWN).role
            place = f"{before}{'.'.join(path)}"
            each = (part for one in (value, *names) for part in parts(role, one))
            self._arguments += [(place, part, argument) for part in islice(each, MAX_VALUES + 1)]

    def judge(self, grant: Collection[str] | None) -> Assessment:
        if not self._listed:
            self._ask(QuestionKind.UNKNOWN, "", "the catalogue does not know the tool")
        elif grant is not None and self._model.tool not in grant:
            self._ask(QuestionKind.GRANT, "", "the task did not declare the tool")
        if len(self._arguments) > MAX_VALUES:
            for kind in QuestionKind:
                if kind is QuestionKind.GRANT:
                    continue
                self._ask(kind, "", "too many values to be judged")
            del self._arguments[MAX_VALUES:]
        for path, value, argument in self._arguments:
            if argument is None and self._listed:
                self._ask(QuestionKind.UNKNOWN, path, "the catalogue does not know the argument")
            known = argument or _UNKNOWN
            if not known.fixed and (self._acts or known.carries):
                self._argument(path, value, known)
        self._confidential()
        if self._acts:
            self._asked_for(grant)
        return Assessment(
            risk=self._risk,
            questions=tuple(self._questions.values()),
            approvals=len(self._labels.calls),
        )

    def lookups(self) -> tuple[Look, ...]:
        found: dict[str, Look] = {}
        for _, value, argument in self._arguments[:MAX_VALUES]:
            if len(found) >= MAX_LOOKS:
                break
            if argument is None or not argument.lookups or not says(value):
                continue
            for part in parts(argument.role, value):
                if self._sourced(argument, part):
                    continue
                for one in argument.lookups:
                    if not one.query or isinstance(part, str):
                        query = {one.query: part} if one.query else {}
                        look = Look(tool=one.tool.partition(".")[2], arguments=query)
                        found[repr(look)] = look
        return tuple(found.values())[:MAX_LOOKS]

    def sources(self) -> Iterator[tuple[str, str]]:
        for path, value, argument in self._arguments:
            if says(value):
                yield f"arguments.{path}", self._from(argument or _UNKNOWN, value)

    def _from(self, argument: ArgumentModel, value: Any) -> str:
        role = argument.role
        if argument.fixed:
            return "held by policy"
        if role in {ArgumentRole.PAYLOAD, ArgumentRole.SELECTOR}:
            return f"{role}: free"
        each = parts(role, value)
        known = [keys(part, number=counts(role)) for part in each]
        ways = (
            ("the user's words", all(any(map(self._words.say, one)) for one in known)),
            ("approved before", all(self._labels.approves(role, one) for one in known)),
            ("a trusted field", all(self._labels.trusts(role, one) for one in known)),
            ("several of these, or led to by them", all(self._sourced(argument, x) for x in each)),
        )
        return f"{role}: {next((way for way, holds in ways if holds), NOWHERE)}"

    @property
    def _acts(self) -> bool:
        return self._risk is not RiskClass.READ

    @property
    def _leaves_house(self) -> bool:
        return RISKS[self._risk] >= RISKS[RiskClass.EXTERNAL]

    def _ask(self, kind: QuestionKind, path: str, reason: str) -> None:
        shown = self._named_as(path)
        self._questions[kind, shown] = Question(kind=kind, argument=shown, reason=reason)

    def _named_as(self, path: str) -> str:
        return path if not path or path in self._model.arguments else shown_as(path)

    def _argument(self, path: str, value: Any, argument: ArgumentModel) -> None:
        role = argument.role
        decides = isinstance(value, bool) and role in _DECIDING
        if role is ArgumentRole.SELECTOR or not (decides or says(value)):
            return
        if role is ArgumentRole.PAYLOAD:
            if self._leaves_house or argument.carries:
                self._payload(path, value)
            return
        kind = _KINDS.get(role, self._object_kind)
        if (kind, self._named_as(path)) in self._questions:
            return
        if not all(self._sourced(argument, part) for part in parts(role, value)):
            self._ask(kind, path, "neither the user's words nor a trusted field have this value")

    @property
    def _object_kind(self) -> QuestionKind:
        """An object that goes to somebody is an attachment."""
        sent = self._leaves_house and any(
            argument is not None and argument.role is ArgumentRole.DESTINATION
            for _, _, argument in self._arguments
        )
        return QuestionKind.ATTACHMENT if sent else QuestionKind.OBJECT

    def _payload(self, path: str, value: Any) -> None:
        text = value if isinstance(value, str) else f"{value}"
        role = ArgumentRole.DESTINATION
        self._room -= len(text)
        if self._room < 0:
            self._ask(QuestionKind.LINK, path, "too long to be looked through")
        elif not all(
            self._has_source(role, (key,)) or self._labels.approves(ArgumentRole.PAYLOAD, (key,))
            for key in mentions(text)
        ):
            self._ask(QuestionKind.LINK, path, "a link or an account in it has no source")

    def _sourced(self, argument: ArgumentModel, value: Any) -> bool:
        role = argument.role
        known = keys(value, number=counts(role))
        if self._has_source(role, known):
            return True
        if role is ArgumentRole.AMOUNT:
            return any(key.startswith("##") and self._follows(key[2:]) for key in known)
        if not isinstance(value, str) or role is ArgumentRole.CREDENTIAL:
            return False
        if role is ArgumentRole.OBJECT and self._words.describe(value):
            return True
        short = role is ArgumentRole.OBJECT or len(value) <= _SHORT
        reads = argument.carries and not self._acts
        return self._words.spell(value, glued=short) or (reads and self._labels.links(known))

    def _follows(self, number: str) -> bool:
        """Whether the user's words lead to an amount; of many amounts, that is not reckoned."""
        self._reckoned += 1
        few = self._reckoned <= MAX_RECKONED
        return few and self._words.sums.lead_to(number, self._counted)

    def _counted(self, number: str) -> bool:
        return self._labels.trusts(ArgumentRole.AMOUNT, (f"##{number}",))

    def _has_source(self, role: ArgumentRole, known: tuple[str, ...]) -> bool:
        return self._own(role, known) or self._labels.trusts(role, known)

    def _own(self, role: ArgumentRole, known: tuple[str, ...]) -> bool:
        """The user's own: said, or approved."""
        return any(map(self._words.say, known)) or self._labels.approves(role, known)

    def _confidential(self) -> None:
        """What the session has read may not go to those who are not cleared for it."""
        level = self._labels.confidentiality
        if LEVELS[level] < _SENSITIVE:
            return
        targets = [
            (path, part, argument)
            for path, value, argument in self._arguments
            if (argument or _UNKNOWN).role is ArgumentRole.DESTINATION
            and ((argument or _UNKNOWN).carries or self._leaves_house)
            and says(value)
            for part in parts(ArgumentRole.DESTINATION, value)
        ]
        carried = any(argument and argument.carries for _, _, argument in self._arguments)
        told = any(a and a.role is ArgumentRole.PAYLOAD for _, _, a in self._arguments)
        classes = (self._model.risk, self._risk, *(rule.risk for rule in self._model.rules))
        goes = self._leaves_house and (told or RiskClass.EXTERNAL in classes)
        bare = self._model.bare and not self._tells
        if not targets and (carried or goes) and not bare:
            self._ask(QuestionKind.CONFIDENTIAL, "", f"it goes out, and the session is {level}")
        for path, part, argument in targets:
            known = keys(part)
            if (
                not (argument or _UNKNOWN).fixed
                and not any(map(self._words.say, known))
                and not (isinstance(part, str) and self._words.spell(part))
                and not self._labels.trusts(ArgumentRole.DESTINATION, known, level)
                and not bare
            ):
                self._ask(
                    QuestionKind.CONFIDENTIAL, path, f"not cleared, and the session is {level}"
                )

    @property
    def _tells(self) -> bool:
        """Whether the call can say anything but to whom, on what and how much.

        Each value has to have a source and to be written plainly, there are few of them, one for
        each name of the catalogue's. An object tells what it is to those who get it.
        """
        paths = {path for path, _, _ in self._arguments}
        if len(paths) > _FEW or len(paths) < len(self._arguments):
            return True
        return any(
            argument is None
            or argument.carries
            or path not in self._model.arguments
            or not self._mute(argument, value)
            for path, value, argument in self._arguments
        )

    def _mute(self, argument: ArgumentModel, value: Any) -> bool:
        role = argument.role
        sent = role is ArgumentRole.OBJECT and self._object_kind is QuestionKind.ATTACHMENT
        if argument.fixed:
            return True
        if sent or role not in _KINDS or role is ArgumentRole.CREDENTIAL:
            return role is ArgumentRole.OBJECT and not sent and self._plainly(argument, value)
        return self._plainly(argument, value)

    def _plainly(self, argument: ArgumentModel, value: Any) -> bool:
        """Whether a value with a source is written in one of few ways."""
        if not isinstance(value, str):
            return says(value) and self._sourced(argument, value)
        written = canonical(value).replace(NEXT, " ")
        ways = {written, written.upper(), written.title(), written.capitalize()}
        return value in ways and self._has_source(argument.role, keys(value))

    def _asked_for(self, grant: Collection[str] | None) -> None:
        said = grant is not None or intent.asked(self._model, self._words)
        if not said:
            self._ask(QuestionKind.INTENT, "", "no word of the user's asks for this")
        if self._risk is RiskClass.DELETE and not (
            intent.asked(self._model, self._words) and self._named()
        ):
            self._ask(QuestionKind.DELETE, "", "the user did not ask to end just this")

    def _named(self) -> bool:
        """Whether the user named everything that the call is about."""
        things = [
            (argument.role, part)
            for _, value, argument in self._arguments
            if argument is not None
            and says(value)
            and argument.role in {ArgumentRole.OBJECT, ArgumentRole.DESTINATION}
            for part in parts(argument.role, value)
        ]
        return bool(things) and all(
            self._own(role, keys(part)) or (isinstance(part, str) and self._words.spell(part))
            for role, part in things
        )
