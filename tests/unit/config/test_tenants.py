"""If these fail, a tenant's name leads out of the provider's folder, or is cut to another's."""

import pytest

from portcullis.config.tenants import MOST, tenant, tenant_name, tenants, trust_domain
from portcullis.core.errors import Problem

WRONG = {
    "nothing": "",
    "here": ".",
    "above": "..",
    "two labels": "a.b",
    "a path": "a/b",
    "out of it": "../a",
    "upper case": "Acme",
    "a letter of another script": "\u0430cme",
    "full width": "\uff41cme",
    "a digit of another script": "a\u0661",
    "a sign of ASCII": "a_b",
    "a dash first": "-a",
    "a dash last": "a-",
    "a digit first": "1a",
    "64 of them": "a" * 64,
    "one too many": "a" * (MOST + 1),
    "a new line": "a\n",
    "NUL": "a\0b",
    "a space": "a b",
    "a quote": 'a"b',
}


@pytest.mark.parametrize("name", WRONG.values(), ids=WRONG.keys())
def test_what_is_no_label_is_no_name(name, tmp_path):
    for attempt in (
        lambda: tenant_name(name),
        lambda: trust_domain(name, "example.org"),
        lambda: tenant(tmp_path, name),
    ):
        with pytest.raises(Problem, match="PC7093"):
            attempt()


def test_a_trust_domain_is_below_the_providers():
    assert trust_domain("acme", "example.org") == "acme.example.org"
    assert trust_domain("a" * MOST, "x").startswith("a" * MOST)
    for parent in ("", ".", "a..b", "example.org.", "Example.org", "a/b", "x" * 240):
        with pytest.raises(Problem, match="PC7093"):
            trust_domain("acme-of-somebody-else", parent)


def test_a_folder_has_the_tenants_that_have_a_configuration(tmp_path):
    for name in ("acme", "globex", "acme.removed-1", "NoTenant"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "portcullis.yaml").touch()
    (tmp_path / "empty").mkdir()
    assert [one.name for one in tenants(tmp_path)] == ["acme", "globex"]
    for name in ("empty", "none"):
        with pytest.raises(Problem, match="PC7094"):
            tenant(tmp_path, name)
    with pytest.raises(Problem, match="PC7094"):
        tenants(tmp_path / "none")
