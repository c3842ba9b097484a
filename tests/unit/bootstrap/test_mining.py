"""If these fail, a mined policy knows no row scope, or takes a stranger's value for one's own."""

from __future__ import annotations

import secrets
from datetime import UTC, datetime

import pytest

from portcullis.audit.subjects import SubjectKeys
from portcullis.bootstrap.mining import KeyedScopes
from portcullis.core.call import Action, Call, Context, Route
from portcullis.core.principal import Principal, PrincipalKind, Session, subject_key
from portcullis.review.replay_asked import Asked
from portcullis.wire.json import encode
from sealers import sealer_at


@pytest.fixture
def keys(tmp_path):
    made = SubjectKeys(tmp_path / "subjects.db", secrets.token_bytes(32), sealer_at(tmp_path))
    yield made
    made.close()


def asked(keys, subject, **arguments):
    """A call as the log tells of it: commitments, and nothing of the session but these."""
    principal = Principal(kind=PrincipalKind.AGENT, id="a", credential="c", expires_at=1.0)
    session = Session(
        id="s", agent="a", application="x", user="ada", prompt="", subject=subject, grant=None,
        opened_at=0.0, expires_at=1.0,
    )  # fmt: skip
    key = subject_key(principal, session)
    commitments = {
        "user": keys.commitment("user:ada", b"ada"),
        "subject": keys.commitment(key, encode(subject)),
    }
    for name, value in arguments.items():
        commitments[f"arguments.{name}"] = keys.commitment(key, encode(value))
    keys.flush()
    call = Call(
        id="e", route=Route.MCP_HTTP, action=Action.TOOL, server="s", name="t", method="",
        arguments=arguments, payload=None, body=b"",
    )  # fmt: skip
    around = Context(principal=principal, session=session, source="", trace_id="", received_at=0.0)
    return Asked(
        id="e", time=datetime(2026, 11, 2, tzinfo=UTC), call=call, context=around,
        commitments=commitments,
    )  # fmt: skip


def test_the_session_s_user_and_its_only_member_are_told_by_their_commitments(keys):
    scopes = KeyedScopes((keys,), frozenset({"customer_id"}))
    one = asked(keys, {"customer_id": "C-1"})
    assert (scopes.user(one, "ada"), scopes.user(one, "eve"), scopes.user(one, 7)) == (
        True,
        False,
        False,
    )
    assert scopes.members(one, "customer", "C-1") == ("customer_id",)
    assert scopes.members(one, "customer", "C-2") == ()


def test_a_member_among_several_is_told_where_the_value_was_sealed(keys):
    scopes = KeyedScopes((keys,), frozenset({"customer_id"}))
    subject = {"customer_id": "C-1", "email": "ada@example.org"}
    one = asked(keys, subject, customer="C-1", note="C-2")
    asked(keys, {"customer_id": "C-2", "email": "eve@example.org"})
    assert scopes.members(one, "customer", "C-1") == ("customer_id",)
    assert scopes.members(one, "note", "C-2") == ()  # another subject's, not this one's
    assert scopes.members(one, "unsealed", "C-1") == ()


def test_of_an_erased_subject_nothing_is_told(keys):
    scopes = KeyedScopes((keys,), frozenset({"customer_id"}))
    one = asked(keys, {"customer_id": "C-1"})
    keys.erase(keys.reach(keys.tag("subject:customer_id=C-1")))
    assert scopes.members(one, "customer", "C-1") == ()
