"""If these fail, a secret that an agent could have used is never rotated."""

from __future__ import annotations

from pathlib import Path

import pytest

from histories import SHOP, Past, second
from portcullis.config import load
from portcullis.core.incident import Subject
from portcullis.core.secret_ports import Use
from portcullis.review.incident_access import LogAccess, outdated
from portcullis.review.incident_meaning import meaning_in
from portcullis.store.leases import SqlLeases

CONFIG = """
trust_domain: example.org
models:
  openai:
    {shape: openai, url: "https://models.example", credential: "env:OPENAI", serves: ["gpt-*"]}
  claude:
    {shape: anthropic, url: "https://claude.example", credential: "env:CLAUDE", serves: ["cl*"]}
mcp:
  crm: {url: "https://crm.example/mcp", credential: "file:/keys/crm"}
  crm-archive: {url: "https://old.example/mcp", credential: "file:/keys/crm"}
  billing: {url: "https://billing.example/mcp", credential: "file:/keys/billing"}
  files: {command: ["files"], env: {TOKEN: "file:/keys/files", MODE: "fast"}}
  open: {url: "https://open.example/mcp"}
"""
POLICY = """
version: 1
agents:
  shop: {role: seller}
roles:
  seller:
    allowed_tools: [crm.read]
    models: ["gpt-*"]
"""


@pytest.fixture
def place(tmp_path: Path):
    (tmp_path / "policy").mkdir()
    (tmp_path / "policy" / "base.yaml").write_text(POLICY)
    (tmp_path / "portcullis.yaml").write_text(CONFIG)
    return tmp_path


def known(place: Path, past: Past, subject: Subject = SHOP) -> dict[str, str]:
    config = load(place / "portcullis.yaml")
    leases = SqlLeases(past.engine)
    access = LogAccess(config, past.happened, past.logs, lambda: meaning_in(config.policy), leases)
    return {one.reference: one.why for one in access.known(subject, second(0))}


def past_of(place: Path, *digests: str) -> Past:
    made = Past(place)
    for number, digest in enumerate(digests):
        made.admin(20 * number - 10, "policy.activate", principal_kind="", principal="",
                   parameters={"policy": digest})  # fmt: skip
    return made


def digest_of(place: Path) -> str:
    return meaning_in(place / "policy").digest


def test_what_its_role_is_granted_counts_and_nothing_else(place) -> None:
    past = past_of(place, digest_of(place))
    past.call(1, "open.read")
    assert known(place, past.written()) == {
        "identity:shop": "its own tokens and certificates",
        "env:OPENAI": "its role seller is granted this",
        "file:/keys/crm": "its role seller is granted this",
    }
    past.close()


def test_what_it_called_counts_also_when_its_role_is_not_granted_it(place) -> None:
    past = past_of(place, digest_of(place))
    past.call(1, "billing.pay")
    past.call(2, "files.list", verdict="deny", code="PC3002")
    found = known(place, past.written())
    assert found["file:/keys/billing"] == "it called this"
    assert "file:/keys/files" not in found
    past.close()


@pytest.mark.parametrize("digests", [("sha256:other",), ()], ids=["another", "none"])
def test_where_the_policy_of_the_time_is_not_known_everything_counts(place, digests) -> None:
    past = past_of(place, *digests, *([digest_of(place)] if digests else []))
    past.call(1, "open.read")
    found = known(place, past.written())
    assert found.keys() == {
        "identity:shop", "env:OPENAI", "env:CLAUDE", "file:/keys/crm", "file:/keys/billing",
        "file:/keys/files",
    }  # fmt: skip
    assert "may have been granted" in found["file:/keys/billing"]
    past.close()


def test_a_secret_of_two_upstreams_is_listed_once_with_both(place) -> None:
    past = past_of(place, digest_of(place))
    past.call(1, "crm-archive.read")
    past.written()
    config = load(place / "portcullis.yaml")
    leases = SqlLeases(past.engine)
    access = LogAccess(config, past.happened, past.logs, lambda: meaning_in(config.policy), leases)
    (one,) = (x for x in access.known(SHOP, second(0)) if x.reference == "file:/keys/crm")
    assert one.upstream == "crm, crm-archive"
    assert one.used == second(1)
    assert one.why == "its role seller is granted this, crm-archive: it called this"
    past.close()


def test_what_was_not_projected_yet_counts_all_the_same(place) -> None:
    past = past_of(place, digest_of(place))
    past.call(1, "billing.pay")
    found = known(place, past.written(projected=False))
    assert found["file:/keys/billing"] == "it called this"
    assert "file:/keys/files" not in found
    assert "was allowed a call" in outdated(past.happened, past.logs(), "shop", second(0.5))
    past.close()


def test_a_session_has_no_credentials_of_its_own(place) -> None:
    past = past_of(place, digest_of(place))
    past.call(1, "billing.pay", session="s1")
    past.call(1, "crm.read", session="s2")
    found = known(place, past.written(), Subject(agent="shop", session="s1"))
    assert "identity:shop" not in found
    assert found["file:/keys/billing"] == "it called this"
    past.close()


def test_its_own_credentials_are_worthless_only_when_nothing_was_allowed_since(tmp_path) -> None:
    past = Past(tmp_path)
    past.call(5)
    past.call(9, verdict="deny", code="PC2003")
    past.written()
    assert "never revoked" in outdated(past.happened, past.logs(), "shop", 0.0)
    assert "was allowed a call" in outdated(past.happened, past.logs(), "shop", second(4))
    assert outdated(past.happened, past.logs(), "shop", second(6)) == ""
    past.close()


def test_what_was_sent_for_its_calls_counts_whatever_the_policy_says(place):
    past = past_of(place, "x")
    use = Use(
        reference="file:/keys/billing",
        version="1",
        agent="shop",
        session="s1",
        upstream="mcp:billing",
        scope="billing.pay",
        first=second(5),
        last=second(5),
        count=1,
    )
    SqlLeases(past.engine).add([use])
    found = known(place, past.written(), Subject(agent="shop", session="s1"))
    assert "it was sent for its calls" in found["file:/keys/billing"]
