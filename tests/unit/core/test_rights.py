"""Rights: what roles give together, and what an operator without one is told."""

import pytest

from portcullis.core.errors import Problem
from portcullis.core.rights import ADMIN, BUILT_IN, Right, Roles

KNOWN = Roles(
    own={
        "author": frozenset({Right.RELEASES_PROPOSE}),
        "judge": frozenset({Right.RELEASES_APPROVE}),
    },
    apart=((Right.RELEASES_PROPOSE, Right.RELEASES_APPROVE),),
)


def refused(roles, *rights):
    with pytest.raises(Problem) as problem:
        KNOWN.expect(roles, *rights)
    return problem.value


def test_every_role_looks_and_one_that_is_not_there_gives_nothing():
    for role in KNOWN.names:
        assert Right.LOOK in KNOWN.rights((role,))
    assert KNOWN.given(("author",)) == {Right.LOOK, Right.RELEASES_PROPOSE}
    assert KNOWN.rights(("gone",)) == KNOWN.rights(()) == frozenset()
    assert KNOWN.unknown(("gone", "author", "viewer")) == ("gone",)
    assert KNOWN.rights(("gone", "viewer")) == {Right.LOOK}
    assert refused(("gone",), Right.LOOK).code == "PC2004"


def test_a_role_of_ones_own_does_not_replace_one_that_is_built_in():
    odd = Roles(own={"viewer": frozenset(Right)})
    assert odd.given(("viewer",)) == BUILT_IN["viewer"]


def test_of_rights_that_are_kept_apart_the_first_counts():
    assert KNOWN.rights(("author", "judge")) == {Right.LOOK, Right.RELEASES_PROPOSE}
    assert KNOWN.rights((ADMIN,)) == frozenset(Right) - {Right.RELEASES_APPROVE}
    assert KNOWN.rights(("judge",)) >= {Right.RELEASES_APPROVE}
    assert KNOWN.clash(("author", "judge")) == KNOWN.apart[0]
    assert (KNOWN.clash(("author",)), KNOWN.clash(("viewer", "judge"))) == (None, None)


def test_a_refusal_names_the_right_and_the_roles_that_have_it():
    said = refused(("viewer", "judge"), Right.KILL)
    assert (said.code, said.detail) == ("PC2004", "this needs the right kill")
    assert "Roles that have it: responder, admin." in said.hint
    said = refused((ADMIN,), Right.RELEASES_APPROVE)
    assert said.detail.endswith("releases.approve, which nobody has beside releases.propose")
    several = refused(("viewer",), Right.PRINCIPALS_MANAGE, Right.OPERATORS_MANAGE)
    assert several.detail == "this needs the right principals.manage or operators.manage"
    with pytest.raises(Problem):
        KNOWN.expect((ADMIN,))  # a door that names no right is shut
