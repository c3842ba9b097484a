"""Who may approve what: rules about people, in the section ``approvals``.

They stand here and not in the policy's folder: they decide nothing about agents, and who may write
policy should not thereby say who judges it.
"""

from __future__ import annotations

from typing import Annotated, Final, Literal, TypeAlias
from zoneinfo import ZoneInfo

from pydantic import AfterValidator, ConfigDict, Field

from portcullis.config.common import Name, Section

Day: TypeAlias = Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
Risk: TypeAlias = Literal["read", "modify", "delete", "external"]
Time = Annotated[str, Field(pattern=r"^(?:([01][0-9]|2[0-3]):[0-5][0-9]|24:00)$")]
Pattern = Annotated[str, Field(pattern=r"^[^\x00-\x1f\x7f]{1,256}$")]
Patterns = Annotated[tuple[Pattern, ...], Field(min_length=1, max_length=256)]
Person = Annotated[str, Field(pattern=r"^[^\x00-\x1f\x7f]{1,256}$")]
Argument = Annotated[str, Field(pattern=r"^[^\x00-\x1f\x7f]{1,128}$")]


def _zone(name: str) -> str:
    """The name of a time zone that this machine knows; else ValueError."""
    try:
        ZoneInfo(name)
    except (OSError, ValueError, KeyError):  # not found, or a folder of the zones' files
        msg = "expected a time zone, such as Europe/Berlin or UTC"
        raise ValueError(msg) from None
    return name


class Hours(Section):
    """Hours of some days by the wall clock of ``zone``, from ``from`` on and before ``to``.

    Where ``to`` is not above ``from`` they go on past midnight, and belong to the day on which they
    began.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)

    days: Annotated[tuple[Day, ...], Field(min_length=1)]
    begin: Time = Field(alias="from")
    to: Time
    zone: Annotated[str, AfterValidator(_zone)] = "UTC"

    def model_post_init(self, context: object, /) -> None:
        """There is a time at which they are open."""
        del context
        if self.begin in {self.to, "24:00"}:
            msg = 'these hours never come; a whole day is "00:00" to "24:00"'
            raise ValueError(msg)


OF_CALLS: Final = ("risk", "calls", "servers", "over")
"""What a rule says of held calls alone."""


class ApproverRule(Section):
    """Who may approve the calls of which all that is said here holds.

    With ``releases`` it speaks of releases of policy in place of calls, with ``incidents`` of
    agents that are to work again after an incident. Then ``agents`` are those about which the
    release says something else than what is in force, or the agent of the incident.

    ``calls`` are patterns (``*`` for any text) of what is called as the inbox shows it
    (``mail.send``), ``servers`` of where, ``agents`` of the agent or one that it acts for, and
    ``owners`` of who answers for one of those. ``over`` is for amounts: arguments and the number up
    to which the rule does not speak of them. What cannot be known (a name that may be content, an
    agent that nobody registered, an amount that is no number or not there) is taken to hold.

    ``operators`` and the members of ``teams`` (those of ``approvals.teams``) may approve, by any
    name by which they are on record; with both empty, nobody may.
    """

    name: Name
    releases: bool = False
    incidents: bool = False
    risk: Annotated[tuple[Risk, ...], Field(min_length=1)] | None = None
    calls: Patterns | None = None
    servers: Patterns | None = None
    agents: Patterns | None = None
    owners: Patterns | None = None
    environments: Annotated[tuple[Name, ...], Field(min_length=1)] | None = None
    over: Annotated[dict[Argument, float], Field(min_length=1, max_length=16)] | None = None
    during: Hours | None = None
    operators: tuple[Person, ...] | None = None
    teams: tuple[str, ...] | None = None

    def model_post_init(self, context: object, /) -> None:
        """It says who, and of other things than calls nothing that only calls have."""
        del context
        of_calls = [name for name in OF_CALLS if getattr(self, name) is not None]
        if of_calls and not self.calls_held:
            msg = (
                f"{of_calls[0]} is about held calls, and this rule speaks of releases or incidents:"
                " say agents, owners, environments or during, or make a rule of its own for calls"
            )
            raise ValueError(msg)
        if self.operators is None and self.teams is None:
            msg = "say who may approve: operators, teams or both (empty for nobody)"
            raise ValueError(msg)

    @property
    def calls_held(self) -> bool:
        """Whether it speaks of held calls."""
        return not (self.releases or self.incidents)
