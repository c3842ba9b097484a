"""Whether a call is what the user asked for, judged by where its values come from.

Pure. A value has a source when it stands in the user's words, came out of a field labelled trusted
for its role, or was approved in its role; that it stands somewhere in what the agent has read is
no source.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from itertools import islice
from typing import Any, Final

from portcullis.core.call import RiskClass
from portcullis.core.containment import (
    ANY,
    LEVELS,
    RISKS,
    ArgumentModel,
    ArgumentRole,
    Assessment,
    Confidentiality,
    Question,
    QuestionKind,
    ToolModel,
)
from portcullis.core.inspection import SHOWN
from portcullis.provenance import intent, paths, rules
from portcullis.provenance.canonical import Words, keys, mentions, offers
from portcullis.provenance.labels import Labels, approving, calling, reading, trusting

MAX_LEARNED: Final = 1024
"""Values of one field of one result that can become trusted."""

MAX_PAYLOAD: Final = 1 << 17
"""Characters of a call's payloads that are looked through; what is longer is asked about."""

_UNKNOWN: Final = ArgumentModel(role=ArgumentRole.DESTINATION, carries=True)
_UNLISTED: Final = ToolModel(tool="", risk=RiskClass.DELETE)
_LIST: Final = re.compile(r"\s*[,;]\s*")
_KINDS: Final = {
    ArgumentRole.DESTINATION: QuestionKind.DESTINATION,
    ArgumentRole.AMOUNT: QuestionKind.AMOUNT,
    ArgumentRole.CREDENTIAL: QuestionKind.CREDENTIAL,
}
_EACH_TIME: Final = frozenset({ArgumentRole.SELECTOR, ArgumentRole.AMOUNT, ArgumentRole.CREDENTIAL})
"""Roles of which an approval is for the one call: paid once is not paid for ever."""
_SENSITIVE: Final = LEVELS[Confidentiality.CONFIDENTIAL]


def assess(
    model: ToolModel | None,
    arguments: Mapping[str, Any],
    prompts: Words,
    labels: Labels,
    grant: Collection[str] | None = None,
) -> Assessment:
    """The class of a call and what there is to ask about it; without questions it may go.

    ``model`` is None for a tool that the catalogue does not know. ``prompts`` are the words of the
    session's user, empty when there is no authenticated prompt. ``grant`` are the tools that the
    task declared (``server.tool``), None when it declared none.
    """
    return _Judge(model, arguments, prompts, labels).judge(grant)


def learn(model: ToolModel | None, result: Any, labels: Labels) -> Labels:
    """The labels after a result (a JSON value) of a tool came back.

    Values of fields labelled trusted become trusted for that role, what is confidential makes the
    session so, and everything else is nothing. A tool without a model may have told anything
    confidential.
    """
    if model is None:
        return labels.merge(reading(Confidentiality.CONFIDENTIAL))
    found = labels.merge(reading(Confidentiality.INTERNAL)) if not model.results else labels
    seen = result in (None, "", [], {})
    for field in model.results:
        values = list(islice(paths.found(result, field.path), MAX_LEARNED))
        seen = seen or bool(values)
        if len(values) == MAX_LEARNED or any(one not in (None, "", [], {}) for one in values):
            found = found.merge(reading(field.confidentiality))
        if not field.trusted:
            continue
        vouched = {
            key for value in values if isinstance(value, str | int | float) for key in offers(value)
        }
        for role in field.trusted:
            found = found.merge(trusting(role, vouched, field.clearance))
    if not seen:  # it has another shape than the catalogue says: anything may stand there
        found = found.merge(reading(level(model)))
    return found


def level(model: ToolModel | None) -> Confidentiality:
    """The highest that a tool's results are labelled with."""
    if model is None:
        return Confidentiality.CONFIDENTIAL
    levels = (field.confidentiality for field in model.results)
    return max(levels, key=LEVELS.__getitem__, default=Confidentiality.INTERNAL)


def approve(model: ToolModel | None, arguments: Mapping[str, Any], labels: Labels) -> Labels:
    """The labels after a human approved a call: its values are trusted for their roles."""
    found = labels.merge(calling(model.tool if model else "", arguments))
    for path, value in _leaves(arguments):
        argument, names = _resolved(model or _UNLISTED, path)
        if argument is None:
            continue  # nobody knows what it is for
        for one in (value, *names):
            found = found.merge(_approval(argument.role, one))
    return found


def _approval(role: ArgumentRole, value: Any) -> Labels:
    if role in _EACH_TIME:
        return Labels()
    if role is ArgumentRole.PAYLOAD:
        return approving(role, mentions(value) if isinstance(value, str) else ())
    known = (key for part in _parts(role, value) for key in keys(part, number=_counts(role)))
    return approving(role, known)


def _counts(role: ArgumentRole) -> bool:
    return role is ArgumentRole.AMOUNT


def argument_of(model: ToolModel, path: str) -> ArgumentModel | None:
    """What an argument is: by its own line, the nearest part of its path, or the line for any."""
    return _resolved(model, tuple(path.split(".")))[0]


