"""If this fails, nobody is reminded of an agent that is observed, or still stands there as such."""

from __future__ import annotations

import time
from datetime import UTC, datetime

from portcullis.cli.doctor_observed import observed
from portcullis.config import load

POLICY = """\
version: 1
agents:
  now-1: {role: r, observe: {until: "LATER", reason: its first days}}
  past-1: {role: r, observe: {until: "2026-01-01T00:00:00Z", reason: long ago}}
  plain-1: {role: r}
roles: {r: {}}
"""


def test_the_doctor_names_who_is_observed_and_complains_of_who_was(tmp_path):
    (tmp_path / "portcullis.yaml").write_text("trust_domain: test.internal\nguard: {shop: {}}\n")
    (tmp_path / "policy").mkdir()
    later = datetime.fromtimestamp(time.time() + 3600, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    (tmp_path / "policy/p.yaml").write_text(POLICY.replace("LATER", later))
    config = load(tmp_path / "portcullis.yaml")
    now, past = observed(config)
    assert (now.what, now.ok) == ("observed agent now-1", True)
    assert later in now.found
    assert "its first days" in now.found
    assert (past.what, past.ok) == ("observed agent past-1", False)
    assert "observe:" in past.do
    (tmp_path / "policy/p.yaml").write_text("version: 2\n")
    assert list(observed(config)) == []
