"""Who may give an operator rights, or take an operator over: nobody more than he has himself."""

from __future__ import annotations

from portcullis.core.call import Context
from portcullis.core.errors import Problem
from portcullis.core.ports import PrincipalRecord
from portcullis.core.rights import Right, Roles


def lasting(context: Context) -> None:
    """Raise Problem PC3086 for who broke the glass: what that gave is not made to last."""
    if context.principal.break_glass:
        raise Problem("PC3086", "who broke the glass changes no operators")


def above(roles: Roles, context: Context, record: PrincipalRecord) -> None:
    """Raise Problem PC7046 when an operator has, or can take, a right that who asks has not.

    Whoever sets another's password or roles could else become more than he is.
    """
    more = _more(roles, context, record.roles)
    if more:
        detail = f"the operator has or can take rights that you cannot: {', '.join(more)}"
        raise Problem("PC7046", detail)


def may_give(roles: Roles, context: Context, given: tuple[str, ...]) -> None:
    """Raise Problem PC3086, PC7043, PC7044 or PC7046 unless these roles may be given."""
    lasting(context)
    unknown = roles.unknown(given)
    if unknown:
        known = ", ".join(roles.names)
        raise Problem("PC7043", f"not configured: {', '.join(unknown)}; there are {known}")
    more = _more(roles, context, given)
    if more:
        raise Problem("PC7046", f"you have not: {', '.join(more)}")
    clash = roles.clash(given)
    if clash is not None:
        raise Problem("PC7044", f"{clash[0]} and {clash[1]} are kept apart")


def _more(roles: Roles, context: Context, others: tuple[str, ...]) -> tuple[str, ...]:
    """What these roles give, or let one take by breaking the glass, and those of who asks do not.

    A role that may break the glass is worth what that gives: else whoever hands it out, or takes
    over somebody who has it, would have it all one step later. One that there is not may have been
    any, and be it again.
    """
    own = context.principal.roles
    more = roles.given(others) - roles.given(own)
    taken = frozenset(Right) if roles.unknown(others) else roles.reach(others)
    return tuple(sorted(more | (taken - roles.reach(own))))
