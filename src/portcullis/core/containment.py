"""The vocabulary of containment: what a tool's arguments and results mean, and what to ask."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Any, Final, Literal, TypeAlias

import msgspec

from portcullis.core.call import RiskClass


class ArgumentRole(StrEnum):
    """What an argument decides.

    DESTINATION: who or what gets something (a recipient, an account, a URL). OBJECT: on which thing
    it is done (a file, an order). AMOUNT: how much. CREDENTIAL: a password, a key, a permission.
    PAYLOAD: what is said. SELECTOR: which part, when, in what order; it decides nothing.
    """

    DESTINATION = "destination"
    OBJECT = "object"
    AMOUNT = "amount"
    CREDENTIAL = "credential"
    PAYLOAD = "payload"
    SELECTOR = "selector"


class Confidentiality(StrEnum):
    """Who may see something, from anyone to hardly anyone."""

    PUBLIC = "public"
    INTERNAL = "internal"
    CONFIDENTIAL = "confidential"
    SECRET = "secret"  # noqa: S105 - the name of a level


LEVELS: Final = {level: rank for rank, level in enumerate(Confidentiality)}
RISKS: Final = {risk: rank for rank, risk in enumerate(RiskClass)}
"""From the least to the highest class."""

Step: TypeAlias = str
"""A step of a path: a member's name, or one of the below."""

ITEMS: Final[Step] = "[]"
"""Each item of a list."""
VALUES: Final[Step] = "*"
"""Each value of an object."""
KEYS: Final[Step] = "[keys]"
"""Each name of an object's members; the last step only."""
LINES: Final[Step] = "[lines]"
"""Each line of a text, and what follows a line's first colon; the last step only."""

ANY: Final = "*"
"""The name that stands for every argument that has no line of its own."""


class Lookup(msgspec.Struct, frozen=True, kw_only=True):
    """Where the gate itself looks before it asks about a value: a tool that only reads.

    ``tool`` is of the same server, ``query`` the argument that takes the value as a text; empty
    when the tool takes none.
    """

    tool: str
    query: str = ""


class Look(msgspec.Struct, frozen=True, kw_only=True):
    """A call that the gate makes to learn of a source: an unqualified tool and its arguments."""

    tool: str
    arguments: dict[str, Any]


class ArgumentModel(msgspec.Struct, frozen=True, kw_only=True):
    """What one argument is.

    ``carries``: data can leave in it even when the tool only reads (a URL that is fetched).
    ``fixed``: policy holds it equal to the session's own or to one value, so it needs no source.
    ``lookups`` are where a source may be found, in this order.
    """

    role: ArgumentRole = ArgumentRole.DESTINATION
    carries: bool = False
    fixed: bool = False
    lookups: tuple[Lookup, ...] = ()


class ResultField(msgspec.Struct, frozen=True, kw_only=True):
    """What stands at a place of a result.

    ``trusted``: the roles for which these values are as good as the user's. ``confidentiality``:
    what having read it makes of the session. ``clearance``: up to which level of the session these
    values may serve as a destination. ``links``: what is linked in these texts may be read, as
    long as the session has read nothing confidential. ``named``: where the user himself said what
    is read, an e-mail address in these texts that bears a name of his is a destination.
    """

    path: tuple[Step, ...]
    trusted: tuple[ArgumentRole, ...] = ()
    confidentiality: Confidentiality = Confidentiality.INTERNAL
    clearance: Confidentiality = Confidentiality.INTERNAL
    links: bool = False
    named: bool = False


ConditionKind = Literal["present", "absent", "equals", "in", "over"]


class Condition(msgspec.Struct, frozen=True, kw_only=True):
    """Something about one argument. ``values``: those of ``equals`` and ``in``, ``over``'s bound.

    None, an empty text and an empty list are absent.
    """

    argument: str
    kind: ConditionKind
    values: tuple[Any, ...] = ()


class RiskRule(msgspec.Struct, frozen=True, kw_only=True):
    """When all conditions hold, the call is at least of this class."""

    when: tuple[Condition, ...]
    risk: RiskClass


class Memory(msgspec.Struct, frozen=True, kw_only=True):
    """What a tool does with a memory that sessions share.

    ``store`` is its name among all memories. ``record`` and ``sources`` are the places in the
    arguments that name records: those that it reads or writes, and those whose content it may put
    into them; ``records`` are the places in results that do. Where none is said, any record may be
    meant. ``appends``: what a record held before stays in it. ``written``: some tool of the
    catalogue writes this store.
    """

    store: str
    writes: bool = False
    appends: bool = False
    record: tuple[tuple[Step, ...], ...] = ()
    sources: tuple[tuple[Step, ...], ...] = ()
    records: tuple[tuple[Step, ...], ...] = ()
    written: bool = True