def _resolved(
    model: ToolModel, path: tuple[str, ...]
) -> tuple[ArgumentModel | None, tuple[str, ...]]:
    """What an argument is, and the names on its path that no line knows: they are values too.

    A name with a dot in it is no path: it has no line of its own.
    """
    plain = next((at for at, name in enumerate(path) if "." in name), len(path))
    for end in range(plain, 0, -1):
        found = model.arguments.get(".".join(path[:end]))
        if found is not None:
            return found, path[end:]
    return model.arguments.get(ANY), path[1:]


class _Judge:
    """One call while it is judged."""

    def __init__(
        self,
        model: ToolModel | None,
        arguments: Mapping[str, Any],
        words: Words,
        labels: Labels,
    ) -> None:
        self._listed = model is not None
        self._model = model or _UNLISTED
        self._words = words
        self._labels = labels
        self._questions: dict[tuple[QuestionKind, str], Question] = {}
        self._arguments: list[tuple[str, Any, ArgumentModel | None]] = []
        for path, value in _leaves(arguments):
            argument, names = _resolved(self._model, path)
            place = ".".join(path)
            self._arguments += [(place, one, argument) for one in (value, *names)]
        self._room = MAX_PAYLOAD
        self._risk = rules.risk(self._model, arguments)
        if any(argument is None for _, _, argument in self._arguments):
            self._risk = RiskClass.DELETE

    def judge(self, grant: Collection[str] | None) -> Assessment:
        if not self._listed:
            self._ask(QuestionKind.UNKNOWN, "", "the catalogue does not know the tool")
        elif grant is not None and self._model.tool not in grant:
            self._ask(QuestionKind.GRANT, "", "the task did not declare the tool")
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

    @property
    def _acts(self) -> bool:
        return self._risk is not RiskClass.READ

    @property
    def _leaves_house(self) -> bool:
        return RISKS[self._risk] >= RISKS[RiskClass.EXTERNAL]

    def _ask(self, kind: QuestionKind, path: str, reason: str) -> None:
        shown = path if not path or path in self._model.arguments else _shown(path)
        self._questions[kind, shown] = Question(kind=kind, argument=shown, reason=reason)

    def _argument(self, path: str, value: Any, argument: ArgumentModel) -> None:
        role = argument.role
        decides = isinstance(value, bool) and role in {ArgumentRole.AMOUNT, ArgumentRole.CREDENTIAL}
        if role is ArgumentRole.SELECTOR or not (decides or _says(value)):
            return
        if role is ArgumentRole.PAYLOAD:
            if self._leaves_house or argument.carries:
                self._payload(path, value)
        elif not all(self._sourced(role, part) for part in _parts(role, value)):
            kind = _KINDS.get(role, self._object_kind)
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

    def _sourced(self, role: ArgumentRole, value: Any) -> bool:
        return self._has_source(role, keys(value, number=_counts(role)))

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
            and _says(value)
            for part in _parts(ArgumentRole.DESTINATION, value)
        ]
        carried = any(argument and argument.carries for _, _, argument in self._arguments)
        says = any(a and a.role is ArgumentRole.PAYLOAD for _, _, a in self._arguments)
        goes = self._risk is RiskClass.EXTERNAL or (self._leaves_house and says)
        if not targets and (carried or goes):
            self._ask(QuestionKind.CONFIDENTIAL, "", f"it goes out, and the session is {level}")
        for path, part, argument in targets:
            known = keys(part)
            if (
                not (argument or _UNKNOWN).fixed
                and not any(map(self._words.say, known))
                and not self._labels.trusts(ArgumentRole.DESTINATION, known, level)
            ):
                self._ask(
                    QuestionKind.CONFIDENTIAL, path, f"not cleared, and the session is {level}"
                )

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
            and _says(value)
            and argument.role in {ArgumentRole.OBJECT, ArgumentRole.DESTINATION}
            for part in _parts(argument.role, value)
        ]
        return bool(things) and all(self._own(role, keys(part)) for role, part in things)


def _leaves(arguments: Mapping[str, Any]) -> Iterator[tuple[tuple[str, ...], Any]]:
    for name, value in arguments.items():
        yield from paths.leaves((name,), value)


def _says(value: Any) -> bool:
    """Whether a value names something: a truth value and an empty text do not."""
    return value is not None and not isinstance(value, bool) and value != ""


def _shown(path: str) -> str:
    """A path as it may stand in a record: a name that is no name is the agent's text."""
    return ".".join(part if SHOWN.fullmatch(part) else ANY for part in path.split("."))


def _parts(role: ArgumentRole, value: Any) -> tuple[Any, ...]:
    """A value in its parts: of a list of addresses in one text, each has to have a source."""
    if role is ArgumentRole.DESTINATION and isinstance(value, str) and value.count("@") > 1:
        parts = tuple(part for part in _LIST.split(value) if part)
        if len(parts) > 1 and all("@" in part for part in parts):
            return parts
    return (value,)
