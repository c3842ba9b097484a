"""If these fail, whoever looks whether tenants are apart shows one's password to another, or does
not see what they have together."""

from types import SimpleNamespace

import pytest

from portcullis.bootstrap import tenants_servers
from portcullis.bootstrap.tenants_servers import at_servers

NONE = SimpleNamespace(url=None)


@pytest.fixture
def looked(monkeypatch):
    """What is found of roles by their addresses; and which addresses were asked."""
    asked = []

    def says(url):
        asked.append(url)
        role, limit = url.username, 40 if url.host == "one" else 10
        return tenants_servers._Said(
            url.host, role, role, limit, 97, more=False, elsewhere=(), guests=()
        )

    monkeypatch.setattr(tenants_servers, "_asked", says)
    monkeypatch.setattr(tenants_servers, "_lets_in", lambda url: asked.append(url) is not None)

    def run(*urls):
        all_of_them = [
            SimpleNamespace(
                name=url.partition("//")[2].partition(":")[0],
                config=SimpleNamespace(
                    store=SimpleNamespace(url=url), counters=NONE, feed=NONE, shared=NONE
                ),
            )
            for url in urls
        ]
        found = [*at_servers(all_of_them, lambda _, reference: reference)]
        return [(one.code, one.tenants, one.found) for one in found], asked

    return run


def test_no_password_goes_to_anothers_server(looked):
    urls = {one: f"postgresql://{one}:of-{one}@{one}.example/{one}" for one in ("acme", "evil")}
    found, asked = looked(*urls.values())
    assert found == []
    for url in asked:
        others = {"acme", "evil"} - {url.username}
        assert url.host == f"{url.username}.example"
        assert not [one for one in others if url.password == f"of-{one}"]
    assert len(asked) == 4


def test_what_roles_have_together_is_found(looked):
    found, _ = looked("postgresql://a:x@one/a", "postgresql://b:x@two/b")
    assert found == [("PC7095", ("a", "b"), "the password of their roles in PostgreSQL")]
    found, _ = looked(*(f"postgresql://{one}:of-{one}@one/{one}" for one in "abc"))
    ((code, whose, what),) = found
    assert (code, whose) == ("PC7095", ("a", "b", "c"))
    assert "the 97 connections" in what