class ToolModel(msgspec.Struct, frozen=True, kw_only=True):
    """What a tool means: the catalogue's entry.

    ``tool`` is ``server.tool``. ``arguments`` are by name; members of a structured argument by
    path (``attachments.id``, without the items of lists), and what has no line of its own is what
    the nearest part of its path is. ``intent`` are words of which the user uses one to ask for
    this; where there are none they follow from the tool's name. ``answers`` are the fields of what
    the client answers to a server's questions during a call of this tool, as ``arguments``.
    ``memory`` says what it does with what other sessions may read or have written.
    """

    tool: str
    risk: RiskClass = RiskClass.DELETE
    rules: tuple[RiskRule, ...] = ()
    arguments: Mapping[str, ArgumentModel] = {}
    results: tuple[ResultField, ...] = ()
    intent: tuple[str, ...] = ()
    bare: bool = False
    answers: Mapping[str, ArgumentModel] = {}
    memory: Memory | None = None


class QuestionKind(StrEnum):
    """Why a call is not simply what the user asked for.

    DESTINATION, AMOUNT, CREDENTIAL, OBJECT: a value of that role is neither the user's nor
    trusted. ATTACHMENT: the same for an object that goes out with a message. LINK: a URL, an
    address or an account number within a payload is neither. CONFIDENTIAL: something confidential
    was read and this could carry it to one who is not cleared. INTENT: no word of the user's asks
    for such an effect. DELETE: something ends that the user did not name. GRANT: the task did not
    declare the tool. UNKNOWN: the catalogue does not know the tool or the argument.
    """

    DESTINATION = "destination"
    AMOUNT = "amount"
    CREDENTIAL = "credential"
    OBJECT = "object"
    ATTACHMENT = "attachment"
    LINK = "link"
    CONFIDENTIAL = "confidential"
    INTENT = "intent"
    DELETE = "delete"
    GRANT = "grant"
    UNKNOWN = "unknown"


class Question(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that a human would have to answer. ``reason`` names fields, never values.

    ``argument`` is the path of the argument in question, empty when it is the call as a whole.
    """

    kind: QuestionKind
    argument: str
    reason: str


class Assessment(msgspec.Struct, frozen=True, kw_only=True):
    """The class of a call, computed from its arguments, and what there is to ask about it.

    ``approvals`` is how many calls of the session were approved before.
    """

    risk: RiskClass
    questions: tuple[Question, ...] = ()
    approvals: int = 0


class Treatment(StrEnum):
    """What is done about a question, from the mildest to the strictest."""

    ALLOW = "allow"
    HOLD = "hold"
    DENY = "deny"


class Containment(msgspec.Struct, frozen=True, kw_only=True):
    """What policy says about questions.

    ``treatments`` holds, by kind, the treatment for each class of risk; what it leaves out is
    held. A call that raises all kinds of one set of ``never`` is denied and cannot be approved.
    ``approvals`` is how many calls a session may have approved; then what would be held is denied.
    None is no limit.
    """

    treatments: Mapping[QuestionKind, Mapping[RiskClass, Treatment]] = {}
    never: tuple[frozenset[QuestionKind], ...] = ()
    approvals: int | None = None

    def treatment(self, assessment: Assessment) -> Treatment:
        """The strictest that any question of an assessment calls for."""
        kinds = {question.kind for question in assessment.questions}
        if any(some <= kinds for some in self.never):
            return Treatment.DENY
        found = {self.treatment_of(kind, assessment.risk) for kind in kinds}
        if found <= {Treatment.ALLOW}:
            return Treatment.ALLOW
        spent = self.approvals is not None and assessment.approvals >= self.approvals
        return Treatment.DENY if spent or Treatment.DENY in found else Treatment.HOLD

    def treatment_of(self, kind: QuestionKind, risk: RiskClass) -> Treatment:
        """What is said of a class; of one that nothing is said of, what a lower one is denied."""
        said = self.treatments.get(kind, {})
        denied = any(
            treatment is Treatment.DENY and RISKS[other] < RISKS[risk]
            for other, treatment in said.items()
        )
        return said.get(risk, Treatment.DENY if denied else Treatment.HOLD)
